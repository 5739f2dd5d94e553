"""Every encoder keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tests.encoders import models, multimodal_models
from tests.encoders.contract import (
    EncoderContract,
    ImageEncoderContract,
    SavedEncoderContract,
)


class TestLocalText(EncoderContract):
    modalities = ("text",)
    has_one_fingerprint = True
    tolerance = 2e-3  # bf16, where the processor has it: a batch of another shape rounds elsewhere

    def make(self, folder: Path, seed: int) -> str:
        return "local/text"


class TestLocalImage(ImageEncoderContract):
    modalities = ("image",)
    has_one_fingerprint = True

    def make(self, folder: Path, seed: int) -> str:
        return "local/image"


class TestSentenceTransformers(SavedEncoderContract):
    modalities = ("text",)
    options = ("?max_length=9",)
    edits = (
        ("config_sentence_transformers.json", {"prompts": {"shop": "the shop: "}}),
        ("sentence_bert_config.json", {"max_seq_length": 7}),
    )

    def make(self, folder: Path, seed: int) -> str:
        return f"sentence-transformers/{models.sentence_folder(folder, seed)}"


class TestSentenceTransformersOfTextAndAudio(SavedEncoderContract):
    modalities = ("text", "audio")
    options = ("?max_length=9", "?window=0.5")
    edits = (("config_sentence_transformers.json", {"prompts": {"query": "the shop: "}}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"sentence-transformers/{models.clap_sentence_folder(folder, seed)}"


class TestSentenceTransformersOfAudio(SavedEncoderContract):
    modalities = ("audio",)
    options = ("?window=0.5",)

    def make(self, folder: Path, seed: int) -> str:
        return f"sentence-transformers/{models.ast_sentence_folder(folder, seed)}"


class TestTransformersText(SavedEncoderContract):
    modalities = ("text",)
    options = ("?pooling=cls", "?pooling=last", "?max_length=9", "?pooling=cls&max_length=9")
    edits = (("config.json", {"layer_norm_eps": 0.1}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.bert_folder(folder, seed)}"


class TestTransformersVit(SavedEncoderContract, ImageEncoderContract):
    modalities = ("image",)
    options = ("?pooling=mean",)
    edits = (
        ("preprocessor_config.json", {"image_mean": [0.1, 0.2, 0.3]}),
        ("preprocessor_config.json", {"resample": 3}),
    )

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.vit_folder(folder, seed)}"


class TestTransformersConvNext(SavedEncoderContract, ImageEncoderContract):
    modalities = ("image",)
    edits = (("preprocessor_config.json", {"size": {"shortest_edge": 40}}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.convnext_folder(folder, seed)}"


class TestClip(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    options = ("?max_length=9",)
    edits = (
        (
            "preprocessor_config.json",
            {"do_center_crop": False, "size": {"height": 32, "width": 32}},
        ),
    )

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.clip_folder(folder, seed)}"


class TestSiglip(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    options = ("?max_length=9",)
    edits = (("preprocessor_config.json", {"image_std": [0.1, 0.2, 0.3]}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.siglip_folder(folder, seed)}"


class TestSiglip2(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    edits = (("preprocessor_config.json", {"max_num_patches": 9}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.siglip2_folder(folder, seed)}"


class TestClap(SavedEncoderContract):
    modalities = ("text", "audio")
    options = ("?max_length=9", "?window=0.5")
    edits = (
        ("preprocessor_config.json", {"frequency_max": 4_000}),
        ("preprocessor_config.json", {"padding": "pad"}),
        ("config.json", {"projection_hidden_act": "gelu"}),
    )

    def make(self, folder: Path, seed: int) -> str:
        return f"clap/{models.clap_folder(folder, seed)}"


class TestFusedClap(SavedEncoderContract):
    modalities = ("text", "audio")

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.clap_folder(folder, seed, fused=True)}"


class TestWav2Vec2(SavedEncoderContract):
    modalities = ("audio",)
    options = ("?window=0.5", "?window=20")
    edits = (("preprocessor_config.json", {"do_normalize": False}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.wav2vec2_folder(folder, seed)}"


class TestMaskedWav2Vec2(SavedEncoderContract):
    modalities = ("audio",)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.wav2vec2_folder(folder, seed, norm='layer')}"


class TestAst(SavedEncoderContract):
    modalities = ("audio",)
    options = ("?pooling=mean", "?window=0.5")
    edits = (("preprocessor_config.json", {"mean": -3.0}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.ast_folder(folder, seed)}"


class TestWhisper(SavedEncoderContract):
    modalities = ("audio",)
    options = ("?window=0.5",)

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{models.whisper_folder(folder, seed)}"


class TestTimm(SavedEncoderContract, ImageEncoderContract):
    modalities = ("image",)

    def make(self, folder: Path, seed: int) -> str:
        return f"timm/test_vit:{models.timm_checkpoint(folder, seed)}"


class TestOpenClip(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    edits = (
        ("open_clip_config.json", {"preprocess_cfg": {"size": 32, "mean": [0.1, 0.2, 0.3]}}),
        ("open_clip_config.json", {"preprocess_cfg": {"size": 32, "interpolation": "bilinear"}}),
        ("open_clip_config.json", {"preprocess_cfg": {"size": 32, "resize_mode": "squash"}}),
    )

    def make(self, folder: Path, seed: int) -> str:
        return f"open_clip/{models.open_clip_folder(folder, seed)}"


class TestAlignedLocal(ImageEncoderContract):
    modalities = ("text", "image")
    has_one_fingerprint = True
    tolerance = TestLocalText.tolerance

    def make(self, folder: Path, seed: int) -> str:
        return "aligned/local"


class TestAligned(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")

    def make(self, folder: Path, seed: int) -> str:
        return f"aligned/{models.aligned_folder(folder, seed)}"


class TestChatThatSees(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image")
    options = ("?max_length=200", "?query_prompt=red")
    edits = (("config_sentence_transformers.json", {"prompts": {"query": "a hat"}}),)

    def make(self, folder: Path, seed: int) -> str:
        return f"sentence-transformers/{multimodal_models.qwen3_vl_sentence_folder(folder, seed)}"


class TestEmbeddingGemma2(SavedEncoderContract, ImageEncoderContract):
    modalities = ("text", "image", "audio")
    options = ("?max_length=200", "?window=0.5")

    def make(self, folder: Path, seed: int) -> str:
        saved = multimodal_models.embedding_gemma2_sentence_folder(folder, seed)
        return f"sentence-transformers/{saved}"


class TestPeAv(SavedEncoderContract):
    modalities = ("text", "audio")
    options = ("?max_length=9", "?window=0.5")

    def make(self, folder: Path, seed: int) -> str:
        return f"transformers/{multimodal_models.pe_audio_video_folder(folder, seed)}"

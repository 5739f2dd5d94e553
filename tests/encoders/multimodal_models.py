"""Tiny models of several modalities in one network, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.encoders.models import _bert_tokenizer, _small_decoder

RATE = 16_000
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
)
SEEN = ("<|im_start|>", "<|im_end|>")
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def qwen3_vl_folder(folder: Path, seed: int = 0, template: str = CHAT) -> Path:
    """A chat model that sees pictures, like Qwen3-VL-Embedding, without a stated pooling."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLModel,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = _tokenizer([*SEEN, *VISION])
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VISION))
    sizes = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**sizes, size={"shortest_edge": 32**2, "longest_edge": 64**2}),
        tokenizer,
        Qwen3VLVideoProcessor(**sizes),
        chat_template=template,
    )
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
    config = Qwen3VLConfig(
        text_config={
            **_small_decoder(),
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 256,
            "rope_parameters": {**rope, "mrope_interleaved": True},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
    )
    return _saved(Qwen3VLModel, config, processor, folder, seed)


def qwen3_vl_sentence_folder(folder: Path, seed: int = 0, **options: Any) -> Path:
    """The same as a model of Sentence Transformers: the last token, an instruction a role."""
    prompts = {
        "query": "Instruct: a red hat\nQuery:",
        "document": "a blue shoe",
    }
    source = qwen3_vl_folder(folder / "model", seed, **options)
    return _pooled(source, folder / "whole", 32, "lasttoken", prompts)


def embedding_gemma2_folder(folder: Path, seed: int = 0) -> Path:
    """A model like EmbeddingGemma 2: text, pictures and sounds, all of them tokens of one text."""
    from transformers import (
        EmbeddingGemma2Config,
        EmbeddingGemma2Model,
        EmbeddingGemma2Processor,
        EmbeddingGemma2VideoProcessor,
        Gemma4AudioFeatureExtractor,
        Gemma4ImageProcessor,
    )

    names = {
        "boi_token": "<boi>",
        "eoi_token": "<eoi>",
        "image_token": "<image>",
        "boa_token": "<boa>",
        "eoa_token": "<eoa>",
        "audio_token": "<audio>",
    }
    tokenizer = _tokenizer(["<|video|>"], extra_special_tokens=names)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    processor = EmbeddingGemma2Processor(
        Gemma4AudioFeatureExtractor(feature_size=32, sampling_rate=RATE),
        Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2),
        tokenizer,
        EmbeddingGemma2VideoProcessor(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2),
    )
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    config = EmbeddingGemma2Config(
        text_config={
            **sizes,
            **heads,
            "vocab_size": len(tokenizer),
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 8,
            "embedding_dim": 24,
            "max_position_embeddings": 512,
        },
        vision_config={
            "model_type": "gemma4_vision",
            **sizes,
            **heads,
            "num_key_value_heads": 2,
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "position_embedding_size": 512,
        },
        audio_config={
            "model_type": "gemma4_audio",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [32, 4],
            "output_proj_dims": 32,
        },
        boi_token_id=ids["boi_token"],
        eoi_token_id=ids["eoi_token"],
        image_token_id=ids["image_token"],
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        boa_token_id=ids["boa_token"],
        eoa_token_index=ids["eoa_token"],
        audio_token_id=ids["audio_token"],
    )
    return _saved(EmbeddingGemma2Model, config, processor, folder, seed)


def embedding_gemma2_sentence_folder(folder: Path, seed: int = 0) -> Path:
    """The same as a model of Sentence Transformers: the mean, prompts of texts."""
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    source = embedding_gemma2_folder(folder / "model", seed)
    return _pooled(source, folder / "whole", 24, "mean", prompts)


def pe_audio_video_model(seed: int = 0):
    """PE-AV: texts, sounds and films in one model, a space of texts for each of the others."""
    from transformers import PeAudioVideoConfig, PeAudioVideoModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "head_dim": 16}
    tokenizer = _tokenizer([])
    config = PeAudioVideoConfig(
        text_config={
            "model_type": "modernbert",
            **sizes,
            "num_attention_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 64,
            **{f"{name}_token_id": 0 for name in ("pad", "eos", "bos", "cls", "sep")},
        },
        audio_video_config={
            **sizes,
            **heads,
            "audio_config": {
                "model_type": "pe_audio_encoder",
                **sizes,
                **heads,
                "dac_config": {
                    "model_type": "dac",
                    "downsampling_ratios": [2, 4, 5, 8],
                    "encoder_hidden_size": 4,
                    "codebook_dim": 8,
                },
            },
            "video_config": {
                "model_type": "pe_video_encoder",
                **sizes,
                **heads,
                "vision_config": {
                    "model_type": "timm_wrapper",
                    "architecture": "vit_pe_core_large_patch14_336",
                    "do_pooling": True,
                    "num_classes": 16,
                    "global_pool": "map",
                    "initializer_range": 0.02,
                    "model_args": {"embed_dim": 32, "depth": 1, "num_heads": 2},
                },
            },
        },
    )
    return _randomised(PeAudioVideoModel, config, seed)


def pe_audio_model(seed: int = 0):
    """The half of PE-AV that hears."""
    from transformers import PeAudioModel

    return _randomised(PeAudioModel, pe_audio_video_model().config.audio_config, seed)


def pe_audio_video_folder(folder: Path, seed: int = 0) -> Path:
    """PE-AV in a folder."""
    return _saved_that_hears(pe_audio_video_model(seed), folder)


def pe_audio_folder(folder: Path, seed: int = 0) -> Path:
    """The half of PE-AV that hears, in a folder."""
    return _saved_that_hears(pe_audio_model(seed), folder)


def _saved_that_hears(model: Any, folder: Path) -> Path:
    from transformers import PeAudioFeatureExtractor

    model.save_pretrained(folder)
    PeAudioFeatureExtractor(sampling_rate=RATE, hop_length=320).save_pretrained(folder)
    _tokenizer([]).save_pretrained(folder)
    return folder


def _tokenizer(special: list[str], **options: Any):
    from transformers import BertTokenizerFast

    vocabulary = _bert_tokenizer().get_vocab()
    tokenizer = BertTokenizerFast(vocab=vocabulary, model_max_length=256, **options)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    return tokenizer


def _randomised(model_class: Any, config: Any, seed: int):
    torch.manual_seed(seed)
    model = model_class(config)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    return model


def _saved(model_class: Any, config: Any, processor: Any, folder: Path, seed: int) -> Path:
    _randomised(model_class, config, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _pooled(source: Path, folder: Path, dim: int, mode: str, prompts: dict[str, str]) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(source)), Pooling(dim, pooling_mode=mode), Normalize()]
    model = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    model.save(str(folder), create_model_card=False)
    return folder

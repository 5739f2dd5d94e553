"""Tiny models with random weights, saved as their libraries save them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "shoe", "hat", "a", "of"]
SIZE = 32


def bert_folder(folder: Path, seed: int = 0) -> Path:
    """A text model of Transformers, without a pooler."""
    from transformers import BertModel

    torch.manual_seed(seed)
    BertModel(small_bert(), add_pooling_layer=False).save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def small_bert(**settings):
    """The configuration of a small BERT over the letters."""
    from transformers import BertConfig

    sizes = {
        "vocab_size": len(_letters()),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
    }
    return BertConfig(**{**sizes, **settings})


def sentence_folder(folder: Path, seed: int = 0) -> Path:
    """A text model of Sentence Transformers: pooling, a dense layer, normalisation, a prompt."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(seed)
    words = Transformer(str(bert_folder(folder / "bert", seed)), max_seq_length=24)
    pooling = Pooling(32, pooling_mode="mean")
    model = SentenceTransformer(
        modules=[words, pooling, Dense(32, 16), Normalize()],
        prompts={"shop": "a shop: "},
        default_prompt_name="shop",
        device="cpu",
    )
    model.save(str(folder / "whole"))
    return folder / "whole"


def prompted_folder(folder: Path, seed: int = 0, *, include_prompt: bool = True) -> Path:
    """A text model of Sentence Transformers with prompts of queries and of passages."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    words = Transformer(str(bert_folder(folder / "bert", seed)), max_seq_length=24)
    pooling = Pooling(32, pooling_mode="mean", include_prompt=include_prompt)
    prompts = {"query": "a query of ", "document": "a passage: "}
    model = SentenceTransformer(modules=[words, pooling], prompts=prompts, device="cpu")
    model.save(str(folder / "whole"))
    return folder / "whole"


def pooled_folder(folder: Path, seed: int = 0, *, mode: str = "cls") -> Path:
    """A text model whose folder states how its hidden states are pooled."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    words = Transformer(str(bert_folder(folder / "bert", seed)), max_seq_length=24)
    model = SentenceTransformer(modules=[words, Pooling(32, pooling_mode=mode)], device="cpu")
    model.save(str(folder / "whole"))
    return folder / "whole"


def router_folder(folder: Path, seed: int = 0) -> Path:
    """A model of Sentence Transformers with another network for queries than for documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    query = Transformer(str(bert_folder(folder / "query", seed + 1)), max_seq_length=12)
    document = Transformer(str(bert_folder(folder / "document", seed)), max_seq_length=24)
    router = Router.for_query_document(
        [query, Pooling(32, pooling_mode="mean")], [document, Pooling(32, pooling_mode="cls")]
    )
    prompts = {"query": "a query of ", "document": "a passage: "}
    model = SentenceTransformer(modules=[router, Normalize()], prompts=prompts, device="cpu")
    model.save(str(folder / "whole"))
    return folder / "whole"


def clip_sentence_folder(folder: Path, seed: int = 0) -> Path:
    """CLIP as a model of Sentence Transformers: texts and images in one space."""
    return _saved_whole(clip_folder(folder / "clip", seed), folder / "whole")


def clap_sentence_folder(folder: Path, seed: int = 0) -> Path:
    """CLAP as a model of Sentence Transformers: texts and audio in one space."""
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapProcessor

    saved = clap_folder(folder / "clap", seed)
    extractor = ClapFeatureExtractor.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved, model_max_length=20)
    ClapProcessor(extractor, tokenizer).save_pretrained(saved)
    return _saved_whole(saved, folder / "whole")


def ast_sentence_folder(folder: Path, seed: int = 0) -> Path:
    """A model of spectrograms, pooled by Sentence Transformers."""
    return _saved_whole(ast_folder(folder / "ast", seed), folder / "whole")


def _saved_whole(source: Path, folder: Path) -> Path:
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(source), device="cpu").save(str(folder), create_model_card=False)
    return folder


def cross_encoder_folder(folder: Path, seed: int = 0, *, n_labels: int = 1) -> Path:
    """A cross-encoder of Sentence Transformers; its scores are logits."""
    from sentence_transformers import CrossEncoder
    from transformers import BertForSequenceClassification

    torch.manual_seed(seed)
    model = BertForSequenceClassification(small_bert(num_labels=n_labels))
    for weights in model.parameters():  # scores that differ
        torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder / "bert")
    _bert_tokenizer().save_pretrained(folder / "bert")
    whole = CrossEncoder(
        str(folder / "bert"), device="cpu", max_length=32, activation_fn=torch.nn.Identity()
    )
    whole.save_pretrained(str(folder / "whole"))
    return folder / "whole"


def colbert_folder(folder: Path, seed: int = 0) -> Path:
    """A multi-vector model like ColBERT: prompts, masked query tokens, punctuation left out."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import BertModel

    torch.manual_seed(seed)
    config = small_bert(vocab_size=len(_letters()) + 1)  # [MASK] comes behind the letters
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "bert")
    _bert_tokenizer().save_pretrained(folder / "bert")
    words = Transformer(
        str(folder / "bert"),
        max_seq_length=24,
        query_expansion={"strategy": "fixed", "attend": True, "length": 12},
    )
    head = Dense(
        32, 16, bias=False, activation_function=torch.nn.Identity(),
        module_input_name="token_embeddings",
    )  # fmt: skip
    modules = [
        words,
        head,
        MultiVectorMask(skiplist_words=["of"]),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": "a red ", "document": "a blue "}
    MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def colpali_folder(folder: Path, seed: int = 0) -> Path:
    """ColPali of Transformers: a vector for each patch of a page."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import (
        ColPaliConfig,
        ColPaliForRetrieval,
        ColPaliProcessor,
        PaliGemmaConfig,
        PreTrainedTokenizerFast,
        SiglipImageProcessor,
    )

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>", "Question", ":", "red", "hat", "a"]
    vocabulary = {word: at for at, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    vision = {"image_size": 28, "patch_size": 14, "num_image_tokens": 4, "projection_dim": 32}
    text = {"vocab_size": len(words) + 4, "num_key_value_heads": 1, "head_dim": 16}
    pages = PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model", "num_attention_heads": 2, **small, **vision
        },
        text_config={
            "model_type": "gemma", "num_attention_heads": 2, "max_position_embeddings": 64,
            **small, **text,
        },
        image_token_index=vocabulary["<image>"],
        projection_dim=32,
        hidden_size=32,
    )  # fmt: skip
    torch.manual_seed(seed)
    config = ColPaliConfig(vlm_config=pages.to_dict(), embedding_dim=16)
    ColPaliForRetrieval(config).save_pretrained(folder)
    images = SiglipImageProcessor(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    ColPaliProcessor(image_processor=images, tokenizer=wrapped).save_pretrained(folder)
    return folder


def splade_folder(folder: Path, seed: int = 0, similarity: str = "dot") -> Path:
    """A sparse model like SPLADE: a masked language model, the largest weight of each term."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    words = Transformer(
        str(masked_bert_folder(folder / "bert", seed)),
        transformer_task="fill-mask",
        max_seq_length=24,
    )
    SparseEncoder(
        modules=[words, SpladePooling("max")], similarity_fn_name=similarity, device="cpu"
    ).save(str(folder / "whole"))
    return folder / "whole"


def masked_bert_folder(folder: Path, seed: int = 0) -> Path:
    """A masked language model of Transformers, some of whose terms have no weight."""
    from transformers import BertForMaskedLM

    torch.manual_seed(seed)
    model = BertForMaskedLM(small_bert())
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def qwen3_folder(folder: Path, seed: int = 0) -> Path:
    """A causal text model like Qwen3-Embedding: the last token, padded left, an instruction."""
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(**_small_decoder(), eos_token_id=3)
    return _decoder_folder(
        folder,
        seed,
        Qwen3Model(config),
        "lasttoken",
        {"query": "Instruct: a red shoe\nQuery:", "document": ""},
    )


def gemma3_folder(folder: Path, seed: int = 0) -> Path:
    """A text model like EmbeddingGemma: attention in both directions, prompts, a dense layer."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    config = Gemma3TextConfig(**_small_decoder(), use_bidirectional_attention=True)
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    return _decoder_folder(folder, seed, Gemma3TextModel(config), "mean", prompts)


def _decoder_folder(folder: Path, seed: int, model, pooling_mode: str, prompts) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(seed)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder / "model")
    tokenizer = _bert_tokenizer()
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder / "model")
    words = Transformer(str(folder / "model"), max_seq_length=24)
    pooling = Pooling(32, pooling_mode=pooling_mode)
    whole = SentenceTransformer(
        modules=[words, pooling, Dense(32, 16), Normalize()], prompts=prompts, device="cpu"
    )
    whole.save(str(folder / "whole"))
    return folder / "whole"


def _small_decoder() -> dict[str, int]:
    return {
        "vocab_size": len(_letters()),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 64,
    }


def metaclip2_folder(folder: Path, seed: int = 0) -> Path:
    """MetaCLIP 2 of Transformers."""
    from transformers import CLIPImageProcessor, MetaClip2Config, MetaClip2Model

    torch.manual_seed(seed)
    text = {**_small_text(), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    config = MetaClip2Config(text_config=text, vision_config=_small_vision(), projection_dim=24)
    MetaClip2Model(config).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def vit_folder(folder: Path, seed: int = 0) -> Path:
    """An image model of Transformers with a cls token."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=SIZE,
        patch_size=8,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def convnext_folder(folder: Path, seed: int = 0) -> Path:
    """An image model of Transformers whose hidden states are a feature map."""
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    torch.manual_seed(seed)
    ConvNextModel(
        ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    ).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": SIZE}).save_pretrained(folder)
    return folder


def clip_folder(folder: Path, seed: int = 0) -> Path:
    """CLIP of Transformers."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config={**_small_text(), "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0},
        vision_config=_small_vision(),
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(folder)
    processor = CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    processor.save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def blip_captioner_folder(folder: Path, seed: int = 0) -> Path:
    """BLIP for captions, of the type of a dual encoder but without its projections."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    torch.manual_seed(seed)
    config = BlipConfig(
        text_config={
            **_small_text(),
            "encoder_hidden_size": 32,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config=_small_vision(),
        projection_dim=24,
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    return folder


def siglip_folder(folder: Path, seed: int = 0) -> Path:
    """SigLIP of Transformers."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(seed)
    config = SiglipConfig(
        text_config={**_small_text(), "projection_size": 32}, vision_config=_small_vision()
    )
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def siglip2_folder(folder: Path, seed: int = 0) -> Path:
    """SigLIP 2 of Transformers, which takes images of any aspect ratio."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    torch.manual_seed(seed)
    config = Siglip2Config(
        text_config={**_small_text(), "projection_size": 32},
        vision_config={**_small_vision(), "num_patches": 16},
    )
    Siglip2Model(config).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def timm_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A checkpoint of timm's smallest ViT, with a classifier."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = timm.create_model("test_vit", pretrained=False)
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def clap_folder(folder: Path, seed: int = 0, *, fused: bool = False) -> Path:
    """CLAP of Transformers, which takes a second of audio."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(seed)
    fusion = {"enable_fusion": True, "fusion_type": "aff_2d"} if fused else {}
    config = ClapConfig(
        text_config={**_small_text(), "max_position_embeddings": 21, "pad_token_id": 0},
        audio_config={
            "num_mel_bins": 16,
            "spec_size": 64,
            "window_size": 4,
            "patch_size": 2,
            "patch_stride": [2, 2],
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
            **fusion,
        },
        projection_dim=24,
    )
    ClapModel(config).save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        hop_length=160,
        max_length_s=1,
        fft_window_size=400,
        frequency_max=8_000,
        truncation="fusion" if fused else "rand_trunc",
    )
    extractor.save_pretrained(folder)
    _bert_tokenizer().save_pretrained(folder)
    return folder


def wav2vec2_folder(folder: Path, seed: int = 0, *, norm: str = "group") -> Path:
    """A model of raw audio; its first norm depends on padding unless it is "layer"."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=16_000, return_attention_mask=norm == "layer"
    )
    extractor.save_pretrained(folder)
    return folder


def ast_folder(folder: Path, seed: int = 0) -> Path:
    """A model of patches of 0.64 s spectrograms, with two special tokens before them."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    torch.manual_seed(seed)
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=64,
        num_mel_bins=16,
    )
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(folder)
    return folder


def whisper_folder(folder: Path, seed: int = 0) -> Path:
    """A model with a decoder, whose encoder takes two seconds, padded."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=60,
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=16,
        max_source_positions=100,
        max_target_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(folder)
    return folder


def aligned_folder(folder: Path, seed: int = 0) -> Path:
    """A text and an image model of Transformers behind projection heads of random weights."""
    import numpy as np

    from isthmus.encoders import load_encoder
    from isthmus.encoders.alignment import Alignment
    from isthmus.encoders.projection_head import ProjectionHead

    rng = np.random.default_rng(seed)
    specs = {
        "text": f"transformers/{bert_folder(folder / 'text')}",
        "image": f"transformers/{vit_folder(folder / 'image')}",
    }
    encoders = {modality: load_encoder(spec, device="cpu") for modality, spec in specs.items()}
    heads = {
        modality: ProjectionHead(
            np.zeros(encoder.dim, np.float32),
            rng.standard_normal((encoder.dim, 12)).astype(np.float32),
            np.zeros(12, np.float32),
        )
        for modality, encoder in encoders.items()
    }
    components = {modality: dict(encoder.components) for modality, encoder in encoders.items()}
    Alignment(heads, specs, components).save(folder / "heads")
    return folder / "heads"


def open_clip_folder(folder: Path, seed: int = 0, size: int = SIZE) -> Path:
    """A folder of OpenCLIP, with its own configuration."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model_config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": size, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 20,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    config = {"model_cfg": model_config, "preprocess_cfg": {"size": size}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def _letters() -> list[str]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return [*WORDS, *(x for x in letters if x not in WORDS), *(f"##{x}" for x in letters)]


def _bert_tokenizer():
    from transformers import BertTokenizerFast

    return BertTokenizerFast(vocab={word: n for n, word in enumerate(_letters())})


def _small_text() -> dict[str, int]:
    return {
        "vocab_size": len(_letters()),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 20,
    }


def _small_vision() -> dict[str, int]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": 8,
    }

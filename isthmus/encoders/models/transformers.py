"""Models of Transformers: the choice of a builder, and encoders of text alone and images alone.

A model of one modality is encoded by pooling its last hidden states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower, TextTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.sentence_transformers import load_one_network
from isthmus.encoders.models.transformers_audio import build_audio_encoder
from isthmus.encoders.models.transformers_joint import (
    CLAP,
    PE_AUDIO,
    build_clap_encoder,
    build_joint_encoder,
    build_pe_audio_encoder,
    is_dual_encoder,
)
from isthmus.encoders.models.transformers_parts import (
    Pooling,
    Transform,
    describe_config,
    describe_processor,
    hash_tokenizer,
    load_config,
    load_image_processor,
    load_model,
    n_positions,
    pool,
    resolve_max_length,
    stated_pooling,
    tokenize_with,
    transform_with,
    validated_pooling,
)
from isthmus.encoders.prompts import known_prompts
from isthmus.errors import InvalidInput, UnknownEncoder, command_in

if TYPE_CHECKING:
    import torch

_MANY_VECTORS = frozenset({"colpali", "colqwen2", "colmodernvbert"})
_FILMS = "pe_video"
_OTHER_HALVES = ("vision_config", "audio_config", "speech_config")
_MORE_IMAGE_TYPES = frozenset({"clip_vision_model"})  # in no mapping of Transformers


def load_transformers(
    name: str,
    *,
    pooling: str | None = None,
    max_length: str | None = None,
    window: str | None = None,
    revision: str | None = None,
    trust_remote_code: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load a model of Transformers.

    Dual encoders (CLIP, SigLIP, MetaCLIP 2 and others with features of text and of images) encode
    both into one space, and CLAP and PE-AV text and audio. A model that reads pictures or sounds
    among the tokens of a text (Qwen3-VL-Embedding, EmbeddingGemma 2) is loaded as Sentence
    Transformers does, where its folder states a pooling or `pooling` is given. Any other model
    encodes one modality.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    pooling : {"mean", "cls", "last"}, optional
        Default for text: what the folder states (``1_Pooling``), or mean. Default for images
        and audio: cls, or mean where the model has no such token.
    max_length : str, optional
        Most tokens of a text; by default what the model takes.
    window : str, optional
        Seconds of a window of audio; by default what the model takes.
    revision, trust_remote_code : str, optional
        See `find_source`.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded, or encodes another modality.
    InvalidInput
        If an option does not fit the model.
    """
    spec = f"transformers/{name}"
    source = find_source(name, spec, revision, trust_remote_code)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        config = load_config(source)
        kind = _kind(config, spec)
        _check_options(kind, pooling, max_length, window)
        if kind == "clap":
            return build_clap_encoder(source, config, runtime, max_length, window)
        if kind == "pe audio":
            return build_pe_audio_encoder(source, config, runtime, max_length, window)
        if kind == "one network":
            chosen = None if pooling is None else validated_pooling(pooling)
            return load_one_network(source, spec, runtime, chosen, max_length, window)
        if kind == "audio":
            return build_audio_encoder(source, config, runtime, pooling, window)
        if kind == "joint":
            return build_joint_encoder(source, config, runtime, max_length)
        if kind == "image":
            return build_image_encoder(source, config, runtime, pooling)
        method = stated_pooling(source, spec) if pooling is None else validated_pooling(pooling)
        return build_text_encoder(source, config, runtime, method, max_length)


def build_text_encoder(
    source: ModelSource,
    config: Any,
    runtime: Runtime,
    method: Pooling,
    max_length: str | None,
) -> TorchEncoder:
    """Build an encoder of text; of an encoder-decoder model, the encoder is used."""
    from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    length = resolve_max_length(max_length, tokenizer, n_positions(config))
    has_decoder = config.is_encoder_decoder or config.model_type == "t5"
    model, weights = load_model(source, AutoModelForTextEncoding if has_decoder else AutoModel)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        out = model(input_ids=input_ids, attention_mask=attention_mask)
        return pool(out.last_hidden_state, attention_mask, method)  # (n, length, dim) to (n, dim)

    tower = TextTower(
        tokenize=tokenize_with(tokenizer, length),
        forward=forward,
        components={
            "tokenizer": hash_tokenizer(tokenizer),
            "max_length": str(length),
            "pooling": method,
        },
        pad_id=tokenizer.pad_token_id or 0,
        tokenizer=getattr(tokenizer, "backend_tokenizer", None),
        prompts=known_prompts(source.name),
    )
    identity = {"kind": "transformers", **describe_config(config), **source.components}
    return TorchEncoder(model, {"text": tower}, config.hidden_size, identity, runtime, weights)


def build_image_encoder(
    source: ModelSource, config: Any, runtime: Runtime, pooling: str | None
) -> TorchEncoder:
    """Build an encoder of images."""
    from transformers import AutoModel

    processor = load_image_processor(source)
    transform = transform_with(processor)
    model, weights = load_model(source, AutoModel)
    n_special, dim = _probe_image_model(model.eval(), transform)
    method = validated_pooling(pooling or ("cls" if n_special else "mean"), ("cls", "mean"))
    if method == "cls" and not n_special:
        raise InvalidInput(
            f"a model of type {config.model_type} has no cls token; use pooling=mean"
        )

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = model(**batch).last_hidden_state
        if hidden.ndim == 4:  # (n, dim, height, width) of a convolutional network
            return hidden.mean((2, 3))
        # A transformer: shape (n, n_special + n_patches, dim).
        return hidden[:, 0] if method == "cls" else hidden[:, n_special:].mean(1)

    tower = ImageTower(transform, forward, {"pooling": method, **describe_processor(processor)})
    identity = {"kind": "transformers", **describe_config(config)}
    return TorchEncoder(model, {"image": tower}, dim, identity, runtime, weights)


def _check_options(
    kind: str, pooling: str | None, max_length: str | None, window: str | None
) -> None:
    if window is not None and kind not in ("audio", "clap", "pe audio", "one network"):
        raise InvalidInput(f"window is for audio, and this model encodes {kind}")
    if max_length is not None and kind == "audio":
        raise InvalidInput("max_length is for texts, and this model encodes audio")
    if pooling is not None and kind in ("clap", "pe audio", "joint"):
        raise InvalidInput("a joint model has its own pooling; leave pooling out")
    if max_length is not None and kind == "image":
        raise InvalidInput("max_length is for texts, and this model encodes images")


def _kind(config: Any, spec: str) -> str:
    """Return the builder of a model: joint, clap, pe audio, one network, audio, image or text."""
    from transformers.models.auto import modeling_auto as auto

    model_type = config.model_type
    _refuse_what_gives_no_vector(model_type, spec)
    if model_type == CLAP:
        return "clap"
    if model_type in PE_AUDIO:
        return "pe audio"
    if is_dual_encoder(config):
        return "joint"
    if model_type in {
        *auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_CTC_MAPPING_NAMES,
        *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    }:
        return "audio"
    if hasattr(config, "text_config") and any(hasattr(config, half) for half in _OTHER_HALVES):
        return "one network"
    if model_type in {*_MORE_IMAGE_TYPES, *auto.MODEL_FOR_IMAGE_MAPPING_NAMES}:
        return "image"
    return "text"


def _refuse_what_gives_no_vector(model_type: str, spec: str) -> None:
    if model_type in _MANY_VECTORS:
        raise UnknownEncoder(
            f"{spec!r} is a model of type {model_type}, which gives a vector for each part of a "
            "page (late interaction) and none of the whole; give an encoder of one vector, such as "
            "transformers/google/siglip2-base-patch16-224 for text and images, and order the first "
            f"hits by this one: {command_in(None, 'precompute late-interaction/…')}, then "
            "rerank='late-interaction'"
        )
    if model_type == _FILMS:
        raise UnknownEncoder(
            f"{spec!r} is a model of type {model_type}, of text and films, and Isthmus encodes no "
            "films; give transformers/facebook/pe-av-small for text and audio, or "
            "transformers/google/siglip2-base-patch16-224 for text and images"
        )


def _probe_image_model(model: Any, transform: Transform) -> tuple[int, int]:
    """Return how many tokens precede those of the patches, and the length of a vector."""
    import torch

    blank = transform(Image.new("RGB", (64, 64)))
    with torch.inference_mode():
        hidden = model(**{n: torch.from_numpy(a)[None] for n, a in blank.items()}).last_hidden_state
    if hidden.ndim == 4:  # (1, dim, height, width)
        return 0, hidden.shape[1]
    patch = getattr(model.config, "patch_size", None)
    if not isinstance(patch, int):
        return 0, hidden.shape[-1]
    height, width = blank["pixel_values"].shape[-2:]
    n_patches = (height // patch) * (width // patch)
    return max(0, hidden.shape[1] - n_patches), hidden.shape[-1]

"""Models of Transformers: joint ones of text and image, text encoders, image encoders."""

from __future__ import annotations

from typing import Any

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import Source, explained, find_source
from isthmus.encoders.runtime import choose_runtime
from isthmus.encoders.transformers_image import build_image_encoder
from isthmus.encoders.transformers_joint import FAMILIES, build_joint_encoder
from isthmus.encoders.transformers_text import build_text_encoder
from isthmus.errors import UnknownEncoder

# Joint audio models, which Transformers lists among no task of audio alone.
_MORE_AUDIO = frozenset({"clap", "clvp"})
_MORE_IMAGE = frozenset({"clip_vision_model"})


def load_transformers(
    name: str,
    *,
    pooling: str | None = None,
    max_length: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load a model of Transformers.

    CLIP, SigLIP and SigLIP 2 encode text and images into one space; any other model encodes
    either of them, by pooling its last hidden states.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    pooling : {"mean", "cls", "last"}, optional
        For text mean by default; for images cls by default, and mean where there is no such
        token.
    max_length : str, optional
        Most tokens of a text; by default what the model takes.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded, or encodes something else.
    """
    spec = f"transformers/{name}"
    source = find_source(name, spec)
    runtime = choose_runtime(device, precision, compile)
    with explained(spec):
        config = _load_config(source)
        kind = _kind(config, spec)
        if kind == "joint":
            return build_joint_encoder(source, config, runtime, pooling, max_length)
        if kind == "image":
            return build_image_encoder(source, config, runtime, pooling, max_length)
        return build_text_encoder(source, config, runtime, pooling, max_length)


def _load_config(source: Source) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.name, local_files_only=source.local)


def _kind(config: Any, spec: str) -> str:
    from transformers.models.auto import modeling_auto as auto

    model_type = config.model_type
    if model_type in FAMILIES:
        return "joint"
    if model_type in {
        *_MORE_AUDIO,
        *auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_CTC_MAPPING_NAMES,
        *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    }:
        raise UnknownEncoder(
            f"{spec!r} is a model of audio ({model_type}), which Isthmus does not encode yet"
        )
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        raise UnknownEncoder(
            f"{spec!r} is a joint model of a family that is not known here ({model_type}); "
            f"known are {', '.join(FAMILIES)}"
        )
    if model_type in {*_MORE_IMAGE, *auto.MODEL_FOR_IMAGE_MAPPING_NAMES}:
        return "image"
    return "text"

"""Models of Transformers: joint ones, and encoders of text, of images and of audio alone."""

from __future__ import annotations

from typing import Any

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import explained, find_source
from isthmus.encoders.transformers_audio import build_audio_encoder
from isthmus.encoders.transformers_clap import MODEL_TYPE, build_clap_encoder
from isthmus.encoders.transformers_image import build_image_encoder
from isthmus.encoders.transformers_joint import FAMILIES, build_joint_encoder
from isthmus.encoders.transformers_source import load_config
from isthmus.encoders.transformers_text import build_text_encoder
from isthmus.errors import InvalidInput, UnknownEncoder

_OTHER_HALVES = ("vision_config", "audio_config", "speech_config")
_MORE_IMAGE = frozenset({"clip_vision_model"})


def load_transformers(
    name: str,
    *,
    pooling: str | None = None,
    max_length: str | None = None,
    window: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load a model of Transformers.

    CLIP, SigLIP and SigLIP 2 encode text and images into one space, and CLAP text and audio; any
    other model encodes one of them, by pooling its last hidden states.

    Parameters
    ----------
    name : str
        A name on the hub, or a local folder.
    pooling : {"mean", "cls", "last"}, optional
        For text mean by default; for images and audio cls by default, and mean where there is no
        such token.
    max_length : str, optional
        Most tokens of a text; by default what the model takes.
    window : str, optional
        Seconds of a window of audio; by default what the model takes.
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
        config = load_config(source)
        kind = _kind(config, spec)
        _refuse_options(kind, pooling, max_length, window)
        if kind == "clap":
            return build_clap_encoder(source, config, runtime, max_length, window)
        if kind == "audio":
            return build_audio_encoder(source, config, runtime, pooling, window)
        if kind == "joint":
            return build_joint_encoder(source, config, runtime, pooling, max_length)
        if kind == "image":
            return build_image_encoder(source, config, runtime, pooling, max_length)
        return build_text_encoder(source, config, runtime, pooling, max_length)


def _refuse_options(
    kind: str, pooling: str | None, max_length: str | None, window: str | None
) -> None:
    if window is not None and kind not in ("audio", "clap"):
        raise InvalidInput(f"window is for audio, and this model encodes {kind}")
    if max_length is not None and kind == "audio":
        raise InvalidInput("max_length is for texts, and this model encodes audio")
    if pooling is not None and kind == "clap":
        raise InvalidInput("a joint model has its own pooling; leave pooling out")


def _kind(config: Any, spec: str) -> str:
    from transformers.models.auto import modeling_auto as auto

    model_type = config.model_type
    if model_type in FAMILIES:
        return "joint"
    if model_type == MODEL_TYPE:
        return "clap"
    if model_type in {
        *auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_CTC_MAPPING_NAMES,
        *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    }:
        return "audio"
    if hasattr(config, "text_config") and any(hasattr(config, half) for half in _OTHER_HALVES):
        raise UnknownEncoder(
            f"{spec!r} is a joint model of a family that is not known here ({model_type}); "
            f"known are {', '.join((*FAMILIES, MODEL_TYPE))}"
        )
    if model_type in {*_MORE_IMAGE, *auto.MODEL_FOR_IMAGE_MAPPING_NAMES}:
        return "image"
    return "text"

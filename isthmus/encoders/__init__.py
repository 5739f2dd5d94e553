"""Encoders: content in, unit vectors out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.encoders.audio import Waveform, open_audio
    from isthmus.encoders.encoder import Encoder
    from isthmus.encoders.image import open_image
    from isthmus.encoders.registry import load_encoder, load_encoders

__all__ = ["Encoder", "Waveform", "load_encoder", "load_encoders", "open_audio", "open_image"]

_HOMES = {
    "Encoder": "isthmus.encoders.encoder",
    "Waveform": "isthmus.encoders.audio",
    "load_encoder": "isthmus.encoders.registry",
    "load_encoders": "isthmus.encoders.registry",
    "open_audio": "isthmus.encoders.audio",
    "open_image": "isthmus.encoders.image",
}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that settings are light to import."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Decoding: files of every modality that comes in files, to what its encoders take."""

from __future__ import annotations

from typing import Any

from isthmus.encoders.audio import Waveform, open_audio, require_sound
from isthmus.encoders.image import open_image, to_rgb
from isthmus.schema import Modality


def decode(modality: Modality, data: bytes) -> Any:
    """Decode a file.

    Parameters
    ----------
    modality : {"image", "audio"}
        What it holds.
    data : bytes
        The file.

    Returns
    -------
    PIL.Image.Image or Waveform
        An upright RGB image, or one channel of audio.

    Raises
    ------
    InvalidMedia
        If it cannot be decoded safely.
    """
    return open_audio(data) if modality == "audio" else open_image(data)


def check_decoded(modality: Modality, content: Any) -> Any:
    """Check what was decoded by others: a picture of any mode, or a `Waveform`.

    Raises
    ------
    InvalidMedia
        If it cannot be used.
    """
    if modality == "audio":
        return require_sound(_as_waveform(content))
    return to_rgb(content)


def _as_waveform(content: Any) -> Waveform:
    if not isinstance(content, Waveform):
        raise TypeError(
            f"audio is a path, bytes or a Waveform, not a {type(content).__name__}; "
            "make one with isthmus.encoders.Waveform(samples, rate)"
        )
    return content

"""Decoding: image and audio files to what encoders take, in processes that may die."""

from __future__ import annotations

from typing import Any

from PIL.Image import Image

from isthmus.encoders.audio import Waveform, validated_waveform
from isthmus.encoders.decoder_pool import decode_apart
from isthmus.encoders.image import to_rgb
from isthmus.errors import InvalidMedia
from isthmus.schema import Modality


def decode(modality: Modality, data: bytes) -> Any:
    """Decode a file.

    Parameters
    ----------
    modality : {"image", "audio"}
        Modality of the file.
    data : bytes
        The file.

    Returns
    -------
    PIL.Image.Image or Waveform
        An upright RGB image, or one channel of audio.

    Raises
    ------
    InvalidMedia
        If the file cannot be decoded safely.
    """
    return decode_apart(modality, data)


def check_decoded(modality: Modality, content: Any) -> Any:
    """Return decoded content that the caller provides, checked: any image, or a `Waveform`.

    Raises
    ------
    InvalidMedia
        If it cannot be encoded, or is something else.
    """
    if modality != "audio":
        if not isinstance(content, Image):
            raise InvalidMedia(
                f"image is a path, bytes or a PIL image, not a {type(content).__name__}"
            )
        return to_rgb(content)
    if not isinstance(content, Waveform):
        raise InvalidMedia(
            f"audio is a path, bytes or a Waveform, not a {type(content).__name__}; "
            "make one with isthmus.encoders.Waveform(samples, rate)"
        )
    return validated_waveform(content)

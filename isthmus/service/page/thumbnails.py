"""Small pictures of items, decoded as safely as for encoding."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from isthmus.data.media import MediaStore
from isthmus.digests import digest
from isthmus.encoders.decoding import decode
from isthmus.errors import InvalidMedia

SIDES: Final = {"small": 240, "large": 640}  # pixels
QUALITY: Final = 82
MAX_KEPT: Final = 512
WEBP: Final = "image/webp"

_kept: dict[tuple[bytes, str], bytes] = {}


def thumbnail(media: MediaStore, reference: str, size: str) -> bytes | None:
    """Return a WebP of a picture; None where it cannot be read.

    Parameters
    ----------
    media : MediaStore
        Reads it.
    reference : str
        What an item has as its picture.
    size : str
        A name of `SIDES`.
    """
    try:
        data = media.read(reference)
        key = digest(data), size
        if key not in _kept:
            if len(_kept) >= MAX_KEPT:
                _kept.pop(next(iter(_kept)), None)
            _kept[key] = _small(decode("image", data), SIDES[size])
        return _kept[key]
    except (InvalidMedia, KeyError):
        return None


def _small(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY)
    return out.getvalue()

"""What a file is that is no image in a readable format, by its first bytes, and what to do."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final

HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
)
AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
READ = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000 or PPM"

_CONVERT = f"convert it to {READ}"
_SIGNATURES = (
    (rb"\x00\x00\x00\x0cJXL \r\n|\xff\x0a", "JPEG XL", _CONVERT),
    (rb"II\*\x00.{4}CR|IIRO|IIU\x00|FUJIFILMCCD-RAW", "a camera's raw file", _CONVERT),
    (rb"8BPS", "Photoshop", _CONVERT),
    (rb"%PDF-", "PDF", "give a picture of its page"),
    (rb"%!PS", "PostScript", "give a picture of its page"),
    (rb"\x00\x00\x01\x00", "an icon (ICO)", _CONVERT),
    (rb"gimp xcf", "GIMP", _CONVERT),
    (rb"\x1f\x8b|PK\x03\x04|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ", "an archive", "unpack it first"),
    (rb"\x1aE\xdf\xa3|FLV\x01|RIFF.{4}AVI ", "a video", "give one of its frames"),
    (rb"ID3|OggS|fLaC|RIFF.{4}WAVE", "audio", "give it in the audio column"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "fetch the file: git lfs pull"),
    (rb"\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg", "SVG", _CONVERT),
    (rb"(?i)\s*(<!doctype html|<html|<head|<body)", "a web page", "give the address of the image"),
    (rb"\s*[\[{]\s*[\"\]}]", "JSON", "the address may have answered with an error"),
)


def brand_of(data: bytes) -> bytes:
    r"""Return the brand of an ISO media file (HEIC, AVIF, MP4); empty for other files.

    Examples
    --------
    >>> brand_of(b"\0\0\0\x18ftypheic" + bytes(12))
    b'heic'
    """
    return data[8:12] if data[4:8] == b"ftyp" else b""


def why_unknown(data: bytes) -> str:
    """Return what a file is that cannot be read as an image, and what to do.

    Examples
    --------
    >>> why_unknown(b"%PDF-1.7")
    'the file is PDF, which is not read as an image; give a picture of its page'
    """
    brand = brand_of(data)
    if brand in HEIF_BRANDS and find_spec("pillow_heif") is None:
        return (
            "the image is HEIC (HEIF), which needs another package: pip install pillow-heif, or "
            "convert it to JPEG or PNG"
        )
    if brand in HEIF_BRANDS:
        return "the image is HEIC (HEIF), and damaged or of a kind that pillow-heif does not read"
    if brand in AVIF_BRANDS:
        return (
            "the image is AVIF, and this Pillow reads none of it: install a Pillow with AVIF (pip "
            "install -U pillow), or the file is damaged"
        )
    if brand:
        return "the file is a video (MP4), which is not read as an image; give one of its frames"
    for signature, name, remedy in _SIGNATURES:
        if re.match(signature, data[:1_000], re.DOTALL):
            return f"the file is {name}, which is not read as an image; {remedy}"
    return f"not an image in a known format; {READ} are read"

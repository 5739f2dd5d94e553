"""Audio files that are cut off or damaged, which libsndfile passes over where it can."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

_UNSTATED_32: Final = (0, 2**32 - 1)  # the size in a file that was written into a pipe
_UNSTATED_64: Final = (0, 2**63 - 1, 2**64 - 1)
_MOST_CHUNKS: Final = 1_000
_OGG, _OGG_HEADER, _OGG_CHECKSUM = b"OggS", 27, slice(22, 26)
_LAST_PAGE: Final = 4
_BITS_TURNED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def lacks_bytes(data: bytes) -> bool:
    """Tell whether a file is shorter than its container says.

    Parameters
    ----------
    data : bytes
        WAV, RF64, AIFF, AU, CAF, W64 or Ogg; of other formats nothing is known.

    Examples
    --------
    >>> lacks_bytes(b"RIFF" + (40).to_bytes(4, "little") + bytes(20))
    True
    """
    if data.startswith(_OGG):
        return any(not whole for whole, _ in _ogg_pages(data))
    stated = _stated_length(data)
    return stated is not None and len(data) + 1 < stated  # the last byte may be one of padding


def is_damaged(data: bytes) -> bool:
    """Tell whether a page of an Ogg file does not have its checksum; decoders leave it out."""
    return data.startswith(_OGG) and not all(sound for _, sound in _ogg_pages(data))


def _stated_length(data: bytes) -> int | None:
    """Give the bytes that the header speaks of, or None where it leaves that open."""
    head = data[:4]
    if head == b"RIFF":
        return _more(8, _number(data, 4, 4, "little"), _UNSTATED_32)
    if head == b"FORM":
        return _more(8, _number(data, 4, 4, "big"), _UNSTATED_32)
    if head == b"RF64":
        return _more(8, _number(data, 20, 8, "little"), _UNSTATED_64)
    if head == b"riff":
        return _more(0, _number(data, 16, 8, "little"), _UNSTATED_64)
    if head == b".snd":
        return _more(_number(data, 4, 4, "big"), _number(data, 8, 4, "big"), _UNSTATED_32)
    return _length_of_chunks(data) if head == b"caff" else None


def _more(before: int, stated: int, unstated: tuple[int, ...]) -> int | None:
    return None if stated in unstated else before + stated


def _length_of_chunks(data: bytes) -> int | None:
    """Give where the samples of a CAF file end, which stand in one of its chunks."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        size = _number(data, at + 4, 8, "big")
        if data[at : at + 4] == b"data":
            return _more(at + 12, size, _UNSTATED_64)
        at += 12 + size
    return None


def _number(data: bytes, at: int, size: int, order: str) -> int:
    return int.from_bytes(data[at : at + size], "little" if order == "little" else "big")


def _ogg_pages(data: bytes) -> Iterator[tuple[bool, bool]]:
    """Tell of each page whether all of it is there, and whether it is as it was written.

    Xiph.Org, "The Ogg encapsulation format version 0" (RFC 3533).
    """
    at, ended = 0, False
    while at < len(data) and not ended:
        segments = data[at + 26 : at + _OGG_HEADER]
        body = at + _OGG_HEADER + (segments[0] if segments else 0)
        end = body + sum(data[at + _OGG_HEADER : body])
        page = data[at:end]
        if not page.startswith(_OGG[: len(page)]):
            yield True, False
            return
        whole = bool(segments) and end <= len(data)
        yield whole, whole and _ogg_checksum(page) == _number(page, 22, 4, "little")
        at, ended = end, bool(page[5:6]) and bool(page[5] & _LAST_PAGE)


def _ogg_checksum(page: bytes) -> int:
    """Give the CRC of a page: zlib's polynomial, bits in the other order, begun with 0."""
    blank = page[: _OGG_CHECKSUM.start] + bytes(4) + page[_OGG_CHECKSUM.stop :]
    turned = zlib.crc32(blank.translate(_BITS_TURNED), 2**32 - 1) ^ (2**32 - 1)
    return int(f"{turned:032b}"[::-1], 2)

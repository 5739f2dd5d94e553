"""Checksums of files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from isthmus.digests import digest_file

BLOCK_BYTES = 2**20


def checksum(path: Path) -> str:
    """Return the BLAKE2b digest of a file's content, 32 hexadecimal digits."""
    return digest_file(path).hex()


class Crc(NamedTuple):
    """Size and CRC-32 of a content.

    A CRC-32 differs for every two contents of one size that differ in at most 32 consecutive bits,
    so in one byte, and for all but one in four billion of the others. It is some four times as fast
    as a cryptographic digest.
    """

    bytes: int
    crc: int


def crc_of(data: bytes) -> Crc:
    """Return size and CRC-32 of bytes.

    Examples
    --------
    >>> crc_of(b"sea")
    Crc(bytes=3, crc=2345255223)
    """
    return Crc(len(data), zlib.crc32(data))


def crc_of_file(path: Path) -> Crc:
    """Return size and CRC-32 of a file, read in blocks."""
    size = crc = 0
    block = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while n := file.readinto(block):
            size, crc = size + n, zlib.crc32(block[:n], crc)
    return Crc(size, crc)

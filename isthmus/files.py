"""Checksums of files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from isthmus.digests import digest_file

BLOCK_BYTES: Final = 2**20
CHECKSUM: Final = "checksum"  # key of the checksum among the values that it is of


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


def with_line_checksum(text: str) -> bytes:
    r"""Return a line of text and its CRC-32.

    Examples
    --------
    >>> with_line_checksum("000007")
    b'000007 a7229045\n'
    """
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def without_line_checksum(content: bytes) -> str:
    """Return the text of a line with its CRC-32.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    text = content.decode().rpartition(" ")[0]
    if content != with_line_checksum(text):
        raise ValueError("the line or its checksum is damaged")
    return text


def checksum_of_values(values: Mapping[str, Any]) -> str:
    """Return the CRC-32 of the values of a JSON or TOML document, 8 hexadecimal digits.

    The order of keys, white space and a value `CHECKSUM` do not count.

    Examples
    --------
    >>> checksum_of_values({"a": 1, "b": [2.5]}) == checksum_of_values({"b": [2.5], "a": 1})
    True
    """
    counted = {key: value for key, value in values.items() if key != CHECKSUM}
    return f"{zlib.crc32(json.dumps(counted, sort_keys=True, default=str).encode()):08x}"


def with_checksum(text: str) -> bytes:
    r"""Return a JSON object, written as text, with the checksum of its values.

    Examples
    --------
    >>> with_checksum('{"a": 1}')
    b'{\n "a": 1,\n "checksum": "fba18e97"\n}'
    """
    values = json.loads(text)
    return json.dumps({**values, CHECKSUM: checksum_of_values(values)}, indent=1).encode()


def without_checksum(content: bytes) -> dict[str, Any]:
    """Return the values of a JSON object, without their checksum.

    Raises
    ------
    ValueError
        If it is no JSON object, or the checksum differs. One without a checksum is taken as it is.
    """
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    expected = values.pop(CHECKSUM, None)
    if expected is not None and expected != checksum_of_values(values):
        raise ValueError("its checksum differs")
    return values

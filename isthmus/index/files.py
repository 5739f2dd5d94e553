"""Checksums of files."""

from __future__ import annotations

from pathlib import Path

from isthmus.digests import digest_file


def checksum(path: Path) -> str:
    """Return the BLAKE2b digest of a file's content, 32 hexadecimal digits."""
    return digest_file(path).hex()

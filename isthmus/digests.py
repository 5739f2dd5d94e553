"""Content digests, and a compact map from digests to positions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16


def digest(content: bytes | memoryview | str) -> bytes:
    """Digest content into 16 bytes (BLAKE2b).

    Examples
    --------
    >>> digest("a") == digest(b"a"), len(digest("a"))
    (True, 16)
    """
    data = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def digest_file(path: Path) -> bytes:
    """Digest what a file holds as `digest` does, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()


def keys_of(digests: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """Take the first eight bytes of each digest as a number, shape (n,)."""
    packed = b"".join(d[:8] for d in digests)
    return np.frombuffer(packed, dtype="<u8")


class DigestIndex:
    """Sorted map from digests to positions: 16 bytes an entry, so millions fit in memory.

    Parameters
    ----------
    keys : numpy.ndarray
        uint64 keys, shape (n,); entry *i* stands for position *i*.
    """

    def __init__(self, keys: npt.NDArray[np.uint64]) -> None:
        self._order = np.argsort(keys, kind="stable").astype(np.int64)
        self._sorted = keys[self._order]
        self._recent: dict[int, int] = {}
        self._size = len(keys)

    def __len__(self) -> int:
        return self._size

    def add(self, keys: npt.NDArray[np.uint64]) -> None:
        """Append keys at the next positions; a key that is there keeps its latest position."""
        for key in keys.tolist():
            self._recent[key] = self._size
            self._size += 1
        if len(self._recent) > 200_000:
            self._merge()

    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Give the position of each key, or -1 where it is absent, shape (n,)."""
        found = np.full(len(keys), -1, np.int64)
        if len(self._sorted):
            # Last of equal keys: later positions win.
            at = np.searchsorted(self._sorted, keys, side="right") - 1
            hit = (at >= 0) & (self._sorted[np.maximum(at, 0)] == keys)
            found[hit] = self._order[at[hit]]
        if self._recent:
            for i, key in enumerate(keys.tolist()):
                found[i] = self._recent.get(key, found[i])
        return found

    def _merge(self) -> None:
        recent = np.fromiter(self._recent, np.uint64, len(self._recent))
        positions = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        keys = np.concatenate([self._sorted, recent])
        positions = np.concatenate([self._order, positions])
        order = np.lexsort((positions, keys))
        self._sorted, self._order = keys[order], positions[order]
        self._recent = {}

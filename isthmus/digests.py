"""Content digests, and a compact map from digests to positions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DIGEST_BYTES = 16
MAX_APPENDED = 200_000


def digest(content: bytes | memoryview | str) -> bytes:
    """Return the BLAKE2b digest of content, 16 bytes.

    Examples
    --------
    >>> digest("a") == digest(b"a"), len(digest("a"))
    (True, 16)
    """
    data = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def digest_file(path: Path) -> bytes:
    """Return the `digest` of a file's content; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()


def digest_stream(blocks: Iterable[bytes]) -> bytes:
    """Return the `digest` of content that comes in blocks."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for block in blocks:
        state.update(block)
    return state.digest()


def keys_of(digests: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of each digest as uint64, shape (n,)."""
    packed = b"".join(d[:8] for d in digests)
    return np.frombuffer(packed, dtype="<u8")


class TextKeys:
    """Hashes texts to 64-bit keys, all rows of a column at once.

    Simple tabulation hashing: the key is the exclusive or of random numbers, one for each position
    and byte. Two different texts have the same key with a probability of 2**-64, whoever chose
    them, since the numbers are drawn anew by each process. (Zobrist 1970; Carter & Wegman 1979.)
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng()
        self._table = np.zeros((0, 256), np.uint64)

    def of(self, texts: pa.StringArray) -> npt.NDArray[np.uint64]:
        """Return the key of each text, shape (n,); 0 for null and for the empty text."""
        keys = np.zeros(len(texts), np.uint64)
        column = texts.fill_null("").cast(pa.large_binary())
        _, offsets_buffer, data_buffer = column.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int64)
        offsets = offsets[column.offset : column.offset + len(column) + 1]
        lengths = np.diff(offsets)
        filled = np.flatnonzero(lengths)
        if not len(filled):
            return keys
        data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
        starts = (offsets[:-1] - offsets[0])[filled]
        position = np.arange(len(data)) - np.repeat(starts, lengths[filled])
        self._grow(int(lengths.max()))
        keys[filled] = np.bitwise_xor.reduceat(self._table[position, data], starts)
        return keys

    def _grow(self, length: int) -> None:
        missing = length - len(self._table)
        if missing > 0:
            numbers = self._rng.integers(0, 2**64, (missing, 256), np.uint64)
            self._table = np.concatenate([self._table, numbers])


class DigestIndex:
    """A map from digests to positions, 16 bytes per entry.

    The keys are 64-bit prefixes of digests in a sorted array. Appended keys wait in a dictionary
    until there are many; then they are merged into the array.

    Parameters
    ----------
    keys : numpy.ndarray
        uint64 keys, shape (n,); key *i* has position *i*.
    """

    def __init__(self, keys: npt.NDArray[np.uint64]) -> None:
        self._order = np.argsort(keys, kind="stable").astype(np.int64)
        self._sorted = keys[self._order]
        self._appended: dict[int, int] = {}
        self._size = len(keys)

    def __len__(self) -> int:
        return self._size

    def add(self, keys: npt.NDArray[np.uint64]) -> None:
        """Append keys, (n,), at the next positions; a repeated key has its latest position."""
        for key in keys.tolist():
            self._appended[key] = self._size
            self._size += 1
        if len(self._appended) > MAX_APPENDED:
            self._merge()

    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return the position of each key, -1 if it is absent, shape (n,)."""
        positions = np.full(len(keys), -1, np.int64)
        if len(self._sorted):
            # side="right" gives the last of equal keys: the latest position wins.
            at = np.searchsorted(self._sorted, keys, side="right") - 1
            hit = (at >= 0) & (self._sorted[np.maximum(at, 0)] == keys)
            positions[hit] = self._order[at[hit]]
        if self._appended:
            for i, key in enumerate(keys.tolist()):
                positions[i] = self._appended.get(key, positions[i])
        return positions

    def _merge(self) -> None:
        appended = np.fromiter(self._appended, np.uint64, len(self._appended))
        positions = np.fromiter(self._appended.values(), np.int64, len(self._appended))
        keys = np.concatenate([self._sorted, appended])
        positions = np.concatenate([self._order, positions])
        order = np.lexsort((positions, keys))
        self._sorted, self._order = keys[order], positions[order]
        self._appended = {}

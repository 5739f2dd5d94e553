"""The embedding cache: vectors by content hash, so that no content is encoded twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.lance_library import batches_of
from isthmus.data.lance_tables import compact_if_fragmented, digest_predicates_in, open_or_create
from isthmus.digests import DIGEST_BYTES, DigestIndex, keys_of
from isthmus.numerics.arrays import FloatArray

CONTENT = "content_hash"
VECTOR = "vector"
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 4_096


class EmbeddingCache:
    """Vectors of one modality under one encoder fingerprint, by content hash.

    New vectors stay in memory for a few seconds and are then appended to the table in one commit:
    a job that is killed loses at most the last seconds of encoding.

    Parameters
    ----------
    folder : Path
        Folder of all embedding caches of a space.
    modality : str
        Modality of the content.
    fingerprint : str
        Fingerprint of the encoder.
    dim : int
        Length of a vector.
    lazy : bool, default False
        Look content hashes up on disk per query instead of loading all keys at once. For jobs
        that read a small part of the cache.

    Attributes
    ----------
    dim : int
        Length of a vector.
    """

    def __init__(
        self, folder: Path, modality: str, fingerprint: str, dim: int, *, lazy: bool = False
    ) -> None:
        self._path = folder / f"{modality}-{fingerprint}.lance"
        self._schema = pa.schema(
            [(CONTENT, pa.binary(DIGEST_BYTES)), (VECTOR, pa.list_(pa.float32(), dim))]
        )
        self.dim = dim
        self._dataset = open_or_create(self._path, self._schema)
        self._lazy = lazy
        # A key's position in the index: rows of the table first, then rows in memory.
        self._index = DigestIndex(np.empty(0, np.uint64) if lazy else self._stored_keys())
        self._lock = threading.Lock()
        self._n_on_disk = len(self._index)
        self._in_memory: list[FloatArray] = []
        self._unwritten: list[bytes] = []  # hashes of the last positions
        self._last_flush = time.monotonic()

    def __len__(self) -> int:
        return int(self._dataset.count_rows()) + len(self._unwritten)

    def contains(self, hashes: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Return which contents have a vector, shape (len(hashes),); thread-safe beside `add`."""
        with self._lock:
            if self._lazy:
                self._fetch(hashes)
            return self._index.find(keys_of(hashes)) >= 0

    def vectors(self, hashes: Sequence[bytes]) -> FloatArray:
        """Return the vectors of cached contents, float32, shape (len(hashes), dim).

        Raises
        ------
        KeyError
            If a content is not in the cache.
        """
        cached = self.contains(hashes)
        if not cached.all():
            raise KeyError(f"{int((~cached).sum())} contents are not in the embedding cache")
        with self._lock:
            positions = self._index.find(keys_of(hashes))
            out = np.empty((len(hashes), self.dim), np.float32)
            on_disk = positions < self._n_on_disk
            if on_disk.any():
                out[on_disk] = self._take(positions[on_disk])
            if not on_disk.all():
                in_memory = np.concatenate(self._in_memory)
                out[~on_disk] = in_memory[positions[~on_disk] - self._n_on_disk]
        return out

    def add(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        """Add the vectors of new contents; they reach the disk within `FLUSH_SECONDS`.

        Parameters
        ----------
        hashes : sequence of bytes
            Content hashes, none of them in the cache.
        vectors : numpy.ndarray
            float32, shape (len(hashes), dim).
        """
        if not len(hashes):
            return
        with self._lock:
            self._keep_in_memory(hashes, np.ascontiguousarray(vectors, np.float32))
            self._unwritten += hashes
        overdue = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if overdue or len(self._unwritten) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the vectors in memory to the disk, in one commit."""
        if self._unwritten:
            vectors = self.vectors(self._unwritten)
            self._dataset.insert(self._table(self._unwritten, vectors), mode="append")
            with self._lock:
                if not self._lazy:
                    self._n_on_disk += len(self._unwritten)
                    self._in_memory = []
                self._unwritten = []
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Flush, merge small fragments where there are many, and keep the look-up index current."""
        self.flush()
        compact_if_fragmented(self._dataset, CONTENT)

    def _stored_keys(self) -> npt.NDArray[np.uint64]:
        batches = batches_of(self._dataset.scanner(columns=[CONTENT], scan_in_order=True))
        parts = [keys_of(batch.column(0).to_pylist()) for batch in batches]
        return np.concatenate([*parts, np.empty(0, np.uint64)])

    def _fetch(self, hashes: Sequence[bytes]) -> None:
        """Read vectors that are on disk and not in memory yet (`lazy` only)."""
        absent = self._index.find(keys_of(hashes)) < 0
        missing = [h for h, is_absent in zip(hashes, absent.tolist(), strict=True) if is_absent]
        for predicate in digest_predicates_in(CONTENT, missing):
            rows = self._dataset.scanner(filter=predicate).to_table()
            if len(rows):
                flat = rows.column(VECTOR).combine_chunks().flatten().to_numpy()
                vectors = flat.reshape(-1, self.dim)
                self._keep_in_memory(rows.column(CONTENT).to_pylist(), vectors)

    def _keep_in_memory(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        self._index.add(keys_of(hashes))
        self._in_memory.append(vectors)

    def _take(self, positions: npt.NDArray[np.int64]) -> FloatArray:
        """Return rows of the table, repeated positions included; shape (len(positions), dim)."""
        distinct, inverse = np.unique(positions, return_inverse=True)
        column = self._dataset.take(distinct.tolist(), columns=[VECTOR]).column(VECTOR)
        flat = column.combine_chunks().flatten().to_numpy()
        return np.asarray(flat.reshape(-1, self.dim)[inverse], np.float32)

    def _table(self, hashes: Sequence[bytes], vectors: FloatArray) -> pa.Table:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dim)
        return pa.table([pa.array(hashes, pa.binary(DIGEST_BYTES)), column], schema=self._schema)

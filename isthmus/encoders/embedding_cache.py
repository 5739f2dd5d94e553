"""Caches by content hash, so that no content goes through a model twice.

`EmbeddingCache` holds the vectors of encoders of items, and `RecordCache` what models of the second
stage make of a content: vectors of its tokens, or weights of terms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.lance_library import batches_of
from isthmus.data.lance_tables import compact_if_fragmented, digest_predicates_in, open_or_create
from isthmus.data.leases import hold
from isthmus.data.table_checksums import newest_version
from isthmus.digests import DIGEST_BYTES, DigestIndex, keys_of
from isthmus.forking import renew_lock
from isthmus.numerics.arrays import FloatArray

CONTENT = "content_hash"
VECTOR = "vector"
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 4_096
SCAN_ROWS = 8_192

Records = npt.NDArray[Any]


class ContentCache:
    """Values of contents of one modality under one fingerprint, by content hash.

    New values stay in memory for a few seconds and are then appended to the table in one commit:
    a job that is killed loses at most the last seconds of encoding.

    Parameters
    ----------
    folder : Path
        Folder of all caches of a space.
    modality : str
        Modality of the content.
    fingerprint : str
        Fingerprint of the model.
    value_type : pyarrow.DataType
        Type of a value.
    lazy : bool, default False
        Look content hashes up on disk per query instead of loading all keys at once. For jobs
        that read a small part of the cache.
    """

    def __init__(
        self,
        folder: Path,
        modality: str,
        fingerprint: str,
        value_type: pa.DataType,
        *,
        lazy: bool = False,
    ) -> None:
        self._path = folder / f"{modality}-{fingerprint}.lance"
        self._schema = pa.schema([(CONTENT, pa.binary(DIGEST_BYTES)), (VECTOR, value_type)])
        self._dataset = open_or_create(self._path, self._schema)
        self._lazy = lazy
        # A key's position in the index: rows of the table first, then rows in memory.
        self._index = DigestIndex(np.empty(0, np.uint64) if lazy else self._stored_keys())
        self._lock = threading.Lock()
        renew_lock(self)
        self._n_on_disk = len(self._index)
        self._in_memory: list[pa.Array] = []
        self._unwritten: list[bytes] = []  # hashes of the last positions
        self._last_flush = time.monotonic()

    def __len__(self) -> int:
        return int(self._dataset.count_rows()) + len(self._unwritten)

    def contains(self, hashes: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Return which contents have a value, shape (len(hashes),); thread-safe beside `add`."""
        with self._lock:
            if self._lazy:
                self._fetch(hashes)
            return self._index.find(keys_of(hashes)) >= 0

    def values(self, hashes: Sequence[bytes]) -> pa.Array:
        """Return the values of cached contents, in order.

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
            on_disk = positions < self._n_on_disk
            parts = [self._take(positions[on_disk])] if on_disk.any() else []
            if not on_disk.all():
                rows = pa.array(positions[~on_disk] - self._n_on_disk)
                parts.append(pa.concat_arrays(self._in_memory).take(rows))
        if not parts:
            return pa.array([], self._schema.field(VECTOR).type)
        if len(parts) == 1:
            return parts[0]
        order = np.concatenate([np.flatnonzero(on_disk), np.flatnonzero(~on_disk)])
        return pa.concat_arrays(parts).take(pa.array(np.argsort(order)))

    def add_values(self, hashes: Sequence[bytes], values: pa.Array) -> None:
        """Add the values of new contents; they reach the disk within `FLUSH_SECONDS`.

        Parameters
        ----------
        hashes : sequence of bytes
            Content hashes, none of them in the cache.
        values : pyarrow.Array
            Their values.
        """
        if not len(hashes):
            return
        with self._lock:
            self._keep_in_memory(hashes, values)
            self._unwritten += hashes
        overdue = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if overdue or len(self._unwritten) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the values in memory to the disk, in one commit."""
        if self._unwritten:
            column = pa.array(self._unwritten, pa.binary(DIGEST_BYTES))
            values = self.values(self._unwritten)
            self._dataset.insert(pa.table([column, values], schema=self._schema), mode="append")
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

    def is_newest(self) -> bool:
        """Return whether the table is as it was opened; it is kept so until the verb returns."""
        version = newest_version(self._path)
        if version is None or version != int(self._dataset.version):
            return False
        hold(self._path, version)
        return newest_version(self._path) == version

    def scan(self) -> Iterator[tuple[list[bytes], pa.Array]]:
        """Yield the hashes and the values on disk, batch by batch."""
        scanner = self._dataset.scanner(batch_size=SCAN_ROWS, scan_in_order=True)
        for batch in batches_of(scanner):
            yield batch.column(CONTENT).to_pylist(), batch.column(VECTOR)

    def _stored_keys(self) -> npt.NDArray[np.uint64]:
        batches = batches_of(self._dataset.scanner(columns=[CONTENT], scan_in_order=True))
        parts = [keys_of(batch.column(0).to_pylist()) for batch in batches]
        return np.concatenate([*parts, np.empty(0, np.uint64)])

    def _fetch(self, hashes: Sequence[bytes]) -> None:
        """Read values that are on disk and not in memory yet (`lazy` only)."""
        absent = self._index.find(keys_of(hashes)) < 0
        missing = [h for h, is_absent in zip(hashes, absent.tolist(), strict=True) if is_absent]
        for predicate in digest_predicates_in(CONTENT, missing):
            rows = self._dataset.scanner(filter=predicate).to_table()
            if len(rows):
                values = rows.column(VECTOR).combine_chunks()
                self._keep_in_memory(rows.column(CONTENT).to_pylist(), values)

    def _keep_in_memory(self, hashes: Sequence[bytes], values: pa.Array) -> None:
        self._index.add(keys_of(hashes))
        self._in_memory.append(values)

    def _take(self, positions: npt.NDArray[np.int64]) -> pa.Array:
        """Return rows of the table, repeated positions included."""
        distinct, inverse = np.unique(positions, return_inverse=True)
        column = self._dataset.take(distinct.tolist(), columns=[VECTOR]).column(VECTOR)
        return column.combine_chunks().take(pa.array(inverse))


class EmbeddingCache(ContentCache):
    """Vectors of one modality under one encoder fingerprint, by content hash.

    Parameters
    ----------
    folder, modality, fingerprint, lazy
        See `ContentCache`.
    dim : int
        Length of a vector.

    Attributes
    ----------
    dim : int
        Length of a vector.
    """

    def __init__(
        self, folder: Path, modality: str, fingerprint: str, dim: int, *, lazy: bool = False
    ) -> None:
        super().__init__(folder, modality, fingerprint, pa.list_(pa.float32(), dim), lazy=lazy)
        self.dim = dim

    def vectors(self, hashes: Sequence[bytes]) -> FloatArray:
        """Return the vectors of cached contents, float32, shape (len(hashes), dim).

        Raises
        ------
        KeyError
            If a content is not in the cache.
        """
        flat = self.values(hashes).flatten().to_numpy()
        return np.asarray(flat.reshape(-1, self.dim), np.float32)

    def add(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        """Add the vectors of new contents; see `add_values`.

        Parameters
        ----------
        hashes : sequence of bytes
            Content hashes, none of them in the cache.
        vectors : numpy.ndarray
            float32, shape (len(hashes), dim).
        """
        flat = np.ascontiguousarray(vectors, np.float32).ravel()
        self.add_values(hashes, pa.FixedSizeListArray.from_arrays(pa.array(flat), self.dim))


class RecordCache(ContentCache):
    """Records of contents, any number of them for each, by content hash.

    Parameters
    ----------
    folder, modality, fingerprint
        See `ContentCache`.
    dtype : numpy.dtype
        Type of a record.
    """

    def __init__(self, folder: Path, modality: str, fingerprint: str, dtype: np.dtype[Any]) -> None:
        super().__init__(folder, modality, fingerprint, pa.large_binary())
        self.dtype = dtype

    def records(self, hashes: Sequence[bytes]) -> list[Records]:
        """Return the records of cached contents, shape (n,) each.

        Raises
        ------
        KeyError
            If a content is not in the cache.
        """
        return [np.frombuffer(value.as_buffer(), self.dtype) for value in self.values(hashes)]

    def add(self, hashes: Sequence[bytes], records: Sequence[Records]) -> None:
        """Add the records of new contents; see `add_values`."""
        values = [np.ascontiguousarray(one, self.dtype).tobytes() for one in records]
        self.add_values(hashes, pa.array(values, pa.large_binary()))

    def scan_records(self) -> Iterator[tuple[list[bytes], list[Records]]]:
        """Yield the hashes and the records on disk, batch by batch."""
        for hashes, values in self.scan():
            yield hashes, [np.frombuffer(value.as_buffer(), self.dtype) for value in values]

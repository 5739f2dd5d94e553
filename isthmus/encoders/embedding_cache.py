"""The ledger: what was encoded once and is never encoded again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.lance_tables import compact_if_fragmented, digest_predicates_in, open_or_create
from isthmus.digests import DIGEST_BYTES, DigestIndex, keys_of
from isthmus.numerics.arrays import FloatArray

CONTENT = "content_hash"
VECTOR = "vector"
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 4_096


class Ledger:
    """Vectors of one modality under one encoder fingerprint, by content hash.

    Vectors wait in memory for a few seconds and are then appended in one commit, so a job that
    is killed loses at most the last seconds of encoding.

    Parameters
    ----------
    folder : Path
        Folder of all ledgers of a space.
    modality : str
        Modality of the content.
    fingerprint : str
        Fingerprint of the encoder.
    dim : int
        Length of a vector.
    peek : bool, default False
        Look contents up on disk as they are asked for, rather than load all keys at once: for
        jobs that are small beside the ledger.

    Attributes
    ----------
    dim : int
        Length of a vector.
    """

    def __init__(
        self, folder: Path, modality: str, fingerprint: str, dim: int, *, peek: bool = False
    ) -> None:
        self._path = folder / f"{modality}-{fingerprint}.lance"
        self._schema = pa.schema(
            [(CONTENT, pa.binary(DIGEST_BYTES)), (VECTOR, pa.list_(pa.float32(), dim))]
        )
        self.dim = dim
        self._dataset = open_or_create(self._path, self._schema)
        self._peek = peek
        self._index = DigestIndex(np.empty(0, np.uint64) if peek else self._stored_keys())
        self._indexing = threading.Lock()
        self._on_disk = len(self._index)  # so many positions are rows of the table
        self._in_memory: list[FloatArray] = []  # the positions after those
        self._unwritten: list[bytes] = []  # the last positions
        self._last_flush = time.monotonic()

    def __len__(self) -> int:
        return int(self._dataset.count_rows()) + len(self._unwritten)

    def knows(self, hashes: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Tell which contents have a vector, shape (len(hashes),); safe beside `record`."""
        with self._indexing:
            if self._peek:
                self._fetch(hashes)
            return self._index.find(keys_of(hashes)) >= 0

    def vectors(self, hashes: Sequence[bytes]) -> FloatArray:
        """Give the vectors of known contents, shape (len(hashes), dim).

        Raises
        ------
        KeyError
            If a content is not known.
        """
        known = self.knows(hashes)
        if not known.all():
            raise KeyError(f"{int((~known).sum())} contents are not in the ledger")
        with self._indexing:
            positions = self._index.find(keys_of(hashes))
            out = np.empty((len(hashes), self.dim), np.float32)
            stored = positions < self._on_disk
            if stored.any():
                out[stored] = self._take(positions[stored])
            if not stored.all():
                held = np.concatenate(self._in_memory)
                out[~stored] = held[positions[~stored] - self._on_disk]
        return out

    def record(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        """Remember the vectors of contents; they reach the disk within seconds."""
        if not len(hashes):
            return
        with self._indexing:
            self._remember(hashes, np.ascontiguousarray(vectors, np.float32))
            self._unwritten += hashes
        late = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if late or len(self._unwritten) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits to the disk, in one commit."""
        if self._unwritten:
            vectors = self.vectors(self._unwritten)
            self._dataset.insert(self._table(self._unwritten, vectors), mode="append")
            with self._indexing:
                if not self._peek:
                    self._on_disk += len(self._unwritten)
                    self._in_memory = []
                self._unwritten = []
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Flush, merge small fragments where there are many, and keep look-ups quick."""
        self.flush()
        compact_if_fragmented(self._dataset, CONTENT)

    def _stored_keys(self) -> npt.NDArray[np.uint64]:
        batches = self._dataset.scanner(columns=[CONTENT], scan_in_order=True).to_batches()
        parts = [keys_of(batch.column(0).to_pylist()) for batch in batches]
        return np.concatenate([*parts, np.empty(0, np.uint64)])

    def _fetch(self, hashes: Sequence[bytes]) -> None:
        """Bring vectors that are on disk, and not yet known here, into memory."""
        unknown = self._index.find(keys_of(hashes)) < 0
        wanted = [h for h, absent in zip(hashes, unknown.tolist(), strict=True) if absent]
        for predicate in digest_predicates_in(CONTENT, wanted):
            found = self._dataset.scanner(filter=predicate).to_table()
            if len(found):
                flat = found.column(VECTOR).combine_chunks().flatten().to_numpy()
                self._remember(found.column(CONTENT).to_pylist(), flat.reshape(-1, self.dim))

    def _remember(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        self._index.add(keys_of(hashes))
        self._in_memory.append(vectors)

    def _take(self, positions: npt.NDArray[np.int64]) -> FloatArray:
        distinct, back = np.unique(positions, return_inverse=True)
        taken = self._dataset.take(distinct.tolist(), columns=[VECTOR]).column(VECTOR)
        flat = taken.combine_chunks().flatten().to_numpy()
        return np.asarray(flat.reshape(-1, self.dim)[back], np.float32)

    def _table(self, hashes: Sequence[bytes], vectors: FloatArray) -> pa.Table:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dim)
        return pa.table([pa.array(hashes, pa.binary(DIGEST_BYTES)), column], schema=self._schema)

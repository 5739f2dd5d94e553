"""The ledger: what was encoded once and is never encoded again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.digests import DIGEST_BYTES, DigestIndex, keys_of
from isthmus.encoders.encoder import FloatArray
from isthmus.tables import tidy

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

    Attributes
    ----------
    dim : int
        Length of a vector.
    """

    def __init__(self, folder: Path, modality: str, fingerprint: str, dim: int) -> None:
        self._path = folder / f"{modality}-{fingerprint}.lance"
        self._schema = pa.schema(
            [(CONTENT, pa.binary(DIGEST_BYTES)), (VECTOR, pa.list_(pa.float32(), dim))]
        )
        self.dim = dim
        self._dataset = self._open()
        self._index = DigestIndex(self._stored_keys())
        self._indexing = threading.Lock()
        self._flushed = len(self._index)
        self._waiting_hashes: list[bytes] = []
        self._waiting_vectors: list[FloatArray] = []
        self._last_flush = time.monotonic()

    def __len__(self) -> int:
        return len(self._index)

    def knows(self, hashes: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Tell which contents have a vector, shape (len(hashes),); safe beside `record`."""
        with self._indexing:
            return self._index.find(keys_of(hashes)) >= 0

    def vectors(self, hashes: Sequence[bytes]) -> FloatArray:
        """Give the vectors of known contents, shape (len(hashes), dim).

        Raises
        ------
        KeyError
            If a content is not known.
        """
        positions = self._index.find(keys_of(hashes))
        if (positions < 0).any():
            raise KeyError(f"{int((positions < 0).sum())} contents are not in the ledger")
        out = np.empty((len(hashes), self.dim), np.float32)
        stored = positions < self._flushed
        if stored.any():
            out[stored] = self._take(positions[stored])
        if not stored.all():
            waiting = np.concatenate(self._waiting_vectors)
            out[~stored] = waiting[positions[~stored] - self._flushed]
        return out

    def record(self, hashes: Sequence[bytes], vectors: FloatArray) -> None:
        """Remember the vectors of contents; they reach the disk within seconds."""
        if not len(hashes):
            return
        with self._indexing:
            self._index.add(keys_of(hashes))
        self._waiting_hashes += hashes
        self._waiting_vectors.append(np.ascontiguousarray(vectors, np.float32))
        late = time.monotonic() - self._last_flush > FLUSH_SECONDS
        if late or len(self._waiting_hashes) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits to the disk, in one commit."""
        if self._waiting_hashes:
            table = self._table(self._waiting_hashes, np.concatenate(self._waiting_vectors))
            self._dataset.insert(table, mode="append")
            self._flushed += len(self._waiting_hashes)
            self._waiting_hashes, self._waiting_vectors = [], []
        self._last_flush = time.monotonic()

    def close(self) -> None:
        """Flush, and merge small fragments where there are many."""
        self.flush()
        tidy(self._dataset)

    def _open(self) -> Any:
        import lance

        if self._path.exists():
            return lance.dataset(str(self._path))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return lance.write_dataset(self._schema.empty_table(), str(self._path))

    def _stored_keys(self) -> npt.NDArray[np.uint64]:
        batches = self._dataset.scanner(columns=[CONTENT], scan_in_order=True).to_batches()
        parts = [keys_of(batch.column(0).to_pylist()) for batch in batches]
        return np.concatenate([*parts, np.empty(0, np.uint64)])

    def _take(self, positions: npt.NDArray[np.int64]) -> FloatArray:
        distinct, back = np.unique(positions, return_inverse=True)
        taken = self._dataset.take(distinct.tolist(), columns=[VECTOR]).column(VECTOR)
        flat = taken.combine_chunks().flatten().to_numpy()
        return np.asarray(flat.reshape(-1, self.dim)[back], np.float32)

    def _table(self, hashes: Sequence[bytes], vectors: FloatArray) -> pa.Table:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dim)
        return pa.table([pa.array(hashes, pa.binary(DIGEST_BYTES)), column], schema=self._schema)

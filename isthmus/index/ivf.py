"""The inverted-file index: FAISS behind one small, immutable class."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.encoders.encoder import FloatArray
from isthmus.errors import CorruptRelease
from isthmus.index.exact import Mask, Positions

TRAINING_ROWS_A_LIST = 64
FEW_ALLOWED = 20_000


class IvfIndex:
    """An inverted file with full vectors; `lists` of its cells are searched a query.

    Search parameters travel with each call and nothing is changed after `build`, so threads
    may share it.

    Parameters
    ----------
    index : faiss.IndexIVFFlat
        The trained and filled index.
    lists : int
        How many cells a query visits (FAISS calls it nprobe).
    """

    def __init__(self, index: Any, lists: int) -> None:
        self._index = index
        self.lists = lists

    @classmethod
    def build(cls, vectors: FloatArray) -> IvfIndex:
        """Train and fill an index over vectors of shape (n_rows, dim)."""
        import faiss

        rows, dim = vectors.shape
        cells = max(1, int(4 * np.sqrt(rows)))
        index = faiss.index_factory(dim, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        chosen = np.random.default_rng(0).permutation(rows)[: cells * TRAINING_ROWS_A_LIST]
        index.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
        for start in range(0, rows, 65_536):
            index.add(np.ascontiguousarray(vectors[start : start + 65_536]))
        return cls(index, lists=max(1, cells // 64))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self._index.nlist)

    @property
    def recipe(self) -> str:
        """Name and parameters, as FAISS spells them."""
        return f"IVF{self.cells},Flat nprobe={self.lists}"

    def visiting(self, lists: int) -> IvfIndex:
        """Give the same index with another number of visited cells."""
        return IvfIndex(self._index, min(lists, self.cells))

    def search(
        self, queries: FloatArray, k: int, allowed: Mask | None = None
    ) -> tuple[FloatArray, Positions]:
        """Find about the k best allowed rows for each query, as `exact_search` does."""
        faiss: Any = import_module("faiss")
        selector = None
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self.lists)
        scores, positions = self._index.search(
            np.ascontiguousarray(queries, np.float32), k, params=parameters
        )
        return np.where(positions < 0, -np.inf, scores).astype(np.float32), positions

    def write(self, path: Path) -> None:
        """Write the index to a file."""
        import faiss

        faiss.write_index(self._index, str(path))

    @classmethod
    def read(cls, path: Path, lists: int) -> IvfIndex:
        """Read an index, memory-mapped.

        Raises
        ------
        CorruptRelease
            If FAISS cannot read the file.
        """
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            cause = str(error).splitlines()[0]
            raise CorruptRelease(f"{path} cannot be read: {cause}; publish again") from error
        return cls(index, lists)

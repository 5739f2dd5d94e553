"""What a search may return, with all that searches derive from it worked out once."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Counts, FloatArray, Mask, Positions

KEPT_BYTES = 16 * 2**20


class Bitmap:
    """A mask over rows or vectors that never changes.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape (n,); not to be written to afterwards.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._of_rows: dict[str, Bitmap] = {}
        self._in_cells: dict[int, Counts] = {}
        self._gathered: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.mask)

    @cached_property
    def count(self) -> int:
        """How many are allowed."""
        return int(np.count_nonzero(self.mask))

    @property
    def everything(self) -> bool:
        """Whether all are allowed."""
        return self.count == len(self.mask)

    @property
    def share(self) -> float:
        """Which part of all is allowed."""
        return self.count / max(len(self.mask), 1)

    @cached_property
    def positions(self) -> Positions:
        """The allowed ones, ascending, shape (count,)."""
        return np.flatnonzero(self.mask)

    @cached_property
    def selector(self) -> Any:
        """The same as FAISS wants it."""
        faiss: Any = import_module("faiss")
        return faiss.IDSelectorBitmap(np.packbits(self.mask, bitorder="little"))

    def at(self, vector_name: str, rows: Positions) -> Bitmap:
        """Give the mask over a block's vectors, whose rows these are.

        Each named vector has its own, since what is derived of it is of that block's vectors.
        """
        if vector_name not in self._of_rows:
            straight = len(rows) == len(self.mask)
            self._of_rows[vector_name] = Bitmap(self.mask if straight else self.mask[rows])
        return self._of_rows[vector_name]

    def gather(self, vectors: FloatArray, start: int, stop: int) -> FloatArray:
        """Give the vectors at some of the positions, shape (stop - start, dim).

        Where they are few altogether they are kept, for the next search with this filter.
        """
        part = self.positions[start:stop]
        if self.count * vectors.itemsize * vectors.shape[1] > KEPT_BYTES:
            return np.asarray(vectors[part])
        if self._gathered is None:
            self._gathered = np.asarray(vectors[self.positions])
        return self._gathered[start:stop]

    def in_cells(self, cell_of: npt.NDArray[np.int32], cells: int) -> Counts:
        """Count the allowed ones in each cell of an inverted file, shape (cells,)."""
        key = id(cell_of)
        if key not in self._in_cells:
            counts = np.bincount(cell_of[self.positions], minlength=cells)
            self._in_cells[key] = counts.astype(np.int64)
        return self._in_cells[key]

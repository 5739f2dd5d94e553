"""Bitmaps: the rows or vectors that a search may return, as FAISS's ID selectors take them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Counts, FloatArray, Mask, Positions

MAX_CACHED_BYTES = 16 * 2**20  # of the vectors of one bitmap, gathered for exact search


class Bitmap:
    """An immutable mask over rows or vectors, with cached derivations.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape (n,); must not be written to afterwards.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._of_vectors: dict[str, Bitmap] = {}
        self._list_counts: dict[int, Counts] = {}
        self._gathered: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.mask)

    @cached_property
    def count(self) -> int:
        """Number of set bits."""
        return int(np.count_nonzero(self.mask))

    @property
    def is_full(self) -> bool:
        """Whether every bit is set."""
        return self.count == len(self.mask)

    @property
    def fraction(self) -> float:
        """Fraction of set bits."""
        return self.count / max(len(self.mask), 1)

    @cached_property
    def positions(self) -> Positions:
        """Positions of the set bits, ascending, shape (count,)."""
        return np.flatnonzero(self.mask)

    @cached_property
    def selector(self) -> Any:
        """The `faiss.IDSelectorBitmap` of the mask."""
        faiss: Any = import_module("faiss")
        return faiss.IDSelectorBitmap(np.packbits(self.mask, bitorder="little"))

    def of_vectors(self, vector_name: str, rows: Positions) -> Bitmap:
        """Return the bitmap over the vectors of a name, one for each of `rows`.

        It is cached by name, since what is derived from it belongs to those vectors.
        """
        if vector_name not in self._of_vectors:
            every_row = len(rows) == len(self.mask)  # rows ascend, so they are 0 .. n - 1
            self._of_vectors[vector_name] = Bitmap(self.mask if every_row else self.mask[rows])
        return self._of_vectors[vector_name]

    def gather(self, vectors: FloatArray, n_rows: int) -> Iterator[tuple[Positions, FloatArray]]:
        """Yield positions of set bits, ascending, and their vectors, shapes (n,) and (n, dim).

        Small sets are cached for the next search with this bitmap, and come as one part. Others
        come in parts of `n_rows`, each in the place of the one before.
        """
        if self.count * vectors.itemsize * vectors.shape[1] <= MAX_CACHED_BYTES:
            if self._gathered is None:
                self._gathered = np.asarray(vectors[self.positions])
            if self.count:
                yield self.positions, self._gathered
            return
        place = np.empty((n_rows, vectors.shape[1]), vectors.dtype)
        for start in range(0, self.count, n_rows):
            part = self.positions[start : start + n_rows]
            # With another mode, NumPy gathers into a buffer of its own first.
            yield part, np.take(vectors, part, axis=0, out=place[: len(part)], mode="clip")

    def count_per_list(self, list_of: npt.NDArray[np.int32], nlist: int) -> Counts:
        """Return the number of set bits in each list of an inverted file, shape (nlist,).

        Parameters
        ----------
        list_of : numpy.ndarray
            int32, shape (n,): the list of each vector. The caller keeps it alive, since the
            result is cached by its identity.
        nlist : int
            Number of lists.
        """
        key = id(list_of)
        if key not in self._list_counts:
            counts = np.bincount(list_of[self.positions], minlength=nlist)
            self._list_counts[key] = counts.astype(np.int64)
        return self._list_counts[key]

"""Item features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask

if TYPE_CHECKING:
    pass


class ItemFeatures(Protocol):
    """The content vectors of items, fetched by their columns: unit length, zero where none."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the parts that a vector consists of."""
        ...

    def __len__(self) -> int:
        """Count the items."""
        ...

    def at(self, columns: Columns) -> FloatArray:
        """Give the vectors of items, float32, shape (len(columns), dim)."""
        ...

    def texts(self, columns: Columns) -> list[str]:
        """Give all that is written of items: their texts, and what is text of their attributes."""
        ...

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers, moments or truth values."""
        ...

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Give attributes as numbers, shape (len(columns), n_names); not a number where none."""
        ...

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Give the allowed items whose contents are nearest to vectors, nearest first.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n_vectors, dim), unit length.
        n : int
            Items a vector.
        allowed : numpy.ndarray
            bool, shape (n_items,).
        effort : float
            Less than 1 where candidates will do, which an index finds sooner.

        Returns
        -------
        columns, cosines : numpy.ndarray
            int64 and float32, shape (n_vectors, n); -1 where there are no more.
        """
        ...

    def near_items(
        self, columns: Columns, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Give the allowed items nearest to some of the items, each itself among them.

        As `nearest` for their vectors; who is asked for the same again and again may remember.
        """
        ...


@dataclass(frozen=True, eq=False)
class InMemoryItemFeatures:
    """Contents that are all in memory.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_items, dim), unit length or zero.
    blocks : tuple of str
        The names of the parts that a vector consists of.
    written : sequence of str
        What is written of each item; nothing by default.
    counted : mapping of str to numpy.ndarray
        Attributes that are numbers, float64, shape (n_items,); none by default.
    """

    vectors: FloatArray
    blocks: tuple[str, ...] = ()
    written: Sequence[str] = ()
    counted: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, columns: Columns) -> FloatArray:
        """Give the vectors of items."""
        return self.vectors[columns]

    def texts(self, columns: Columns) -> list[str]:
        """Give what is written of items."""
        return [self.written[column] if self.written else "" for column in columns.tolist()]

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers."""
        return tuple(self.counted)

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Give attributes of items."""
        none = np.full(len(self), np.nan)
        own = [np.asarray(self.counted.get(name, none))[columns] for name in names]
        return np.stack(own, axis=1) if own else np.empty((len(columns), 0))

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare with every allowed item (FAISS, exact)."""
        import faiss

        del effort

        columns = np.flatnonzero(allowed)
        cosines = np.full((len(vectors), n), -1, np.float32)
        found = np.full((len(vectors), n), -1, np.int64)
        most = min(n, len(columns))
        if most and len(vectors):
            own = self.vectors if len(columns) == len(self.vectors) else self.vectors[columns]
            inner = faiss.METRIC_INNER_PRODUCT
            cosines[:, :most], places = faiss.knn(vectors, own, most, metric=inner)
            found[:, :most] = columns[places]
        return found, cosines

    def near_items(
        self, columns: Columns, n: int, allowed: Mask, effort: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare some items with every allowed one."""
        return self.nearest(self.at(columns), n, allowed, effort)

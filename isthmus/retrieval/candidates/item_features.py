"""The content features of items: embedding vectors, texts and numeric attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask


class ItemFeatures(Protocol):
    """Content of items, fetched by their columns. Vectors have unit length, or are zero."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def vector_names(self) -> tuple[str, ...]:
        """The names of the parts that a vector consists of."""
        ...

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def take(self, columns: Columns) -> FloatArray:
        """Return the vectors of items, float32, shape (len(columns), dim)."""
        ...

    def texts(self, columns: Columns) -> list[str]:
        """Return the text of each of some items: its text and its textual attributes, joined."""
        ...

    @property
    def number_names(self) -> tuple[str, ...]:
        """The attributes that are numbers, timestamps or booleans."""
        ...

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return attributes as numbers, shape (len(columns), n_names), NaN where missing."""
        ...

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Return the allowed items whose vectors are nearest to query vectors, nearest first.

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n_queries, dim), unit length.
        n : int
            Items a query.
        allowed : numpy.ndarray
            bool, shape (n_items,).
        search_scale : float
            Below 1 an approximate index searches less, and may miss neighbours.

        Returns
        -------
        columns, cosines : numpy.ndarray
            int64 and float32, shape (n_queries, n), padded with -1.
        """
        ...

    def nearest_to_items(
        self, columns: Columns, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Return the allowed items nearest to given items, which are among their own neighbours.

        As `nearest` for their vectors; an implementation may cache the neighbours.
        """
        ...


@dataclass(frozen=True, eq=False)
class InMemoryItemFeatures:
    """Item features that are held in memory.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_items, dim), unit length or zero.
    vector_names : tuple of str
        The names of the parts that a vector consists of.
    item_texts : sequence of str
        The text of each item; by default all are empty.
    attributes : mapping of str to numpy.ndarray
        Numeric attributes, float64, shape (n_items,); none by default.
    """

    vectors: FloatArray
    vector_names: tuple[str, ...] = ()
    item_texts: Sequence[str] = ()
    attributes: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, columns: Columns) -> FloatArray:
        """Return the vectors of items."""
        return self.vectors[columns]

    def texts(self, columns: Columns) -> list[str]:
        """Return the texts of items."""
        return [self.item_texts[column] if self.item_texts else "" for column in columns.tolist()]

    @property
    def number_names(self) -> tuple[str, ...]:
        """The numeric attributes."""
        return tuple(self.attributes)

    def numbers(self, columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return attributes of items."""
        missing = np.full(len(self), np.nan)
        values = [np.asarray(self.attributes.get(name, missing))[columns] for name in names]
        return np.stack(values, axis=1) if values else np.empty((len(columns), 0))

    def nearest(
        self, vectors: FloatArray, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare queries with every allowed item (exact search by FAISS)."""
        import faiss

        del search_scale
        columns = np.flatnonzero(allowed)
        cosines = np.full((len(vectors), n), -1, np.float32)
        neighbours = np.full((len(vectors), n), -1, np.int64)
        k = min(n, len(columns))
        if k and len(vectors):
            database = self.vectors
            if len(columns) < len(database):
                database = database[columns]
            inner = faiss.METRIC_INNER_PRODUCT
            cosines[:, :k], places = faiss.knn(vectors, database, k, metric=inner)
            neighbours[:, :k] = columns[places]
        return neighbours, cosines

    def nearest_to_items(
        self, columns: Columns, n: int, allowed: Mask, search_scale: float = 1.0
    ) -> tuple[Columns, FloatArray]:
        """Compare given items with every allowed item."""
        return self.nearest(self.take(columns), n, allowed, search_scale)

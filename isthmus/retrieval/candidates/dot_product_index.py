"""Shelves: the items of a domain that products are taken with, side by side."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.top_k import largest
from isthmus.retrieval.candidates.training_data import TrainingData

HALVES_FROM = 5_000  # vectors; fewer are multiplied as they are
MANY_USERS = 32  # from which on multiplying with all vectors is quicker than scanning them
SPARE = 32  # found beyond what is asked for, by products in halves
LANES = 16  # FAISS scans halves in so many dimensions at once, and several times slower otherwise


class DotProductIndex:
    """Items and their vectors, and which of them have the largest products with a user's.

    Large shelves are scanned in half precision (FAISS), which reads half as much, and what is
    found is multiplied again as it is. For many users at once all is multiplied as it is.

    Parameters
    ----------
    columns : numpy.ndarray
        int64, shape (n,), ascending.
    items : numpy.ndarray
        float32, shape (n_items, dim): the vectors of all columns.
    """

    def __init__(self, columns: Columns, items: FloatArray) -> None:
        self.columns = columns
        self._items = items
        self._last: tuple[Mask, Bitmap] | None = None
        large = len(columns) >= HALVES_FROM
        self._halves: Any = _in_halves(items[columns]) if large else None
        self._vectors = np.ascontiguousarray(items[columns[:0] if large else columns], np.float32)

    def largest(self, users: FloatArray, n: int, allowed: Mask) -> tuple[Columns, FloatArray]:
        """Give the items with the largest products.

        Parameters
        ----------
        users : numpy.ndarray
            float32, shape (n_users, dim).
        n : int
            Items a user.
        allowed : numpy.ndarray
            bool, shape (n_items,): over all columns.

        Returns
        -------
        items, products : numpy.ndarray
            int64 and float32, shape (n_users, n): largest first, of equals the first on shelves
            that are not large; -1 where there are no more.
        """
        inside = self._inside_of(allowed)
        most = min(n, inside.count)
        items = np.full((len(users), n), -1, np.int64)
        products = np.full((len(users), n), -np.inf, np.float32)
        if most and len(users):
            search = self._multiply
            if self._halves is not None:
                search = self._scan if len(users) < MANY_USERS else self._multiply_many
            places, products[:, :most] = search(users, most, inside)
            items[:, :most] = self.columns[places]
        return items, products

    def _inside_of(self, allowed: Mask) -> Bitmap:
        """Give the part of a mask that is of this shelf; that of one that stays is remembered."""
        known = self._last
        if known is not None and known[0] is allowed:
            return known[1]
        inside = Bitmap(allowed[self.columns])
        if not allowed.flags.writeable:
            self._last = allowed, inside
        return inside

    def _multiply(self, users: FloatArray, n: int, inside: Bitmap) -> tuple[Columns, FloatArray]:
        places = np.empty((len(users), n), np.int64)
        products = np.empty((len(users), n), np.float32)
        own = inside.positions
        vectors = self._vectors if inside.everything else self._vectors[own]
        for user, row in enumerate(users @ vectors.T):
            top = largest(row, n)
            places[user], products[user] = own[top], row[top]
        return places, products

    def _multiply_many(
        self, users: FloatArray, n: int, inside: Bitmap
    ) -> tuple[Columns, FloatArray]:
        own = inside.positions
        products, places = exact_search(users, self._items[self.columns[own]], n)
        return own[places], products

    def _scan(self, users: FloatArray, n: int, inside: Bitmap) -> tuple[Columns, FloatArray]:
        faiss: Any = import_module("faiss")
        parameters = None
        if not inside.everything:
            parameters = faiss.SearchParameters(sel=inside.selector)
        reach = min(n + SPARE, inside.count)
        _, places = self._halves.search(_wide(users), reach, params=parameters)
        found = np.stack([self._items[self.columns[own]] @ user
                          for own, user in zip(places, users, strict=True)])  # fmt: skip
        order = np.argsort(-found, axis=1, kind="stable")[:, :n]
        return np.take_along_axis(places, order, 1), np.take_along_axis(found, order, 1)


class DotProductIndexes:
    """The shelf of each domain, made when it is first asked for.

    Parameters
    ----------
    usable : numpy.ndarray, optional
        bool, shape (n_vectors,): what may be on a shelf; everything by default.
    """

    def __init__(self, usable: Mask | None = None) -> None:
        self._usable = usable
        self._of: FloatArray | None = None
        self._known: dict[int, DotProductIndex] = {}

    def of(self, corpus: TrainingData, items: FloatArray, target: int) -> DotProductIndex:
        """Give the shelf of a domain; those of another array of vectors are forgotten.

        Parameters
        ----------
        corpus : Corpus
            For the domains of the items.
        items : numpy.ndarray
            float32, shape (n_vectors, dim): the vectors of the first items of the corpus.
        target : int
            Code of the domain.
        """
        if self._of is not items:
            self._of, self._known = items, {}
        if target not in self._known:
            mask = corpus.in_domain(target)[: len(items)]
            columns = np.flatnonzero(mask if self._usable is None else mask & self._usable)
            self._known[target] = DotProductIndex(columns, items)
        return self._known[target]


def _in_halves(vectors: FloatArray) -> Any:
    faiss: Any = import_module("faiss")
    wide, kind = _wide(vectors), faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexScalarQuantizer(wide.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.add(wide)
    return index


def _wide(vectors: FloatArray) -> npt.NDArray[np.float32]:
    """Add zeros until the length is a multiple of sixteen."""
    short = -vectors.shape[1] % LANES
    return np.pad(np.ascontiguousarray(vectors, np.float32), ((0, 0), (0, short)))

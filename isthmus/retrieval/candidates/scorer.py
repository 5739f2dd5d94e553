"""Opinions: how a source scores items for users, without a number for every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import isin_sorted, pack_ragged
from isthmus.numerics.sparse_rows import SparseRows, sparse_rows
from isthmus.numerics.top_k import top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_array
from importlib import import_module
from typing import Any

import numpy.typing as npt

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search
from isthmus.retrieval.candidates.training_data import TrainingData

HALVES_FROM = 5_000  # vectors; fewer are multiplied as they are
MANY_USERS = 32  # from which on multiplying with all vectors is quicker than scanning them
SPARE = 32  # found beyond what is asked for, by products in halves
LANES = 16  # FAISS scans halves in so many dimensions at once, and several times slower otherwise

CELLS_AT_ONCE = 20_000_000


class TopK(NamedTuple):
    """The best items of many users.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,).
    items : numpy.ndarray
        int64, shape (n_found,): each user's, best first.
    scores : numpy.ndarray
        float32, shape (n_found,).
    """

    starts: Columns
    items: Columns
    scores: FloatArray


class Scorer(Protocol):
    """What a source thinks of items for a batch of users. A pair without an opinion scores 0."""

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give up to n items of each user: allowed ones that they have not seen.

        Parameters
        ----------
        n : int
            Items a user, at most.
        allowed : numpy.ndarray
            bool, shape (n_items,).
        seen : scipy.sparse.csr_array
            Non-zero where a user has seen an item, shape (n_users, n_items).
        """
        ...

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs, users ascending, float32, shape (n_pairs,)."""
        ...


@dataclass(frozen=True, eq=False)
class SparseScorer:
    """Scores of the pairs that there is anything to say of.

    Attributes
    ----------
    scores : SparseRows
        Those of each user, all above zero, the items ascending.
    items : int
        How many items there are.
    """

    scores: SparseRows
    items: int

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give the best items, see `Scorer.best`."""
        found = []
        for user, (columns, values) in enumerate(self.scores.iter_rows()):
            known = seen_by(seen, user)
            top = top_k(values, n + len(known))
            top = top[allowed[columns[top]] & ~isin_sorted(columns[top], known)][:n]
            if len(top) < n:  # a filter let few through
                left = np.flatnonzero(allowed[columns] & ~isin_sorted(columns, known))
                top = left[top_k(values[left], n)]
            found.append((columns[top], values[top]))
        return TopK(*sparse_rows(found))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        return self.scores.lookup(users, items, self.items)


@dataclass(frozen=True, eq=False)
class PopularityScorer:
    """One score for each item, the same for every user.

    Attributes
    ----------
    scores : numpy.ndarray
        float32, shape (n_items,), zero for items that there is nothing to say of.
    order : numpy.ndarray
        int64: the items that score above zero, best first.
    users : int
        How many users there are.
    """

    scores: FloatArray
    order: Columns
    users: int

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give the best items, see `Scorer.best`."""
        most = n + int(np.diff(seen.indptr).max(initial=0))
        top = self._first(most, allowed)
        items = []
        for user in range(self.users):
            known = seen_by(seen, user)
            items.append((top[~isin_sorted(top, known)] if len(known) else top)[:n])
        starts, flat = pack_ragged(items)
        return TopK(starts, flat, self.scores[flat])

    def _first(self, n: int, allowed: Mask) -> Columns:
        """Give the first n allowed items of the order, looked for no further than need be."""
        reach = 2 * n
        while True:
            first = self.order[:reach]
            found = first[allowed[first]]
            if len(found) >= n or reach >= len(self.order):
                return found[:n]
            reach *= 4

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        del users
        return self.scores[items]


@dataclass(frozen=True, eq=False)
class DotProductScorer:
    """Scores that are products of a user's and an item's vector.

    Attributes
    ----------
    users : numpy.ndarray
        float32, shape (n_users, dim); a user with a zero vector has no opinion.
    items : numpy.ndarray
        float32, shape (n_learned, dim): the vectors of the first items; the others score 0.
    shelf : Shelf
        Those of them that may be among the best.
    """

    users: FloatArray
    items: FloatArray
    index: DotProductIndex

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give the best items, see `Scorer.best`."""
        told = np.asarray(self.users.any(axis=1))
        step = max(1, CELLS_AT_ONCE // max(1, len(self.index.columns)))
        found = []
        for start in range(0, len(self.users), step):
            known = [seen_by(seen, u) for u in range(start, min(start + step, len(self.users)))]
            most = n + max(len(own) for own in known)
            items, scores = self.index.top_k(self.users[start : start + step], most, allowed)
            for user, own in enumerate(known):
                fresh = (items[user] >= 0) & ~isin_sorted(items[user], own) & told[start + user]
                found.append((items[user][fresh][:n], scores[user][fresh][:n]))
        return TopK(*sparse_rows(found))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        out = np.empty(len(users), np.float32)
        for user, asked in runs(users, len(self.users)):
            own = items[asked]
            known = own < len(self.items)
            if known.all():
                out[asked] = self.items[own] @ self.users[user]
            else:
                products = self.items[np.where(known, own, 0)] @ self.users[user]
                out[asked] = np.where(known, products, 0)
        return out


def seen_by(seen: csr_array, user: int) -> Columns:
    """Give the items that a user has seen, ascending."""
    own = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
    return np.asarray(own, np.int64)


def runs(rows: Columns, n: int) -> Iterator[tuple[int, slice]]:
    """Give each row that is asked for, and where; the rows are ascending."""
    bounds = np.searchsorted(rows, np.arange(n + 1)).tolist()
    for row in range(n):
        if bounds[row + 1] > bounds[row]:
            yield row, slice(bounds[row], bounds[row + 1])


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

    def top_k(self, users: FloatArray, n: int, allowed: Mask) -> tuple[Columns, FloatArray]:
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
        vectors = self._vectors if inside.is_full else self._vectors[own]
        for user, row in enumerate(users @ vectors.T):
            top = top_k(row, n)
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
        if not inside.is_full:
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

"""Opinions: how a source scores items for users, without a number for every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import among, ragged
from isthmus.numerics.sparse_rows import SparseRows, sparse_rows
from isthmus.numerics.top_k import largest
from isthmus.retrieval.candidates.dot_product_index import DotProductIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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
        for user, (columns, values) in enumerate(self.scores.entries()):
            known = seen_by(seen, user)
            top = largest(values, n + len(known))
            top = top[allowed[columns[top]] & ~among(columns[top], known)][:n]
            if len(top) < n:  # a filter let few through
                left = np.flatnonzero(allowed[columns] & ~among(columns, known))
                top = left[largest(values[left], n)]
            found.append((columns[top], values[top]))
        return TopK(*sparse_rows(found))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        return self.scores.at(users, items, self.items)


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
            items.append((top[~among(top, known)] if len(known) else top)[:n])
        starts, flat = ragged(items)
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
            items, scores = self.index.largest(self.users[start : start + step], most, allowed)
            for user, own in enumerate(known):
                fresh = (items[user] >= 0) & ~among(items[user], own) & told[start + user]
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

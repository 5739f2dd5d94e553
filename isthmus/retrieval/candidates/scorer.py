"""Scorers: the scores that a candidate generator gives items for a batch of users.

A generator rarely has a score for every pair. Each scorer stores what its generator has, sparse
or factored, and answers two questions: the best items, and the scores of given pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import isin_sorted, lengths_of, pack_ragged
from isthmus.numerics.sparse_rows import SparseRows, sparse_rows
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.dot_product_index import DotProductIndex

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_PRODUCTS = 20_000_000  # products of users and items held at once


class TopK(NamedTuple):
    """The best items of many users.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the items of user *i* are ``starts[i]`` to ``starts[i + 1]``.
    items : numpy.ndarray
        int64, shape (n_found,), best first for each user.
    scores : numpy.ndarray
        float32, shape (n_found,).
    """

    starts: Columns
    items: Columns
    scores: FloatArray


class Scorer(Protocol):
    """The scores of a domain's items for a batch of users. A pair without a score has 0."""

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return up to n items of each user, of those that are allowed and not seen.

        Parameters
        ----------
        n : int
            Items a user, at most; items without a score are not returned.
        allowed : numpy.ndarray
            bool, shape (n_items,).
        seen : scipy.sparse.csr_array
            Non-zero where a user has seen an item, shape (n_users, n_items).
        """
        ...

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs, users ascending, float32, shape (n_pairs,)."""
        ...


@dataclass(frozen=True, eq=False)
class SparseScorer:
    """Scores that are zero for most pairs.

    Attributes
    ----------
    scores : SparseRows
        The scores of each user, above zero, items ascending.
    n_items : int
        Number of items.
    """

    scores: SparseRows
    n_items: int

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`."""
        rows = []
        for user, (columns, values) in enumerate(self.scores.iter_rows()):
            seen_items = seen_by(seen, user)
            top = top_k(values, n + len(seen_items))
            top = top[allowed[columns[top]] & ~isin_sorted(columns[top], seen_items)][:n]
            if len(top) < n:  # the filter let few of them through
                fits = np.flatnonzero(allowed[columns] & ~isin_sorted(columns, seen_items))
                top = fits[top_k(values[fits], n)]
            rows.append((columns[top], values[top]))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        return self.scores.lookup(users, items, self.n_items)


@dataclass(frozen=True, eq=False)
class DenseScorer:
    """A score for every pair, negative ones included.

    Attributes
    ----------
    scores : numpy.ndarray
        float32, shape (n_users, n_items), 0 where there is no score.
    """

    scores: FloatArray

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`."""
        rows = []
        for user, scores in enumerate(self.scores):
            fits = allowed & (scores != 0)
            fits[seen_by(seen, user)] = False
            columns = np.flatnonzero(fits)
            top = columns[top_k(scores[columns], n)]
            rows.append((top, scores[top]))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        return self.scores[users, items]


@dataclass(frozen=True, eq=False)
class PopularityScorer:
    """One score for each item, the same for every user.

    Attributes
    ----------
    scores : numpy.ndarray
        float32, shape (n_items,), zero for items without a score.
    order : numpy.ndarray
        int64: the items that score above zero, best first.
    n_users : int
        Number of users.
    rest : numpy.ndarray
        int64: items that score 0, for users without any history where the others are too few,
        since nothing else retrieves items for these users.
    without_history : numpy.ndarray or None
        bool, shape (n_users,): users without any history; None for nobody.
    """

    scores: FloatArray
    order: Columns
    n_users: int
    rest: Columns = field(default_factory=lambda: np.empty(0, np.int64))
    without_history: Mask | None = None

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`."""
        longest = int(lengths_of(seen.indptr).max(initial=0))
        top = self._first(n + longest, allowed)
        items = []
        for user in range(self.n_users):
            seen_items = seen_by(seen, user)
            unseen = top[~isin_sorted(top, seen_items)] if len(seen_items) else top
            if len(unseen) < n and self.without_history is not None and self.without_history[user]:
                rest = self.rest[allowed[self.rest]]
                unseen = np.concatenate([unseen, rest[~isin_sorted(rest, seen_items)]])
            items.append(unseen[:n])
        starts, flat = pack_ragged(items)
        return TopK(starts, flat, self.scores[flat])

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        del users
        return self.scores[items]

    def _first(self, n: int, allowed: Mask) -> Columns:
        """Return the first n allowed items of the order, reading no more of it than needed."""
        reach = 2 * n
        while True:
            first = self.order[:reach]
            items = first[allowed[first]]
            if len(items) >= n or reach >= len(self.order):
                return items[:n]
            reach *= 4


@dataclass(frozen=True, eq=False)
class DotProductScorer:
    """Scores that are the dot products of user and item vectors.

    Attributes
    ----------
    users : numpy.ndarray
        float32, shape (n_users, dim); a user with a zero vector has no scores.
    items : numpy.ndarray
        float32, shape (n_fitted, dim): the vectors of the first items; the others score 0.
    index : DotProductIndex
        The items that can be among the best.
    """

    users: FloatArray
    items: FloatArray
    index: DotProductIndex

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`."""
        has_vector = np.asarray(self.users.any(axis=1))
        step = max(1, MAX_PRODUCTS // max(1, len(self.index.columns)))
        rows = []
        for start in range(0, len(self.users), step):
            batch = range(start, min(start + step, len(self.users)))
            seen_items = [seen_by(seen, user) for user in batch]
            reach = n + max(len(items) for items in seen_items)
            items, scores = self.index.top_k(self.users[start : start + step], reach, allowed)
            for at, known in enumerate(seen_items):
                fits = (items[at] >= 0) & ~isin_sorted(items[at], known) & has_vector[start + at]
                rows.append((items[at][fits][:n], scores[at][fits][:n]))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        out = np.empty(len(users), np.float32)
        for user, pairs in pairs_by_user(users, len(self.users)):
            columns = items[pairs]
            fitted = columns < len(self.items)
            if fitted.all():
                out[pairs] = self.items[columns] @ self.users[user]
            else:
                products = self.items[np.where(fitted, columns, 0)] @ self.users[user]
                out[pairs] = np.where(fitted, products, 0)
        return out


def seen_by(seen: csr_array, user: int) -> Columns:
    """Return the items that a user has seen, ascending, shape (n_seen,)."""
    items = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
    return np.asarray(items, np.int64)


def pairs_by_user(users: Columns, n_users: int) -> Iterator[tuple[int, slice]]:
    """Yield each user of pairs, shape (n_pairs,) and ascending, with the slice of its pairs."""
    bounds = np.searchsorted(users, np.arange(n_users + 1)).tolist()
    for user in range(n_users):
        if bounds[user + 1] > bounds[user]:
            yield user, slice(bounds[user], bounds[user + 1])

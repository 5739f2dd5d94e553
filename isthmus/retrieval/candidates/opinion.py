"""Opinions: how a source scores items for users, without a number for every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from isthmus.encoders.encoder import FloatArray
from isthmus.retrieval.candidates.corpus import Columns, Mask, ragged

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CELLS_AT_ONCE = 20_000_000


class Best(NamedTuple):
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


class Opinion(Protocol):
    """What a source thinks of items for a batch of users. A pair without an opinion scores 0."""

    def best(self, n: int, allowed: Mask, seen: csr_array) -> Best:
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

    def at(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs, users ascending, float32, shape (n_pairs,)."""
        ...


@dataclass(frozen=True, eq=False)
class SparseOpinion:
    """Scores of the pairs that there is anything to say of.

    Attributes
    ----------
    scores : scipy.sparse.csr_array
        float32, shape (n_users, n_items), all above zero.
    """

    scores: csr_array

    def best(self, n: int, allowed: Mask, seen: csr_array) -> Best:
        """Give the best items, see `Opinion.best`."""
        matrix, items, values = self.scores, [], []
        for user in range(matrix.shape[0]):
            start, end = matrix.indptr[user], matrix.indptr[user + 1]
            columns, data = matrix.indices[start:end], matrix.data[start:end]
            known = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
            kept = allowed[columns]
            if len(known):
                kept &= ~np.isin(columns, known)
            columns, data = columns[kept], data[kept]
            top = largest(data, n)
            items.append(columns[top].astype(np.int64))
            values.append(data[top])
        starts, flat = ragged(items)
        return Best(starts, flat, np.concatenate([np.empty(0, np.float32), *values]))

    def at(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        return entries_at(self.scores, users, items)


@dataclass(frozen=True, eq=False)
class SharedOpinion:
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

    def best(self, n: int, allowed: Mask, seen: csr_array) -> Best:
        """Give the best items, see `Opinion.best`."""
        most = n + int(np.diff(seen.indptr).max(initial=0))
        top = self.order[allowed[self.order]][:most]
        items = []
        for user in range(self.users):
            known = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
            items.append((top[~np.isin(top, known)] if len(known) else top)[:n])
        starts, flat = ragged(items)
        return Best(starts, flat, self.scores[flat])

    def at(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        del users
        return self.scores[items]


class Shelf(NamedTuple):
    """The items of a domain that may be among the best, their vectors side by side.

    Attributes
    ----------
    columns : numpy.ndarray
        int64, shape (n,), ascending.
    vectors : numpy.ndarray
        float32, shape (n, dim).
    """

    columns: Columns
    vectors: FloatArray


@dataclass(frozen=True, eq=False)
class ProductOpinion:
    """Scores that are products of a user's and an item's vector.

    Attributes
    ----------
    users : numpy.ndarray
        float32, shape (n_users, dim); a user with a zero vector has no opinion.
    items : numpy.ndarray
        float32, shape (n_items, dim).
    shelf : Shelf
        Those of them that may be among the best.
    """

    users: FloatArray
    items: FloatArray
    shelf: Shelf

    def best(self, n: int, allowed: Mask, seen: csr_array) -> Best:
        """Give the best items, see `Opinion.best`."""
        columns, vectors = self.shelf
        hidden = ~allowed[columns]
        told = np.asarray(self.users.any(axis=1))
        found, values = [], []
        step = max(1, CELLS_AT_ONCE // max(1, len(columns)))
        for start in range(0, len(self.users), step):
            scores = self.users[start : start + step] @ vectors.T
            for user, row in enumerate(scores, start):
                known = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
                row[hidden] = -np.inf
                row[_places_in(known.astype(np.int64), columns)] = -np.inf
                top = largest(row, n) if told[user] else np.empty(0, np.int64)
                top = top[np.isfinite(row[top])]
                found.append(columns[top])
                values.append(row[top])
        starts, flat = ragged(found)
        return Best(starts, flat, np.concatenate([np.empty(0, np.float32), *values]))

    def at(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        out = np.empty(len(users), np.float32)
        for user, asked in runs(users, len(self.users)):
            out[asked] = self.items[items[asked]] @ self.users[user]
        return out


def largest(values: FloatArray, n: int) -> Columns:
    """Give the places of the n largest values, the largest first, of equals the first.

    Examples
    --------
    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    if len(values) > n > 0:
        last = np.partition(values, -n)[-n]
        above = np.flatnonzero(values > last)
        level = np.flatnonzero(values == last)[: n - len(above)]
        top = np.sort(np.concatenate([above, level]))
    else:
        top = np.arange(len(values) if n else 0)
    return top[np.argsort(-values[top], kind="stable")]


def entries_at(matrix: csr_array, rows: Columns, columns: Columns) -> FloatArray:
    """Give entries of a sparse matrix, 0 where there is none, float32, shape (n_pairs,).

    The rows must be ascending.
    """
    out = np.zeros(len(rows), np.float32)
    dense = np.zeros(matrix.shape[1], np.float32)
    for row, asked in runs(rows, matrix.shape[0]):
        own = slice(matrix.indptr[row], matrix.indptr[row + 1])
        dense[matrix.indices[own]] = matrix.data[own]
        out[asked] = dense[columns[asked]]
        dense[matrix.indices[own]] = 0
    return out


def runs(rows: Columns, n: int) -> Iterator[tuple[int, slice]]:
    """Give each row that is asked for, and where; the rows are ascending."""
    bounds = np.searchsorted(rows, np.arange(n + 1)).tolist()
    for row in range(n):
        if bounds[row + 1] > bounds[row]:
            yield row, slice(bounds[row], bounds[row + 1])


def _places_in(wanted: Columns, columns: Columns) -> Columns:
    """Give the places, among ascending columns, of those wanted that are there."""
    if not len(wanted) or not len(columns):
        return np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(columns, wanted), len(columns) - 1)
    return np.asarray(at[columns[at] == wanted])

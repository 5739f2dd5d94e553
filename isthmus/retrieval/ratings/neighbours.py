"""What a user thought of similar items: residuals, averaged by similarity.

Two items are similar as far as the same users are off in the same way (a covariance of residuals,
each in its user's standard deviations, shrunk to 0 by the number of common users), and as far as
their contents are, which says something of new items too:

``s_ij = sum_u e_ui e_uj / (n_ij + shrink) + content * max(cos(x_i, x_j), 0) ^ power``

An asked item is off by ``sum_j s_ij r_j / (sum_j s_ij + damping)`` over the most similar items j
of the history. Item-based neighbours with shrunk similarities are after Koren, *Factor in the
neighbors* (ACM TKDD 2010).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KEPT = 200
AT_ONCE = 4_000_000
LEAST_SHRINK = 30.0
LEAST_COMMON = 2


class Asked(NamedTuple):
    """Pairs to predict, in the order of their rows.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        int64, shape (n,): the history, and the item.
    """

    rows: Codes
    columns: Codes


@dataclass(frozen=True)
class NeighbourSettings:
    """How similarity is made and used, as in the formulas above; chosen by cross-validation.

    Attributes
    ----------
    shrink, content, power, damping : float
        As above.
    most : int
        Items of the history that are looked at.
    """

    shrink: float = 100.0
    content: float = 1.0
    power: float = 3.0
    damping: float = 0.3
    most: int = 40


@dataclass(frozen=True)
class CoRatings:
    """Pairs of items with `LEAST_COMMON` common users, the most similar `KEPT` of each item.

    Attributes
    ----------
    starts, columns : numpy.ndarray
        int64: the pairs of item *i* are ``starts[i]`` to ``starts[i + 1]``.
    products : numpy.ndarray
        float32: the sum of the products of residuals, above zero.
    counts : numpy.ndarray
        float32: the number of common users.
    """

    starts: Codes
    columns: Codes
    products: Features
    counts: Features

    @classmethod
    def fit(cls, residuals: Ratings) -> CoRatings:
        """Sum over users; the residuals are in each user's standard deviations."""
        values = residuals.matrix(residuals.values.astype(np.float32))
        ones = residuals.matrix(np.ones(len(residuals), np.float32))
        turned, turned_ones = values.T.tocsr(), ones.T.tocsr()
        lengths, found = [], []
        for part in _slices(turned_ones, ones):
            products, counts = turned[part] @ values, turned_ones[part] @ ones
            _align(products, counts)
            rows, entries = _most_similar(products, counts, part.start)
            lengths.append(np.bincount(rows, minlength=products.shape[0]))
            found.append([own[entries] for own in (products.indices, products.data, counts.data)])
        columns, products, counts = (np.concatenate(own) for own in zip(*found, strict=True))
        return cls(_starts(np.concatenate(lengths)), columns.astype(np.int64), products, counts)

    def similarities(self, shrink: float) -> csr_array:
        """Give the shrunk covariances, float32, shape (n_items, n_items)."""
        from scipy.sparse import csr_array

        items = len(self.starts) - 1
        data = self.products / (self.counts + np.float32(shrink))
        return csr_array((data, self.columns, self.starts), shape=(items, items))


@dataclass(frozen=True)
class Neighbours:
    """Similarities of items.

    Attributes
    ----------
    settings : NeighbourSettings
        As chosen.
    similar : scipy.sparse.csr_array
        float32, shape (n_items, n_items): the shrunk covariances.
    """

    settings: NeighbourSettings
    similar: csr_array

    def lean(
        self, histories: Ratings, residuals: Floats, asked: Asked, units: Features
    ) -> tuple[Floats, Floats]:
        """Give how far off the asked items are by their neighbours, and the similarity found.

        Parameters
        ----------
        histories : Ratings
            What is known of users; the values are not read.
        residuals : numpy.ndarray
            float64, shape (len(histories),): how far each of these is off.
        asked : Asked
            What to predict; an item of the history is no neighbour of itself.
        units : numpy.ndarray
            float32, shape (n_items, n_features): content at norm 1, or zeros.
        """
        lean, weight = np.zeros(len(asked.rows)), np.zeros(len(asked.rows))
        place = np.full(histories.shape[1], -1, np.int64)
        starts = histories.starts
        for user, part in _blocks(asked.rows, np.diff(starts)):
            known = slice(starts[user], starts[user + 1])
            near = self._similarities(asked.columns[part], histories.columns[known], units, place)
            total = near.sum(axis=1)
            lean[part] = near @ residuals[known] / (total + self.settings.damping)
            weight[part] = total
        return lean, weight

    def only(self, columns: Codes) -> Neighbours:
        """Give some of the items, by their numbers in rising order."""
        from scipy.sparse import csr_array

        runs = self.similar.indptr.astype(np.int64)
        starts, ends = runs[columns], runs[columns + 1]
        entries = _runs(starts, ends)
        others = self.similar.indices[entries]
        places = np.minimum(np.searchsorted(columns, others), max(len(columns) - 1, 0))
        there = columns[places] == others
        rows = np.repeat(np.arange(len(columns)), ends - starts)[there]
        lengths = np.bincount(rows, minlength=len(columns))
        data = self.similar.data[entries[there]], places[there], _starts(lengths)
        return replace(self, similar=csr_array(data, shape=(len(columns), len(columns))))

    def extended(self, items: int) -> Neighbours:
        """Append items without ratings, up to so many."""
        from scipy.sparse import csr_array

        own = self.similar
        more = np.full(items - own.shape[0], own.indptr[-1], own.indptr.dtype)
        starts = np.concatenate([own.indptr, more])
        return replace(self, similar=csr_array((own.data, own.indices, starts), (items, items)))

    def _similarities(self, asked: Codes, known: Codes, units: Features, place: Codes) -> Floats:
        """Give similarities of asked items to known ones, the largest alone; shape (asked, known).

        `place` is a scratch of -1 for each item, and is left so.
        """
        how = self.settings
        near = np.maximum(units[asked] @ units[known].T, 0).astype(np.float64)
        near = how.content * near**how.power
        place[known] = np.arange(len(known))
        runs = self.similar.indptr.astype(np.int64)
        starts, ends = runs[asked], runs[asked + 1]
        rows = np.repeat(np.arange(len(asked)), ends - starts)
        entries = _runs(starts, ends)
        columns = place[self.similar.indices[entries]]
        there = columns >= 0
        near[rows[there], columns[there]] += self.similar.data[entries[there]]
        own = place[asked]
        near[np.flatnonzero(own >= 0), own[own >= 0]] = 0
        place[known] = -1
        if near.shape[1] > how.most:
            last = np.partition(near, -how.most, axis=1)[:, -how.most][:, None]
            near[near < last] = 0
        return np.asarray(near, np.float64)


def _slices(turned: csr_array, ones: csr_array) -> list[slice]:
    """Part the items so that each part has some `AT_ONCE` pairs with common users, or one item."""
    pairs = np.cumsum(turned @ np.diff(ones.indptr)) // AT_ONCE
    cuts = np.flatnonzero(np.diff(pairs, prepend=-1, append=pairs[-1:] + 1))
    return [slice(int(a), int(b)) for a, b in pairwise(cuts)]


def _align(products: csr_array, counts: csr_array) -> None:
    """Leave the counts of the entries that the products have: sums that are 0 are not stored."""
    if products.nnz == counts.nnz:
        return
    width = counts.shape[1]
    places = []
    for matrix in (products, counts):
        matrix.sort_indices()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        places.append(rows * width + matrix.indices)
    counts.data = counts.data[np.searchsorted(places[1], places[0])]
    counts.indices, counts.indptr = products.indices, products.indptr


def _most_similar(products: csr_array, counts: csr_array, start: int) -> tuple[Codes, Codes]:
    """Give rows and entries of the `KEPT` most similar others of each row.

    The two matrices have the same entries in the same order; rows are items from `start` on.
    """
    rows = np.repeat(np.arange(products.shape[0]), np.diff(products.indptr))
    wanted = (products.data > 0) & (counts.data >= LEAST_COMMON)
    entries = np.flatnonzero(wanted & (products.indices != rows + start))
    scores = products.data[entries] / (counts.data[entries] + LEAST_SHRINK)
    entries = entries[np.lexsort((-scores, rows[entries]))]
    of = rows[entries]
    kept = np.arange(len(of)) - np.searchsorted(of, of) < KEPT
    return of[kept], entries[kept]


def _starts(lengths: Codes) -> Codes:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _runs(starts: Codes, ends: Codes) -> Codes:
    """Give the numbers of all runs, one after the other.

    Examples
    --------
    >>> _runs(np.array([5, 9, 2]), np.array([7, 9, 4])).tolist()
    [5, 6, 2, 3]
    """
    lengths = (ends - starts).astype(np.int64)
    shift = np.repeat(starts - _starts(lengths)[:-1], lengths)
    return np.asarray(np.arange(lengths.sum()) + shift, np.int64)


def _blocks(rows: Codes, known: Codes) -> list[tuple[int, slice]]:
    """Part asked pairs by user, and further where a table would be large; without a history, none.

    Examples
    --------
    >>> _blocks(np.array([0, 0, 2]), np.array([3, 0, 1]))
    [(0, slice(0, 2, None)), (2, slice(2, 3, None))]
    """
    users, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    out = []
    for user, start, count in zip(users.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if known[user]:
            step = max(1, AT_ONCE // int(known[user]))
            ends = range(start, start + count, step)
            out += [(user, slice(at, min(at + step, start + count))) for at in ends]
    return out

"""Item neighbours: residuals of a user's ratings of similar items, averaged by similarity.

Two items are similar if the residuals of their common users agree (a covariance of residuals, each
in standard deviations of its user, shrunk to 0 by the number of common users), and if their
contents agree, which holds for new items too:

``s_ij = sum_u e_ui e_uj / (n_ij + shrink) + content * max(cos(x_i, x_j), 0) ^ power``

The predicted residual of an item is ``sum_j s_ij r_j / (sum_j s_ij + damping)`` over the most
similar items j of the history. Item neighbours with shrunk similarities are after Koren, *Factor
in the neighbors* (ACM TKDD 2010).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.numerics.sparse import concatenate_ranges
from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_NEIGHBOURS = 200
ENTRIES_PER_BLOCK = 4_000_000
RANKING_SHRINK = 30.0
MIN_COMMON_USERS = 2


class Pairs(NamedTuple):
    """Pairs of a user and an item to predict, sorted by user.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        int64, shape (n_pairs,): the history, and the item.
    """

    rows: Codes
    columns: Codes


@dataclass(frozen=True)
class NeighbourSettings:
    """Parameters of the formulas above, chosen by cross-validation.

    Attributes
    ----------
    shrink, content, power, damping : float
        As above.
    k : int
        Number of items of the history that are used.
    """

    shrink: float = 100.0
    content: float = 1.0
    power: float = 3.0
    damping: float = 0.3
    k: int = 40


@dataclass(frozen=True)
class CoRatings:
    """Pairs of items with `MIN_COMMON_USERS` or more, the `MAX_NEIGHBOURS` best of each item.

    Attributes
    ----------
    starts, columns : numpy.ndarray
        int64: the pairs of item *i* are ``starts[i]`` to ``starts[i + 1]``.
    products : numpy.ndarray
        float32: sum over users of the products of residuals, above zero.
    counts : numpy.ndarray
        float32: number of common users.
    """

    starts: Codes
    columns: Codes
    products: Features
    counts: Features

    @classmethod
    def fit(cls, residuals: Ratings) -> CoRatings:
        """Sum over users; the residuals are in standard deviations of each user."""
        values = residuals.matrix(residuals.values.astype(np.float32))  # (n_users, n_items)
        ones = residuals.matrix(np.ones(len(residuals), np.float32))
        by_item, ones_by_item = values.T.tocsr(), ones.T.tocsr()
        lengths, kept = [], []
        for part in _item_blocks(ones_by_item, ones):
            products, counts = by_item[part] @ values, ones_by_item[part] @ ones
            _align(products, counts)
            rows, entries = _most_similar(products, counts, part.start)
            lengths.append(np.bincount(rows, minlength=products.shape[0]))
            kept.append(
                [array[entries] for array in (products.indices, products.data, counts.data)]
            )
        columns, products, counts = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        return cls(_starts(np.concatenate(lengths)), columns.astype(np.int64), products, counts)

    def similarities(self, shrink: float) -> csr_array:
        """Return the shrunk covariances, float32, shape (n_items, n_items)."""
        from scipy.sparse import csr_array

        n_items = len(self.starts) - 1
        data = self.products / (self.counts + np.float32(shrink))
        return csr_array((data, self.columns, self.starts), shape=(n_items, n_items))


@dataclass(frozen=True)
class Neighbours:
    """Similarities of items.

    Attributes
    ----------
    settings : NeighbourSettings
        Parameters.
    covariances : scipy.sparse.csr_array
        float32, shape (n_items, n_items): shrunk covariances of residuals.
    """

    settings: NeighbourSettings
    covariances: csr_array

    def residuals(
        self, histories: Ratings, residuals: Floats, pairs: Pairs, units: Features
    ) -> tuple[Floats, Floats]:
        """Predict residuals of pairs.

        Parameters
        ----------
        histories : Ratings
            Ratings of the users; the values are not used.
        residuals : numpy.ndarray
            float64, shape (len(histories),): residuals of these ratings.
        pairs : Pairs
            What to predict; an item of the history is not a neighbour of itself.
        units : numpy.ndarray
            float32, shape (n_items, n_features): content features at norm 1, or zeros.

        Returns
        -------
        residuals, similarity : numpy.ndarray
            float64, shape (n_pairs,): the predictions, and the sum of similarities behind each.
        """
        predicted, similarity = np.zeros(len(pairs.rows)), np.zeros(len(pairs.rows))
        position = np.full(histories.shape[1], -1, np.int64)
        starts = histories.starts
        for user, part in _pair_blocks(pairs.rows, np.diff(starts)):
            entries = slice(starts[user], starts[user + 1])
            near = self._similarities(
                pairs.columns[part], histories.columns[entries], units, position
            )  # (n_pairs of the part, n_entries)
            total = near.sum(axis=1)
            predicted[part] = near @ residuals[entries] / (total + self.settings.damping)
            similarity[part] = total
        return predicted, similarity

    def take_items(self, columns: Codes) -> Neighbours:
        """Return the similarities of some of the items, given in ascending order."""
        from scipy.sparse import csr_array

        starts = self.covariances.indptr.astype(np.int64)
        lengths = starts[columns + 1] - starts[columns]
        entries = concatenate_ranges(starts[columns], lengths)
        others = self.covariances.indices[entries]
        places = np.minimum(np.searchsorted(columns, others), max(len(columns) - 1, 0))
        kept = columns[places] == others
        rows = np.repeat(np.arange(len(columns)), lengths)[kept]
        new_lengths = np.bincount(rows, minlength=len(columns))
        data = self.covariances.data[entries[kept]], places[kept], _starts(new_lengths)
        return replace(self, covariances=csr_array(data, shape=(len(columns), len(columns))))

    def extended(self, n_items: int) -> Neighbours:
        """Append items without ratings, up to a number of items."""
        from scipy.sparse import csr_array

        known = self.covariances
        ends = np.full(n_items - known.shape[0], known.indptr[-1], known.indptr.dtype)
        starts = np.concatenate([known.indptr, ends])
        wider = csr_array((known.data, known.indices, starts), (n_items, n_items))
        return replace(self, covariances=wider)

    def _similarities(
        self, items: Codes, history: Codes, units: Features, position: Codes
    ) -> Floats:
        """Return the similarities of items to a history, the k largest of each; others are 0.

        `position` is a scratch array with -1 for each item, and is left so. The result has the
        shape (len(items), len(history)).
        """
        settings = self.settings
        near = np.maximum(units[items] @ units[history].T, 0).astype(np.float64)
        near = settings.content * near**settings.power
        position[history] = np.arange(len(history))
        starts = self.covariances.indptr.astype(np.int64)
        lengths = starts[items + 1] - starts[items]
        rows = np.repeat(np.arange(len(items)), lengths)
        entries = concatenate_ranges(starts[items], lengths)
        columns = position[self.covariances.indices[entries]]
        inside = columns >= 0
        near[rows[inside], columns[inside]] += self.covariances.data[entries[inside]]
        itself = position[items]
        near[np.flatnonzero(itself >= 0), itself[itself >= 0]] = 0
        position[history] = -1
        if near.shape[1] > settings.k:
            smallest = np.partition(near, -settings.k, axis=1)[:, -settings.k][:, None]
            near[near < smallest] = 0
        return np.asarray(near, np.float64)


def _item_blocks(ones_by_item: csr_array, ones: csr_array) -> list[slice]:
    """Divide the items into blocks of about `ENTRIES_PER_BLOCK` pairs with common users."""
    pairs = np.cumsum(ones_by_item @ np.diff(ones.indptr)) // ENTRIES_PER_BLOCK
    cuts = np.flatnonzero(np.diff(pairs, prepend=-1, append=pairs[-1:] + 1))
    return [slice(int(a), int(b)) for a, b in pairwise(cuts)]


def _align(products: csr_array, counts: csr_array) -> None:
    """Keep the counts of the entries that the products have: sums of 0 are not stored."""
    if products.nnz == counts.nnz:
        return
    width = counts.shape[1]
    keys = []
    for matrix in (products, counts):
        matrix.sort_indices()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        keys.append(rows * width + matrix.indices)
    counts.data = counts.data[np.searchsorted(keys[1], keys[0])]
    counts.indices, counts.indptr = products.indices, products.indptr


def _most_similar(products: csr_array, counts: csr_array, start: int) -> tuple[Codes, Codes]:
    """Return rows and entries of the `MAX_NEIGHBOURS` most similar other items of each row.

    The two matrices have the same entries in the same order; rows are items from `start` on.
    """
    rows = np.repeat(np.arange(products.shape[0]), np.diff(products.indptr))
    candidates = (products.data > 0) & (counts.data >= MIN_COMMON_USERS)
    entries = np.flatnonzero(candidates & (products.indices != rows + start))
    scores = products.data[entries] / (counts.data[entries] + RANKING_SHRINK)
    entries = entries[np.lexsort((-scores, rows[entries]))]
    items = rows[entries]
    kept = np.arange(len(items)) - np.searchsorted(items, items) < MAX_NEIGHBOURS
    return items[kept], entries[kept]


def _starts(lengths: Codes) -> Codes:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _pair_blocks(rows: Codes, history_lengths: Codes) -> list[tuple[int, slice]]:
    """Divide pairs by user, and further where a table would be large; empty histories are skipped.

    Examples
    --------
    >>> _pair_blocks(np.array([0, 0, 2]), np.array([3, 0, 1]))
    [(0, slice(0, 2, None)), (2, slice(2, 3, None))]
    """
    users, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    out = []
    for user, start, count in zip(users.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if history_lengths[user]:
            step = max(1, ENTRIES_PER_BLOCK // int(history_lengths[user]))
            ends = range(start, start + count, step)
            out += [(user, slice(at, min(at + step, start + count))) for at in ends]
    return out

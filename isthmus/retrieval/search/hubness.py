"""Hubness correction: items that are near to every query give way to those near to this one.

In spaces of many dimensions a few items, the hubs, are among the nearest of a great many queries
(Radovanovic, Nanopoulos and Ivanovic, "Hubs in Space", JMLR 2010), above all across modalities.
The correction is that of CSLS (Conneau et al., "Word Translation Without Parallel Data", ICLR
2018): from the score of an item half of ``r`` is taken, its mean cosine with its ten nearest of
some queries of the same kind. Those queries are contents of the space itself, drawn from the
release and the same until the next; their vectors come from the embedding caches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.exact import Positions, exact_search
from isthmus.index.ann.segment import Segment
from isthmus.index.lru_cache import Recent
from isthmus.index.releases.recall import KindOfQuery, QueriesOf
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.sampling import draw
from isthmus.retrieval.search.query import Query, ScoredRows, search_range, search_top_k

ASKED = 2_000
NEAREST = 10
SAME = 1 - 1e-5
KEPT = 16
CANDIDATES_A_RESULT = 4
FEWEST_CANDIDATES = 100


class HubnessCorrection:
    """Knows how near each item is to queries in general.

    Parameters
    ----------
    queries_of : callable
        Kinds of query, see `isthmus.index.releases.recall.make_trials`.
    """

    def __init__(self, queries_of: QueriesOf) -> None:
        self._queries_of = queries_of
        self._asked: Recent[dict[str, FloatArray]] = Recent(KEPT)
        self._nearness: Recent[FloatArray] = Recent(KEPT)

    def penalty(
        self, view: View, vector_names: Sequence[str], kind: str, weights: Mapping[str, float]
    ) -> FloatArray:
        """Give what a hub loses, shape (n_rows,): half of how much nearer it is than most.

        Parameters
        ----------
        view : View
            What is searched.
        vector_names : sequence of str
            The named vectors of the query; in a named vector that an item lacks it loses nothing.
        kind : str
            Such as ``text to item``; in named vectors that know no such query items stand for it.
        weights : mapping of str to float
            Weight of each named vector.
        """
        total = np.zeros(sum(map(len, view.segments)), np.float32)
        for vector_name in vector_names:
            near = self._near(view, vector_name, kind)
            if np.isfinite(near).any():
                total += np.float32(weights[vector_name]) * np.nan_to_num(near - np.nanmean(near))
        return total / np.float32(2 * sum(weights[vector_name] for vector_name in vector_names))

    def _near(self, view: View, vector_name: str, kind: str) -> FloatArray:
        """Give the mean cosine of each row with its nearest queries; NaN where it has no vector."""
        release = None if view.release is None else view.release.number
        kinds = self._asked.get((release, vector_name), lambda: self._draw(view, vector_name))
        asked = kinds.get(kind, next(iter(kinds.values()), None))

        def near(segment: Segment) -> FloatArray:
            key = (segment, vector_name, kind, release)
            return self._nearness.get(key, lambda: _near_of(segment, vector_name, asked))

        return np.concatenate([np.empty(0, np.float32), *map(near, view.segments)])

    def _draw(self, view: View, vector_name: str) -> dict[str, FloatArray]:
        rows = np.flatnonzero(view.living.rows)
        if view.release is not None:
            rows = np.arange(view.release_rows)
        rows = rows[view.present(vector_name, rows)]
        drawn = draw(np.random.default_rng(0), rows, 2 * ASKED)
        kinds: list[KindOfQuery] = list(self._queries_of(view, vector_name, drawn))
        return {kind.name: kind.vectors[:ASKED] for kind in kinds if len(kind.vectors)}


def _near_of(segment: Segment, vector_name: str, asked: FloatArray | None) -> FloatArray:
    own = segment.named_vectors[vector_name]
    near = np.full(len(segment), np.nan, np.float32)
    if len(own.rows) and asked is not None:
        near[own.rows] = mean_similarity_to_nearest(np.asarray(own.vectors), asked)
    return near


def mean_similarity_to_nearest(vectors: FloatArray, asked: FloatArray) -> FloatArray:
    """Give the mean cosine of items with their ten nearest queries, each item itself left out.

    Parameters
    ----------
    vectors, asked : numpy.ndarray
        float32, shapes (n_items, dim) and (n_queries, dim); unit rows.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_items,).
    """
    nearest = min(NEAREST, len(asked))
    cosines, _ = exact_search(vectors, asked, nearest + 1)
    itself = cosines[:, :1] >= SAME
    rest = np.where(itself, cosines[:, 1:], cosines[:, :-1])
    finite = np.isfinite(rest)
    total = np.where(finite, rest, 0).sum(axis=1)
    return np.asarray(total / np.maximum(finite.sum(axis=1), 1), np.float32)


def corrected_top_k(
    view: View,
    query: Query,
    k: int,
    allowed: Selection | None,
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> ScoredRows:
    """Rank items by their score less their penalty.

    With a penalty, the search is widened until nothing unseen can be among the best k.

    Parameters
    ----------
    view, query, k, allowed, weights
        As for `isthmus.retrieval.search.query.search_top_k`.
    penalty : numpy.ndarray, optional
        float32, shape (n_rows,).

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k; best first.
    """
    if penalty is None:
        return search_top_k(view, [query], k, allowed, weights)[0]
    least, reachable = float(penalty.min(initial=0)), max(len(view), 1)
    depth = max(CANDIDATES_A_RESULT * k, FEWEST_CANDIDATES)
    while True:
        rows, scores = search_top_k(view, [query], min(depth, reachable), allowed, weights)[0]
        corrected = _less(rows, scores, penalty)
        unseen = scores[-1] - least if len(scores) else -np.inf
        done = depth >= reachable or len(rows) < depth
        if done or (len(corrected[1]) >= k and corrected[1][k - 1] >= unseen):
            return corrected[0][:k], corrected[1][:k]
        depth *= CANDIDATES_A_RESULT


def corrected_range(
    view: View,
    query: Query,
    min_score: float,
    allowed: Selection | None,
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> ScoredRows:
    """Find all items whose score less their penalty is at least `min_score`, best first."""
    if penalty is None:
        return search_range(view, query, min_score, allowed, weights)
    reach = min_score + float(penalty.min(initial=0)) - 1e-5
    return _less(*search_range(view, query, reach, allowed, weights), penalty)


def _less(rows: Positions, scores: FloatArray, penalty: FloatArray) -> ScoredRows:
    corrected = scores - penalty[rows]
    order = np.argsort(-corrected, kind="stable")
    return rows[order], corrected[order]

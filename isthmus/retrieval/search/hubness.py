"""Hubness correction (CSLS): items that are near to every query give way to those near to this one.

In spaces of many dimensions a few items, the hubs, are among the nearest of a great many queries
(Radovanovic, Nanopoulos and Ivanovic, "Hubs in Space", JMLR 2010), above all across modalities.
The correction is that of CSLS (Conneau et al., "Word Translation Without Parallel Data", ICLR
2018): from the score of an item half of ``r`` is subtracted, its mean cosine with its ten nearest
of some queries of the same kind. Those queries are contents of the space itself, a sample of the
release that stays the same until the next; their vectors come from the embedding cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from isthmus.index.ann.exact import exact_search
from isthmus.index.ann.segment import Segment
from isthmus.index.lru_cache import LRUCache
from isthmus.index.releases.recall import QuerySampler, RecallQueries
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions, sample_rows
from isthmus.retrieval.search.query import Query, ScoredRows, in_order, search_range, search_top_k

MAX_QUERIES: Final = 2_000
NEIGHBOURS: Final = 10
IDENTICAL: Final = 1 - 1e-5  # cosine from which a query is the item itself
CACHE_SIZE: Final = 16
WIDENING: Final = 4
MIN_CANDIDATES: Final = 100


class HubnessCorrection:
    """The penalty of each item for being near to queries in general.

    Parameters
    ----------
    sample_queries : callable
        Kinds of query, see `isthmus.index.releases.recall.make_recall_tests`.
    """

    def __init__(self, sample_queries: QuerySampler) -> None:
        self._sample_queries = sample_queries
        self._queries: LRUCache[dict[str, FloatArray]] = LRUCache(CACHE_SIZE)
        self._similarities: LRUCache[FloatArray] = LRUCache(CACHE_SIZE)

    def penalty(
        self, view: View, vector_names: Sequence[str], kind: str, weights: Mapping[str, float]
    ) -> FloatArray:
        """Return what is subtracted from the score of each row, shape (n_rows,).

        It is half of ``r`` less its mean over items, so that the scores keep their level.

        Parameters
        ----------
        view : View
            What is searched.
        vector_names : sequence of str
            The named vectors of the query; an item that lacks a named vector has no penalty there.
        kind : str
            Such as ``text to item``; in named vectors without such queries items stand for them.
        weights : mapping of str to float
            Weight of each named vector.
        """
        total = np.zeros(sum(map(len, view.segments)), np.float32)
        for vector_name in vector_names:
            r = self._mean_similarities(view, vector_name, kind)
            if np.isfinite(r).any():
                total += np.float32(weights[vector_name]) * np.nan_to_num(r - np.nanmean(r))
        return total / np.float32(2 * sum(weights[name] for name in vector_names))

    def _mean_similarities(self, view: View, vector_name: str, kind: str) -> FloatArray:
        """Return ``r`` of each row; NaN where it has no vector."""
        release = None if view.release is None else view.release.number
        by_kind = self._queries.get(
            (release, vector_name), lambda: self._draw_queries(view, vector_name)
        )
        queries = by_kind.get(kind, next(iter(by_kind.values()), None))

        def of_segment(segment: Segment) -> FloatArray:
            key = (segment, vector_name, kind, release)
            return self._similarities.get(
                key, lambda: _segment_similarities(segment, vector_name, queries)
            )

        return np.concatenate([np.empty(0, np.float32), *map(of_segment, view.segments)])

    def _draw_queries(self, view: View, vector_name: str) -> dict[str, FloatArray]:
        rows = np.flatnonzero(view.living.rows)
        if view.release is not None:
            rows = np.arange(view.release_rows)
        rows = rows[view.present(vector_name, rows)]
        # Where a named vector has one modality, each kind of query gets a half of the rows.
        sample = sample_rows(np.random.default_rng(0), rows, 2 * MAX_QUERIES)
        kinds: list[RecallQueries] = list(self._sample_queries(view, vector_name, sample))
        return {kind.name: kind.vectors[:MAX_QUERIES] for kind in kinds if len(kind.vectors)}


def _segment_similarities(
    segment: Segment, vector_name: str, queries: FloatArray | None
) -> FloatArray:
    vectors = segment.named_vectors[vector_name]
    r = np.full(len(segment), np.nan, np.float32)
    if len(vectors.rows) and queries is not None:
        r[vectors.rows] = mean_similarity_to_nearest(np.asarray(vectors.vectors), queries)
    return r


def mean_similarity_to_nearest(vectors: FloatArray, queries: FloatArray) -> FloatArray:
    """Return the mean cosine of items with their ten nearest queries, each item itself left out.

    Parameters
    ----------
    vectors, queries : numpy.ndarray
        float32, shapes (n_items, dim) and (n_queries, dim); unit rows.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_items,).
    """
    k = min(NEIGHBOURS, len(queries))
    cosines, _ = exact_search(vectors, queries, k + 1)  # (n_items, k + 1)
    is_itself = cosines[:, :1] >= IDENTICAL
    others = np.where(is_itself, cosines[:, 1:], cosines[:, :-1])
    finite = np.isfinite(others)
    total = np.where(finite, others, 0).sum(axis=1)
    return np.asarray(total / np.maximum(finite.sum(axis=1), 1), np.float32)


def corrected_top_k(
    view: View,
    query: Query,
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> ScoredRows:
    """Rank items by their score less their penalty.

    With a penalty, the search is widened until no unseen item can be among the best k.

    Parameters
    ----------
    view, query, k, selection, weights
        As for `isthmus.retrieval.search.query.search_top_k`.
    penalty : numpy.ndarray, optional
        float32, shape (n_rows,).

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,), n at most k; best first.
    """
    if penalty is None:
        return search_top_k(view, [query], k, selection, weights)[0]
    min_penalty, n_reachable = float(penalty.min(initial=0)), max(len(view), 1)
    depth = max(WIDENING * k, MIN_CANDIDATES)
    while True:
        rows, scores = search_top_k(view, [query], min(depth, n_reachable), selection, weights)[0]
        corrected_rows, corrected = _subtract(view, rows, scores, penalty)
        best_unseen = scores[-1] - min_penalty if len(scores) else -np.inf
        exhausted = depth >= n_reachable or len(rows) < depth
        # An unseen item of an equal score may come first in the order of equal ones.
        if exhausted or (len(corrected) >= k and corrected[k - 1] > best_unseen):
            return corrected_rows[:k], corrected[:k]
        depth *= WIDENING


def corrected_range(
    view: View,
    query: Query,
    min_score: float,
    selection: Selection | None,
    weights: Mapping[str, float],
    penalty: FloatArray | None = None,
) -> ScoredRows:
    """Find all items whose score less penalty, (n_rows,), is `min_score` or more, best first."""
    if penalty is None:
        return search_range(view, query, min_score, selection, weights)
    # The smallest penalty may be negative; 1e-5 allows for rounding.
    min_uncorrected = min_score + float(penalty.min(initial=0)) - 1e-5
    found = search_range(view, query, min_uncorrected, selection, weights)
    return _subtract(view, *found, penalty)


def _subtract(view: View, rows: Positions, scores: FloatArray, penalty: FloatArray) -> ScoredRows:
    corrected = scores - penalty[rows]
    return in_order(view, rows, corrected)

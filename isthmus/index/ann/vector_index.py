"""The vectors of one named vector of a segment, and every way to search them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.index.ann.bitmap import Allowed
from isthmus.index.ann.exact import Positions, drop, exact_search
from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.filter_cost import MaskedCosts
from isthmus.numerics.arrays import FloatArray

NEARLY_ALL = 0.9


@dataclass(frozen=True, eq=False)
class SegmentVectors:
    """Vectors of one named vector of a segment.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_vectors, dim); may be memory-mapped.
    rows : numpy.ndarray
        int64, shape (n_vectors,), ascending: the segment's row of each vector.
    index : VectorIndex or None
        Finds vectors approximately; without one, search is exact.
    masked : MaskedCosts or None
        What a filtered search costs; without it, one is exact.
    known_misses : float
        Of the true best ten, how many are missed for an item that the index holds, for each that
        is missed for a content that it does not hold.
    """

    vectors: FloatArray
    rows: Positions
    index: VectorIndex | None = None
    masked: MaskedCosts | None = None
    known_misses: float = 1.0

    def search(
        self, queries: FloatArray, k: int, allowed: Allowed, effort: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Find the best vectors for each query, each result of shape (n_queries, k).

        Never fewer than k are found where k are allowed: what the index leaves short is searched
        exactly.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            How many a query wants.
        allowed : Allowed
            Over the n_vectors.
        effort : float
            Share of the effort that the promised recall takes, up to 1.

        Returns
        -------
        scores, rows : numpy.ndarray
            float32 and int64: the segment's rows; -inf and -1 where there are no more.
        """
        scores, found = self._search(queries, k, allowed, effort)
        if len(self.rows) and self.rows[-1] == len(self.rows) - 1:
            return scores, found
        return scores, np.where(found >= 0, self.rows[found] if len(self.rows) else -1, -1)

    def _search(
        self, queries: FloatArray, k: int, allowed: Allowed, effort: float
    ) -> tuple[FloatArray, Positions]:
        if self.index is None or allowed.count <= k:
            return exact_search(queries, self.vectors, k, allowed)
        if allowed.everything:
            scores, found = self.index.search(queries, k, effort)
        elif allowed.share >= NEARLY_ALL and 2 * k <= len(self.rows):
            scores, found = drop(*self.index.search(queries, 2 * k, effort), allowed, k)
        else:
            scores, found = self._search_allowed(queries, k, allowed, effort)
        short = (found[:, -1] < 0) if k else np.zeros(len(queries), bool)
        if short.any():
            scores[short], found[short] = exact_search(queries[short], self.vectors, k, allowed)
        return scores, found

    def _search_allowed(
        self, queries: FloatArray, k: int, allowed: Allowed, effort: float
    ) -> tuple[FloatArray, Positions]:
        visits = None
        if self.masked is not None:
            visits = self.masked.visits_for(allowed.count, allowed.share, len(queries), effort)
        if self.index is None or visits is None:
            return exact_search(queries, self.vectors, k, allowed)
        return self.index.search_allowed(queries, k, allowed, visits, effort)

"""Costs of filtered searches: through the index, or by exact search over the bitmap."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

MAX_EXACT = 5_000  # so few vectors are searched exactly without looking at costs


class FilterCostPoint(BaseModel):
    """The cost of a filtered search through the index at one fraction of the vectors.

    Attributes
    ----------
    fraction : float
        Fraction of the vectors that pass the filter.
    n_candidates : int
        What `VectorIndex.search_filtered` needs to reach the recall.
    recall : float
        Recall@10 measured with it.
    query_us : float
        Microseconds per query.
    """

    model_config = ConfigDict(extra="forbid")
    fraction: float
    n_candidates: int
    recall: float
    query_us: float


class FilterCosts(BaseModel):
    """Measured costs of both ways, from which each filtered search takes the cheaper.

    Attributes
    ----------
    points : list of FilterCostPoint
        Through the index, by descending fraction; fractions whose recall was out of reach are
        absent.
    gather_us, scan_us : float
        Exact search: microseconds to gather a vector, once for all queries of a batch, and to
        compare it with one query.
    """

    model_config = ConfigDict(extra="forbid")
    points: list[FilterCostPoint]
    gather_us: float
    scan_us: float

    def candidates_for(
        self, count: int, fraction: float, n_queries: int, search_scale: float = 1.0
    ) -> int | None:
        """Return `n_candidates` for a search through the index; None if exact search is cheaper.

        Between two measured fractions, candidates and cost are interpolated on logarithmic axes.

        Parameters
        ----------
        count, fraction
            Number and fraction of the vectors that pass the filter.
        n_queries : int
            Queries of the batch.
        search_scale : float
            Factor on the candidates, at most 1.
        """
        if count <= MAX_EXACT or not self.points or fraction < self.points[-1].fraction:
            return None
        exact_us = count * (self.gather_us + self.scan_us * n_queries)
        index_us = n_queries * self._at(fraction, [p.query_us for p in self.points])
        if exact_us <= search_scale * index_us:
            return None
        n_candidates = self._at(fraction, [float(p.n_candidates) for p in self.points])
        return int(np.ceil(search_scale * n_candidates))

    def _at(self, fraction: float, values: list[float]) -> float:
        fractions = np.log([point.fraction for point in reversed(self.points)])
        logs = np.log(np.maximum(values[::-1], 1e-9))
        return float(np.exp(np.interp(np.log(fraction), fractions, logs)))

"""When a filtered search goes through the index, and when through the survivors one by one."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

MOST_EXACT = 5_000  # so few survivors are compared one by one without asking


class FilterCostPoint(BaseModel):
    """What a filtered search through the index costs where a share of the vectors survives.

    Attributes
    ----------
    share : float
        Which part of the vectors the filter lets through.
    visits : int
        What `VectorIndex.search_allowed` has to visit to reach the recall.
    recall : float
        Measured recall@10 with it.
    query_us : float
        Microseconds a query.
    """

    model_config = ConfigDict(extra="forbid")
    share: float
    visits: int
    recall: float
    query_us: float


class FilterCosts(BaseModel):
    """Measured costs of both ways, from which each filtered search takes the cheaper.

    Attributes
    ----------
    points : list of MaskedPoint
        Through the index, by descending share; shares whose recall was out of reach are absent.
    gather_us, scan_us : float
        One by one: microseconds to fetch a surviving vector, once for all queries of a batch,
        and to compare it with one query.
    """

    model_config = ConfigDict(extra="forbid")
    points: list[FilterCostPoint]
    gather_us: float
    scan_us: float

    def visits_for(
        self, allowed: int, share: float, queries: int, search_scale: float = 1.0
    ) -> int | None:
        """Choose for a number of survivors and queries; None means one by one.

        With less `search_scale` than 1 that share of what the recall takes is visited. Between two
        measured shares, visits and cost are interpolated on logarithmic axes.
        """
        if allowed <= MOST_EXACT or not self.points or share < self.points[-1].share:
            return None
        one_by_one = allowed * (self.gather_us + self.scan_us * queries)
        if one_by_one <= search_scale * queries * self._at(
            share, [p.query_us for p in self.points]
        ):
            return None
        return int(np.ceil(search_scale * self._at(share, [float(p.visits) for p in self.points])))

    def _at(self, share: float, values: list[float]) -> float:
        shares = np.log([point.share for point in reversed(self.points)])
        logs = np.log(np.maximum(values[::-1], 1e-9))
        return float(np.exp(np.interp(np.log(share), shares, logs)))

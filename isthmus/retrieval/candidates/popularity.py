"""Popularity, over all time or recent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import PopularityScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class Popularity(CandidateGenerator):
    """Score items by the number of users that liked them, the same for everybody."""

    name: ClassVar[str] = "popularity"
    needs_users: ClassVar[bool] = False
    only_scored: ClassVar[bool] = False  # also for users without any history

    def fit(self, data: TrainingData) -> Self:
        """Count the users of each item."""
        return self._set_scores(self._count(data))

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> PopularityScorer:
        """Return the counts; items newer than the fit score 0.

        Users without any history get unliked items too, where the liked ones are too few.
        """
        scores = self._by_length.get(len(data))
        if scores is None:
            self._by_length.clear()
            padded = np.pad(self._scores, (0, len(data) - len(self._scores)))
            scores = self._by_length[len(data)] = padded
        if target not in self._order_of_domain:
            self._order_of_domain[target] = self._order[data.domains[self._order] == target]
        order, without = self._order_of_domain[target], users.counts() == 0
        if self.only_scored or not without.any():
            return PopularityScorer(scores, order, len(users))
        unscored = data.in_domain(target)
        unscored[order] = False
        newest_first = np.flatnonzero(unscored)[::-1]
        return PopularityScorer(scores, order, len(users), newest_first, without)

    def state(self) -> ArrayState:
        """Return the scores."""
        return {"scores": self._scores}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set_scores(state["scores"])

    def _count(self, data: TrainingData) -> FloatArray:
        return data.popularity.astype(np.float32)

    def _set_scores(self, scores: FloatArray) -> Self:
        self._scores: FloatArray = scores
        self._by_length: dict[int, FloatArray] = {}
        ranked: Columns = np.argsort(-scores, kind="stable")
        self._order = ranked[scores[ranked] > 0]
        self._order_of_domain: dict[int, Columns] = {}
        return self


@dataclass
class Trend(Popularity):
    """Score items by the number of recent likes: the weight of a like decays exponentially.

    Without times every score is 0.

    Attributes
    ----------
    half_life : float
        The age at which a like counts half, as a share of the time between the first decile of
        the likes and the last like.
    """

    name: ClassVar[str] = "trend"
    needs_users: ClassVar[bool] = True
    only_scored: ClassVar[bool] = True
    half_life: float = 0.1

    def _count(self, data: TrainingData) -> FloatArray:
        matrix = data.interactions
        counted = matrix.likes & ~np.isnan(matrix.moments)
        moments = matrix.moments[counted]
        if not len(moments) or moments.min() == moments.max():
            return np.zeros(len(data), np.float32)
        span = max(moments.max() - np.quantile(moments, 0.1), 1.0)
        weights = 0.5 ** ((moments.max() - moments) / (self.half_life * span))
        return np.bincount(matrix.columns[counted], weights, len(data)).astype(np.float32)

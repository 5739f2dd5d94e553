"""What many liked, and what many like now."""

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
    """The items of the domain that most users liked; the score is their number."""

    name: ClassVar[str] = "popularity"

    def fit(self, corpus: TrainingData) -> Self:
        """Count the users of each item."""
        return self._keep(self._count(corpus))

    def scorer(
        self, corpus: TrainingData, histories: UserHistories, target: int
    ) -> PopularityScorer:
        """Score items of the domain alike for everybody."""
        scores = self._by_length.get(len(corpus))
        if scores is None:
            self._by_length.clear()
            scores = self._by_length[len(corpus)] = _padded(self._scores, len(corpus))
        if target not in self._orders:
            self._orders[target] = self._order[corpus.domains[self._order] == target]
        return PopularityScorer(scores, self._orders[target], len(histories))

    def state(self) -> ArrayState:
        """Give the scores."""
        return {"scores": self._scores}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the scores."""
        return self._keep(state["scores"])

    def _count(self, corpus: TrainingData) -> FloatArray:
        return corpus.popularity.astype(np.float32)

    def _keep(self, scores: FloatArray) -> Self:
        self._scores: FloatArray = scores
        self._by_length: dict[int, FloatArray] = {}
        ranked: Columns = np.argsort(-scores, kind="stable")
        self._order = ranked[scores[ranked] > 0]
        self._orders: dict[int, Columns] = {}
        return self


def _padded(scores: FloatArray, n_items: int) -> FloatArray:
    """Return scores with zeros appended for items that are newer than the fit."""
    return np.pad(scores, (0, n_items - len(scores)))


@dataclass
class Trend(Popularity):
    """The same, where an interaction counts the less the older it is.

    Without times it has no opinion.

    Attributes
    ----------
    half_life : float
        The age at which an interaction counts half, as a share of the time between the first
        decile of the interactions and the last one.
    """

    name: ClassVar[str] = "trend"
    half_life: float = 0.1

    def _count(self, corpus: TrainingData) -> FloatArray:
        matrix = corpus.interactions
        counted = matrix.likes & ~np.isnan(matrix.moments)
        moments = matrix.moments[counted]
        if not len(moments) or moments.min() == moments.max():
            return np.zeros(len(corpus), np.float32)
        span = max(moments.max() - np.quantile(moments, 0.1), 1.0)
        fresh = 0.5 ** ((moments.max() - moments) / (self.half_life * span))
        return np.bincount(matrix.columns[counted], fresh, len(corpus)).astype(np.float32)

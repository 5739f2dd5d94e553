"""Reciprocal rank fusion of the candidate generators, and the order of one of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.features import GENERATOR_RANK, POPULARITY
from isthmus.retrieval.ranker.models.model import RankerModel

SMOOTHING = 60.0
TIE = 1e-3


class RankAverage(RankerModel):
    """The sum of ``1 / (60 + rank)`` over the lists that contain a candidate; it learns nothing.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual
    rank learning methods" (SIGIR 2009). Equal sums are ordered by popularity.
    """

    name: ClassVar[str] = "rank average"

    def fit(self, examples: Examples, start: RankerModel | None = None) -> Self:
        """Return the model as it is."""
        del examples, start
        return self

    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the fused ranks, see `RankerModel.score`."""
        del starts
        discounted = features[:, self._rank_columns()].astype(np.float32)
        # The feature is 1 / log2(1 + rank), 0 where a generator did not propose the candidate.
        ranks = np.exp2(1 / np.maximum(discounted, 1e-3).clip(0.05)) - 1
        fused = np.where(discounted > 0, 1 / (SMOOTHING + ranks), 0).sum(axis=1)
        popularity = features[:, self.columns.index(POPULARITY)].astype(np.float32)
        return np.asarray(fused * (SMOOTHING + 1) + TIE * popularity, np.float32)

    def state(self) -> ArrayState:
        """Return nothing: nothing was learned."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the model as it is."""
        del state
        return self

    def _rank_columns(self) -> list[int]:
        suffix = f": {GENERATOR_RANK}"
        return [at for at, name in enumerate(self.columns) if name.endswith(suffix)]


class SingleGenerator(RankAverage):
    """The list of one candidate generator; candidates of others follow, by popularity."""

    name: ClassVar[str] = "single generator"

    def __init__(self, columns: Sequence[str], generator: str) -> None:
        super().__init__(columns)
        self.generator = generator

    def description(self) -> dict[str, Any]:
        """Return the generator, see `RankerModel.description`."""
        return {"name": self.name, "generator": self.generator}

    def _rank_columns(self) -> list[int]:
        return [self.columns.index(f"{self.generator}: {GENERATOR_RANK}")]

"""Matrix factorization of implicit feedback (Hu, Koren and Volinsky, ICDM 2008), by implicit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.retrieval.candidates.factor_generator import FactorGenerator
from isthmus.retrieval.candidates.implicit_factors import FoldIn, factorize, limited_factors
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

# Penalties and confidences that go together, the weakest regularization last.
GRID = (
    (300.0, 20.0),
    (150.0, 20.0),
    (150.0, 5.0),
    (50.0, 10.0),
    (50.0, 2.0),
    (15.0, 2.0),
    (2.0, 2.0),  # of small data
)
GRID_FACTORS = 64  # of the factorizations that penalties are compared with
WARM_ITERATIONS = 4


@dataclass
class ALS(FactorGenerator):
    """Score items by the product of their factors and those solved from the history.

    The matrix is that of all domains together. Hyperparameters of the factorization are those of
    `FactorGenerator`.

    Attributes
    ----------
    limit_factors : bool
        Whether to use no more factors than half the smaller side of the matrix.
    added_confidence : float
        Added to the confidence of the items of a history when a user is solved for.
    seeds : int
        Factorizations, from other initial factors each, whose scores are averaged.
    """

    name: ClassVar[str] = "ALS"
    factors: int = 128
    regularization: float = 150.0
    alpha: float = 20.0
    limit_factors: bool = True
    added_confidence: float = 1.0
    seeds: int = 1

    def fit(self, data: TrainingData) -> Self:
        """Factorize the matrix of liked items."""
        settings = (self._width(data), self.regularization, self.alpha, self.iterations)
        items = [factorize(data.liked, *settings, self.seed + n)[1] for n in range(self.seeds)]
        return self._set(np.concatenate(items, axis=1), self.seeds)

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield one factorization for each penalty and confidence, each begun from the last."""
        found: tuple[FloatArray, FloatArray] | None = None
        others = [pair for pair in GRID if pair != (self.regularization, self.alpha)]
        for regularization, alpha in [(self.regularization, self.alpha), *others]:
            iterations = self.iterations if found is None else WARM_ITERATIONS
            width = min(self._width(data), GRID_FACTORS)
            settings = (width, regularization, alpha, iterations, self.seed)
            found = factorize(data.liked, *settings, found)
            other = replace(self, regularization=regularization, alpha=alpha)
            yield other._set(found[1], seeds=1)

    def _width(self, data: TrainingData) -> int:
        """Return the factors of a factorization."""
        if self.limit_factors:
            return limited_factors(self.factors, data.liked)
        return self.factors

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of user and item factors."""
        users = users.first_items(len(self._items))
        blocks = [
            fold_in.solve(users, self.alpha, self.added_confidence) for fold_in in self._fold_ins
        ]
        factors = np.concatenate(blocks, axis=1) / np.float32(len(blocks))
        return self._products(data, factors, target)

    def state(self) -> ArrayState:
        """Return the item factors, those of all factorizations side by side."""
        return {"items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set(state["items"], self.seeds)

    def _set(self, items: FloatArray, seeds: int) -> Self:
        self._set_items(items)
        blocks = np.split(items, seeds, axis=1)
        self._fold_ins = [FoldIn(block, self.regularization) for block in blocks]
        return self

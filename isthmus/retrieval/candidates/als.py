"""Matrix factorization of implicit feedback (Hu, Koren and Volinsky, ICDM 2008), by implicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.retrieval.candidates.dot_product_index import DotProductIndexes
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.implicit_factors import FoldIn, factorize
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class ALS(CandidateGenerator):
    """Score items by the product of their factors and those solved from the history.

    The matrix is that of all domains together.

    Attributes
    ----------
    factors : int
        Number of latent factors of a factorization.
    regularization : float
        L2 penalty of the factors.
    alpha : float
        Confidence of a liked item, where every other item has confidence 1.
    iterations : int
        Alternations.
    seed : int
        Of the initial factors.
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
    iterations: int = 12
    seed: int = 0
    limit_factors: bool = True
    added_confidence: float = 1.0
    seeds: int = 1

    def fit(self, data: TrainingData) -> Self:
        """Factorize the matrix of liked items."""
        factors = self.factors
        if self.limit_factors:
            factors = min(factors, max(2, min(data.liked.shape) // 2))
        settings = (factors, self.regularization, self.alpha, self.iterations)
        items = [factorize(data.liked, *settings, self.seed + n)[1] for n in range(self.seeds)]
        return self._set_items(np.concatenate(items, axis=1))

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of user and item factors."""
        users = users.first_items(len(self._items))
        blocks = [
            fold_in.solve(users, self.alpha, self.added_confidence) for fold_in in self._fold_ins
        ]
        factors = np.concatenate(blocks, axis=1) / np.float32(self.seeds)
        return DotProductScorer(factors, self._items, self._indexes.of(data, self._items, target))

    def state(self) -> ArrayState:
        """Return the item factors, those of all factorizations side by side."""
        return {"items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set_items(state["items"])

    def _set_items(self, items: FloatArray) -> Self:
        self._items = items
        self._indexes = DotProductIndexes(np.asarray(items.any(axis=1)))
        blocks = np.split(items, self.seeds, axis=1)
        self._fold_ins = [FoldIn(block, self.regularization) for block in blocks]
        return self

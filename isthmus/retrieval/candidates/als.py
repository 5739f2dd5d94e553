"""Matrix factorization of implicit feedback (Hu, Koren and Volinsky, ICDM 2008), by implicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import DotProductIndexes, DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class ALS(CandidateGenerator):
    """Items whose factors agree with those solved from the history, over all domains at once.

    Attributes
    ----------
    factors : int
        Length of the factors.
    regularization : float
        Weight of their squares.
    alpha : float
        Confidence in what was liked, where everything else has 1.
    iterations : int
        Alternations.
    seed : int
        Of the first factors.
    """

    name: ClassVar[str] = "ALS"
    factors: int = 128
    regularization: float = 150.0
    alpha: float = 20.0
    iterations: int = 12
    seed: int = 0

    def fit(self, corpus: TrainingData) -> Self:
        """Factorize the joint matrix of all domains."""
        from implicit.cpu.als import AlternatingLeastSquares
        from scipy.sparse import csr_matrix

        model = AlternatingLeastSquares(
            factors=min(self.factors, max(2, min(corpus.liked.shape) // 2)),
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            num_threads=1,  # more would add up in another order each time
            random_state=self.seed,
        )
        model.fit(csr_matrix(corpus.liked), show_progress=False)
        items = np.asarray(model.item_factors, np.float32)
        items[corpus.popularity == 0] = 0
        return self._keep(items)

    def scorer(
        self, corpus: TrainingData, histories: UserHistories, target: int
    ) -> DotProductScorer:
        """Score by the product of a user's and an item's factors."""
        users = self._solve(histories.first_items(len(self._items)))
        return DotProductScorer(users, self._items, self._indexes.of(corpus, self._items, target))

    def state(self) -> ArrayState:
        """Give the items' factors."""
        return {"items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the items' factors."""
        return self._keep(state["items"])

    def _keep(self, items: FloatArray) -> Self:
        self._items = items
        self._indexes = DotProductIndexes(np.asarray(items.any(axis=1)))
        gram = items.astype(np.float64).T @ items
        gram[np.diag_indices_from(gram)] += self.regularization
        self._inverse = np.linalg.inv(gram)
        return self

    def _solve(self, histories: UserHistories) -> FloatArray:
        """Solve the factors of users from their histories, shape (n_users, factors).

        A history changes the equations that all users share by a few ranks, so that they are
        solved for as many unknowns as there are entries (Sherman, Morrison, Woodbury).
        """
        out = np.zeros((len(histories), self._items.shape[1]), np.float32)
        liked = histories.liked
        vectors = self._items[liked.columns].astype(np.float64)
        halfway = vectors @ self._inverse  # (n_entries, factors)
        weights = self.alpha * liked.weights.astype(np.float64)
        for user, (start, end) in enumerate(pairwise(liked.starts.tolist())):
            own, right = halfway[start:end], 1 + weights[start:end]
            if not own.any():
                continue
            shared = vectors[start:end] @ own.T
            straight = shared @ right
            shared.flat[:: end - start + 1] += 1 / weights[start:end]
            out[user] = (right - np.linalg.solve(shared, straight)) @ own
        return out

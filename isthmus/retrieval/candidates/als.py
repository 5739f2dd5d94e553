"""Matrix factorization of implicit feedback (Hu, Koren and Volinsky, ICDM 2008), by implicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.retrieval.candidates.dot_product_index import DotProductIndexes
from isthmus.retrieval.candidates.generator import CandidateGenerator
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
        Number of latent factors.
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
    """

    name: ClassVar[str] = "ALS"
    factors: int = 128
    regularization: float = 150.0
    alpha: float = 20.0
    iterations: int = 12
    seed: int = 0
    limit_factors: bool = True
    added_confidence: float = 1.0

    def fit(self, data: TrainingData) -> Self:
        """Factorize the matrix of liked items."""
        from implicit.cpu.als import AlternatingLeastSquares
        from scipy.sparse import csr_matrix

        factors = self.factors
        if self.limit_factors:
            factors = min(factors, max(2, min(data.liked.shape) // 2))
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            num_threads=1,  # several threads add up in another order each time
            random_state=self.seed,
        )
        model.fit(csr_matrix(data.liked), show_progress=False)
        items = np.asarray(model.item_factors, np.float32)
        items[data.popularity == 0] = 0
        return self._set_items(items)

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of user and item factors."""
        factors = self._user_factors(users.first_items(len(self._items)))
        return DotProductScorer(factors, self._items, self._indexes.of(data, self._items, target))

    def state(self) -> ArrayState:
        """Return the item factors."""
        return {"items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set_items(state["items"])

    def _set_items(self, items: FloatArray) -> Self:
        self._items = items
        self._indexes = DotProductIndexes(np.asarray(items.any(axis=1)))
        gram = items.astype(np.float64).T @ items
        gram[np.diag_indices_from(gram)] += self.regularization
        self._inverse = np.linalg.inv(gram)
        return self

    def _user_factors(self, users: UserHistories) -> FloatArray:
        """Solve for the factors of users, float32, shape (n_users, factors).

        With G = Y'Y + regularization I over all items, the factors Y of the history (one row an
        entry), its confidences c and D = diag(c - 1), they solve ``(G + Y'DY) x = Y'c``. By the
        push-through identity ``x = G^-1 Y' (I + D K)^-1 c`` with ``K = Y G^-1 Y'``: a system with
        as many unknowns as the history has entries, where G is inverted once for all users.
        """
        out = np.zeros((len(users), self._items.shape[1]), np.float32)
        liked = users.liked
        factors = self._items[liked.columns].astype(np.float64)
        projected = factors @ self._inverse  # (n_entries, factors)
        confidence = self.added_confidence + self.alpha * liked.weights.astype(np.float64)
        for user, (start, end) in enumerate(pairwise(liked.starts.tolist())):
            rows, c = projected[start:end], confidence[start:end]
            if not rows.any():
                continue
            system = (c - 1)[:, None] * (factors[start:end] @ rows.T)
            system[np.diag_indices_from(system)] += 1
            out[user] = np.linalg.solve(system, c) @ rows
        return out

"""A ridge regression from attributes of users to the factors of ALS.

So a user of whom only attributes are known has factors, as in Gantner et al. ("Learning
Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.factor_generator import FactorGenerator
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class AttributeRegression(FactorGenerator):
    """Score items by their factors and those that the attributes of a user predict.

    Users without attributes have no scores. Without attributes of users nothing is factorised.
    Hyperparameters of the factorization are those of `FactorGenerator`.

    Attributes
    ----------
    l2 : float
        Ridge penalty of the regression.
    min_users : int
        Users of a key, at least.
    max_keys : int
        Keys, at most.
    """

    name: ClassVar[str] = "attribute regression"
    factors: int = 32
    iterations: int = 8
    l2: float = 20.0
    min_users: int = 5
    max_keys: int = 2_000

    def fit(self, data: TrainingData) -> Self:
        """Factorise the likes, and regress the factors of users on their attributes."""
        attributes = data.interactions.attributes
        keys = np.zeros(0, np.int64)
        if attributes is not None:
            keys = attributes.frequent(self.min_users, self.max_keys)
        if attributes is None or not len(keys):
            empty = np.zeros((len(data), 1), np.float32)
            return self._set(keys, np.zeros((1, 1), np.float32), empty)
        users, items = self.factorize(data.liked)
        matrix = attributes.matrix(keys)
        taught = (np.diff(matrix.indptr) > 0) & users.any(axis=1)
        x, y = matrix[taught], users[taught]  # (n_taught, n_keys), (n_taught, factors)
        mean = y.mean(axis=0) if len(y) else np.zeros(items.shape[1], np.float32)
        gram = np.asarray((x.T @ x).toarray(), np.float64)
        gram[np.diag_indices_from(gram)] += self.l2
        weights = np.linalg.solve(gram, np.asarray(x.T @ (y - mean), np.float64))
        return self._set(keys, np.vstack([weights, mean]).astype(np.float32), items)

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        """Return the products of predicted user factors and item factors."""
        vectors = np.zeros((len(users), self._items.shape[1]), np.float32)
        if users.attributes is not None and len(self._keys):
            matrix = users.attributes.matrix(self._keys)
            predicted = matrix @ self._weights[:-1] + self._weights[-1]
            vectors = np.where(np.diff(matrix.indptr)[:, None] > 0, predicted, 0)
        return self._products(data, vectors, target)

    def state(self) -> ArrayState:
        """Return the keys, the weights of the regression, and the item factors."""
        return {"keys": self._keys, "weights": self._weights, "items": self._items}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set(state["keys"], state["weights"], state["items"])

    def _set(self, keys: Columns, weights: FloatArray, items: FloatArray) -> Self:
        self._keys, self._weights = keys, weights
        self._set_items(items)
        return self

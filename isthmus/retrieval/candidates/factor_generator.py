"""Generators that score items by their factors of ALS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.candidates.dot_product_index import DotProductIndexes
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.implicit_factors import factorize, limited_factors
from isthmus.retrieval.candidates.scorer import DotProductScorer
from isthmus.retrieval.candidates.training_data import TrainingData

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class FactorGenerator(CandidateGenerator):
    """Score items by the product of their factors and a vector of the user.

    Attributes
    ----------
    factors : int
        Number of latent factors of a factorization, at most half the smaller side of the matrix.
    regularization : float
        L2 penalty of the factors.
    alpha : float
        Confidence of a liked item, where every other item has confidence 1.
    iterations : int
        Alternations.
    seed : int
        Of the initial factors.
    """

    factors: int = 64
    regularization: float = 50.0
    alpha: float = 10.0
    iterations: int = 12
    seed: int = 0

    def factorize(self, liked: csr_array) -> tuple[FloatArray, FloatArray]:
        """Return the factors of users and items of a matrix of likes, see `factorize`."""
        settings = (self.regularization, self.alpha, self.iterations, self.seed)
        return factorize(liked, limited_factors(self.factors, liked), *settings)

    def _set_items(self, items: FloatArray) -> None:
        """Keep the factors of items, float32, shape (n_items, width); unused items have zeros."""
        self._items = items
        self._indexes = DotProductIndexes(np.asarray(items.any(axis=1)))

    def _products(self, data: TrainingData, vectors: FloatArray, target: int) -> DotProductScorer:
        """Return the products of vectors of users, shape (n_users, width), and item factors."""
        index = self._indexes.of(data, self._items, target)
        return DotProductScorer(np.asarray(vectors, np.float32), self._items, index)

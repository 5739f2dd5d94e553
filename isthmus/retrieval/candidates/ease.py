"""A linear regression of every item on all others (EASE; Steck, WWW 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, FloatArray
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class EASE(CandidateGenerator):
    """Items that the history predicts, each item's part corrected for that of the others.

    The regression is over the most popular items of all domains together, and keeps the largest
    positive weights of each.

    Attributes
    ----------
    ridge : float
        Weight of the squared weights.
    items : int
        Items that take part, at most.
    k : int
        Weights kept of each item.
    """

    name: ClassVar[str] = "EASE"
    ridge: float = 500.0
    items: int = 5_000
    k: int = 400

    def fit(self, corpus: TrainingData) -> Self:
        """Solve the regression."""
        order = np.argsort(-corpus.popularity, kind="stable")[: self.items]
        chosen = np.sort(order[corpus.popularity[order] > 1])
        liked = corpus.liked[:, chosen]
        gram = np.asarray((liked.T @ liked).todense(), np.float32)
        gram[np.diag_indices_from(gram)] += self.ridge
        inverse = _inverse(gram)
        weights = -inverse / np.maximum(np.diag(inverse), 1e-12)
        np.fill_diagonal(weights, 0)
        self._weights = ColumnsByDomain(self._sparse(weights, chosen, len(corpus)))
        return self

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> SparseScorer:
        """Add up the weights of the history's items."""
        known = histories.first_items(self._weights.matrix.shape[0]).rows
        return SparseScorer(known.dot(self._weights.of(corpus, target)), len(corpus))

    def state(self) -> ArrayState:
        """Give the weights."""
        return sparse_to_arrays("weights", self._weights.matrix)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the weights."""
        self._weights = ColumnsByDomain(sparse_from_arrays("weights", state))
        return self

    def _sparse(self, weights: npt.NDArray[Any], chosen: npt.NDArray[np.int64], items: int) -> Any:
        """Keep the largest positive weights of each row, at the places of the items."""
        from scipy.sparse import csr_array

        if len(chosen) > self.k:
            least = np.partition(weights, -self.k, axis=1)[:, -self.k, None]
            weights = np.where(weights >= least, weights, 0)
        rows, columns = np.nonzero(weights > 0)
        places = (chosen[rows], chosen[columns])
        return csr_array((weights[rows, columns], places), shape=(items, items))


def _inverse(matrix: FloatArray) -> FloatArray:
    """Invert a symmetric positive definite matrix (Cholesky)."""
    from scipy.linalg.lapack import spotrf, spotri

    if not len(matrix):
        return matrix
    factor, _ = spotrf(matrix, lower=True)
    lower, _ = spotri(factor, lower=True)
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T, np.float32)

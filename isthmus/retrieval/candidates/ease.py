"""EASE: a linear item-item model in closed form (Steck, WWW 2019).

``B = I - P / diag(P)`` with ``P = (X'X + l2 I)^-1``; a user's scores are ``x B``. By the matrix
inversion lemma ``l2 P = I - X' (X X' + l2 I)^-1 X``, so the smaller side can be inverted, users or
items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.co_occurrence import BLOCK, gram_matrix
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.scorer import DenseScorer, Scorer, SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class EASE(CandidateGenerator):
    """Score items by the linear model, over the items of all domains together.

    By default the model is pruned: it covers the most popular items and keeps the largest
    positive weights of each, so that it is a sparse matrix.

    Attributes
    ----------
    l2 : float
        Ridge penalty.
    max_items : int
        Items modelled, the most popular ones; other items score 0. Without pruning all items are
        modelled where there are no more users than this, since then the side of the users is
        inverted.
    k : int or None
        Positive weights kept of each item; None keeps all weights, negative ones too.
    min_users : int
        Users of an item that is modelled, at least.
    """

    name: ClassVar[str] = "EASE"
    l2: float = 500.0
    max_items: int = 5_000
    k: int | None = 400
    min_users: int = 2

    def fit(self, data: TrainingData) -> Self:
        """Solve the regression."""
        if self.k is None:
            self._model: _SparseModel | _DenseModel = self._fit_dense(data)
        else:
            self._model = self._fit_sparse(data, self.k)
        return self

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> Scorer:
        """Return the predictions of the linear model."""
        return self._model.scorer(data, users, target)

    def state(self) -> ArrayState:
        """Return the weights."""
        return self._model.state()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        kind = _DenseModel if self.k is None else _SparseModel
        self._model = kind.from_state(state)
        return self

    def _fit_sparse(self, data: TrainingData, k: int) -> _SparseModel:
        from scipy.sparse import csr_array

        modelled = self._most_popular(data)
        inverse = _inverse(gram_matrix(data.liked[:, modelled], self.l2))
        weights = -inverse / np.maximum(np.diag(inverse), 1e-12)  # (n_modelled, n_modelled)
        np.fill_diagonal(weights, 0)
        if len(modelled) > k:
            smallest_kept = np.partition(weights, -k, axis=1)[:, -k, None]
            weights = np.where(weights >= smallest_kept, weights, 0)
        rows, columns = np.nonzero(weights > 0)
        places = (modelled[rows], modelled[columns])
        matrix = csr_array((weights[rows, columns], places), shape=(len(data), len(data)))
        return _SparseModel(matrix)

    def _fit_dense(self, data: TrainingData) -> _DenseModel:
        modelled = np.flatnonzero(data.popularity >= self.min_users)
        if min(data.liked.shape[0], len(modelled)) > self.max_items:
            modelled = self._most_popular(data)
        liked = data.liked[:, modelled]
        by_users = liked.shape[0] < liked.shape[1]
        inverse = _inverse(gram_matrix(liked.T.tocsr() if by_users else liked, self.l2))
        return _DenseModel(modelled, liked, inverse, self.l2)

    def _most_popular(self, data: TrainingData) -> Columns:
        """Return the columns of the modelled items, ascending."""
        order = np.argsort(-data.popularity, kind="stable")[: self.max_items]
        return np.sort(order[data.popularity[order] >= self.min_users])


class _SparseModel:
    """The pruned weights B, float32, shape (n_items, n_items)."""

    def __init__(self, matrix: csr_array) -> None:
        self._weights = ColumnsByDomain(matrix)

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> SparseScorer:
        rows = users.first_items(self._weights.matrix.shape[0]).rows
        return SparseScorer(rows.dot(self._weights.of(data, target)), len(data))

    def state(self) -> ArrayState:
        return sparse_to_arrays("weights", self._weights.matrix)

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        return cls(sparse_from_arrays("weights", state))


class _DenseModel:
    """The whole model, as the inverse of the smaller side; B is never formed.

    Parameters
    ----------
    modelled : numpy.ndarray
        int64, shape (n_modelled,): columns of the items.
    liked : scipy.sparse.csr_array
        X, shape (n_users, n_modelled).
    inverse : numpy.ndarray
        ``(X X' + l2 I)^-1`` if there are fewer users than items, else ``(X'X + l2 I)^-1``.
    l2 : float
        Ridge penalty.
    """

    def __init__(self, modelled: Columns, liked: csr_array, inverse: FloatArray, l2: float) -> None:
        self._modelled, self._liked, self._inverse, self._l2 = modelled, liked, inverse, l2
        self._by_users = liked.shape[0] < liked.shape[1]
        self._diagonal = self._diagonal_of_p()

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DenseScorer:
        histories = users.first_items(int(self._modelled.max(initial=-1)) + 1)
        x = histories.weights_matrix(len(data))[:, self._modelled]  # (n_users, n_modelled)
        if self._by_users:
            minus_xp = ((x @ self._liked.T) @ self._inverse) @ self._liked - x
        else:
            minus_xp = -self._l2 * (x @ self._inverse)
        scores = np.zeros((len(users), len(data)), np.float32)
        scores[:, self._modelled] = minus_xp / self._diagonal + x
        scores[:, ~data.in_domain(target)] = 0
        return DenseScorer(scores)

    def state(self) -> ArrayState:
        return {
            "modelled": self._modelled,
            "inverse": self._inverse,
            "l2": np.array(self._l2),
            **sparse_to_arrays("liked", self._liked),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        liked = sparse_from_arrays("liked", state)
        return cls(state["modelled"], liked, state["inverse"], float(state["l2"]))

    def _diagonal_of_p(self) -> FloatArray:
        """Return the diagonal of ``l2 P``, shape (n_modelled,)."""
        if not self._by_users:
            return np.asarray(np.diag(self._inverse) * self._l2, np.float32)
        out = np.ones(self._liked.shape[1], np.float32)
        for start in range(0, len(out), BLOCK):
            users = self._liked[:, start : start + BLOCK].T.tocsr()
            out[start : start + BLOCK] -= users.multiply(users @ self._inverse).sum(axis=1)
        return out


def _inverse(matrix: FloatArray) -> FloatArray:
    """Return the inverse of a symmetric positive definite matrix, by its Cholesky factor.

    It takes half the time of an inversion by LU.
    """
    from scipy.linalg.lapack import spotrf, spotri

    if not len(matrix):
        return matrix
    factor, _ = spotrf(matrix, lower=True)
    lower, _ = spotri(factor, lower=True)
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T, np.float32)

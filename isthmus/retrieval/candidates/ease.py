"""EASE: a linear item-item model in closed form (Steck, WWW 2019).

``B = I - P / diag(P)`` with ``P = (X'X + l2 I)^-1``; a user's scores are ``x B``. With the singular
value decomposition ``X = U S V'`` and ``W = V (S^2 / (S^2 + l2))^(1/2)`` it is ``l2 P = I - W W'``,
so an item *j* that is not in the history has the score ``(x W) . W_j / d_j`` with
``d_j = 1 - |W_j|^2``. No matrix of items by items, or users by users, is formed, and one
decomposition serves every ridge penalty and every lower rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.numerics.co_occurrence import BLOCK, gram_matrix
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays
from isthmus.numerics.svd import Decomposition, truncated_svd
from isthmus.retrieval.candidates.dot_product_index import DotProductIndexes
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import DenseScorer, DotProductScorer, Scorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_COMPONENTS = 5_000_000  # numbers in the matrix of singular vectors, 20 MB
MIN_DIAGONAL = 1e-6
PENALTIES = (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)


@dataclass
class EASE(CandidateGenerator):
    """Score items by the linear model of all used items; weights may be negative.

    Attributes
    ----------
    name : str
        The name of this configuration.
    l2 : float
        Ridge penalty.
    rank : int or None
        Singular vectors that represent the matrix; fewer where there are so many items that the
        vectors would hold more than 5 million numbers. None solves the model exactly, through the
        inverse of the smaller side, users or items.
    in_domain : bool
        Whether each domain has a model of its own interactions, instead of one of all domains.
    max_items : int
        Of the exact solution: items modelled where there are more users and more items than
        this, the most popular ones; other items score 0.
    seed : int
        Seed of the decomposition.
    """

    name: str = "EASE"  # type: ignore[misc]
    l2: float = 1_000.0
    rank: int | None = 512
    in_domain: bool = False
    max_items: int = 5_000
    seed: int = 0

    def fit(self, data: TrainingData) -> Self:
        """Solve the regression."""
        if self.rank is None:
            self._model: _FactoredModel | _DenseModel = _DenseModel.fit(
                data, self.l2, self.max_items
            )
        else:
            self._model = _FactoredModel(self.weights(self.decompose(data)))
        return self

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield models of other penalties, all from one decomposition."""
        if self.rank is None:
            yield self.fit(data)
            return
        parts = self.decompose(data)
        for l2 in (self.l2, *sorted({*PENALTIES} - {self.l2})):
            other = replace(self, l2=l2)
            other._model = _FactoredModel(other.weights(parts))
            yield other

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> Scorer:
        """Return the predictions of the linear model."""
        if self.in_domain:
            users = users.filter(data.domains[users.columns] == target)
        return self._model.scorer(data, users, target)

    def state(self) -> ArrayState:
        """Return the weights."""
        return self._model.state()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self._model = (_DenseModel if self.rank is None else _FactoredModel).from_state(state)
        return self

    def decompose(self, data: TrainingData) -> list[tuple[Mask, Decomposition]]:
        """Return the decomposition of each part of the data that has a model of its own.

        Returns
        -------
        list of (numpy.ndarray, Decomposition)
            The items of a part, bool, shape (n_items,), and its decomposition.
        """
        assert self.rank is not None
        rank = min(self.rank, max(1, MAX_COMPONENTS // max(1, len(data))))
        used = data.popularity > 0
        codes = np.unique(data.domains).tolist() if self.in_domain else []
        parts = [used & data.in_domain(code) for code in codes] or [used]
        return [(part, truncated_svd(data.liked[:, part], rank, self.seed)) for part in parts]

    def weights(self, parts: list[tuple[Mask, Decomposition]]) -> FloatArray:
        """Return W from decompositions of this rank or more, float32, shape (n_items, rank)."""
        rank = min(self.rank or 0, max(len(svd.values) for _, svd in parts))
        out = np.zeros((len(parts[0][0]), rank), np.float32)
        for part, svd in parts:
            values = svd.values[:rank]
            gains = values / np.sqrt(values**2 + np.float32(self.l2))
            out[part, : len(values)] = svd.vectors[:, :rank] * gains
        return out


class _FactoredModel:
    """The model as W, float32, shape (n_items, rank)."""

    def __init__(self, weights: FloatArray) -> None:
        squares = np.einsum("ij,ij->i", weights, weights)
        self._diagonal = np.maximum(1 - squares, np.float32(MIN_DIAGONAL))  # of l2 P
        self._weights, self._items = weights, weights / self._diagonal[:, None]
        self._indexes = DotProductIndexes(np.asarray(weights.any(axis=1)))

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DotProductScorer:
        histories = users.first_items(len(self._weights))
        vectors = histories.rows.dot_dense(self._weights)
        index = self._indexes.of(data, self._items, target)
        return DotProductScorer(vectors, self._items, index)

    def state(self) -> ArrayState:
        return {"weights": self._weights}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        return cls(state["weights"])


class _DenseModel:
    """The exact model, as the inverse of the smaller side; B is never formed.

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

    @classmethod
    def fit(cls, data: TrainingData, l2: float, max_items: int) -> Self:
        """Invert the smaller side; by the matrix inversion lemma either serves."""
        modelled = np.flatnonzero(data.popularity > 0)
        if min(data.liked.shape[0], len(modelled)) > max_items:
            order = np.argsort(-data.popularity[modelled], kind="stable")[:max_items]
            modelled = np.sort(modelled[order])
        liked = data.liked[:, modelled]
        by_users = liked.shape[0] < liked.shape[1]
        inverse = _inverse(gram_matrix(liked.T.tocsr() if by_users else liked, l2))
        return cls(modelled, liked, inverse, l2)

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
            "l2": np.array([self._l2]),
            **sparse_to_arrays("liked", self._liked),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        liked = sparse_from_arrays("liked", state)
        return cls(state["modelled"], liked, state["inverse"], state["l2"].item())

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

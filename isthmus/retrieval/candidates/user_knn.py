"""User-based nearest neighbours (Resnick et al., CSCW 1994; Herlocker et al., SIGIR 1999)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.co_occurrence import CountSimilarity
from isthmus.numerics.sparse import scale, sparse_from_arrays, sparse_to_arrays, to_csr
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ItemWeights = Literal["none", "idf", "squared_idf"]

GRID: tuple[dict[str, Any], ...] = (
    {"k": 300, "alpha": 0.5, "beta": 0.5},
    {"k": 100, "alpha": 0.5, "beta": 0.5},
    {"k": 50, "alpha": 0.5, "beta": 0.5},
    {"k": 300, "alpha": 0.5, "beta": 0.8},
)


@dataclass
class UserKNN(CandidateGenerator):
    """Score items by the summed similarity of the neighbours that liked them.

    The similarity is that of weighted item sets, over all domains, see `CountSimilarity`: two
    users share the weight of the items that both liked. Neighbours are users who liked something
    of the target domain: others have no item to propose, and where few users are shared they
    would take almost all of the places.

    Attributes
    ----------
    k : int or None
        Neighbours of a user; None takes all users that share an item.
    alpha, beta : float
        Exponents of the weight of the user's items and of the neighbour's.
    shrink : float
        Added to the denominator.
    jaccard : bool
        Whether the similarity is Jaccard's; the exponents are then not used.
    item_weights : str
        The weight of an item liked by n of N users. ``"none"``: 1; ``"idf"``:
        ``log(N / (1 + n))``, at least 0; ``"squared_idf"``: ``log(1 + N / n)^2``, with which the
        similarity for exponents of 0.5 is the cosine of histories that are weighted by idf.
    """

    name: ClassVar[str] = "user-KNN"
    k: int | None = 300
    alpha: float = 0.5
    beta: float = 0.5
    shrink: float = 0.0
    jaccard: bool = False
    item_weights: ItemWeights = "squared_idf"

    def fit(self, data: TrainingData) -> Self:
        """Index the users by the items that they liked."""
        return self._fit(data.liked)

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield other numbers of neighbours and other exponents."""
        yield self.fit(data)
        present = {name: getattr(self, name) for name in GRID[0]}
        for settings in GRID:
            if settings != present:
                yield replace(self, **settings).fit(data)

    def scorer(
        self,
        data: TrainingData,
        users: UserHistories,
        target: int,
        training_rows: Columns | None = None,
    ) -> SparseScorer:
        """Return the summed similarity of the neighbours that liked an item.

        Parameters
        ----------
        data, users, target
            As for every generator.
        training_rows : numpy.ndarray, optional
            int64, shape (n_users,): the row of each user in the training data, -1 if none. That
            row is not a neighbour. By default users may be neighbours of themselves.
        """
        rows = users.first_items(len(self._weights)).rows
        similar = self._similarities(rows)
        liked = self._liked.of(data, target)
        starts, ends = liked.indptr[similar.columns], liked.indptr[similar.columns + 1]
        similar = similar.filter(ends > starts)  # those who liked something of the target
        if training_rows is not None:
            similar = similar.filter(similar.columns != training_rows[similar.owners])
        if self.k is not None:
            similar = similar.top_k(self.k)
        return SparseScorer(similar.dot(liked), len(data))

    def state(self) -> ArrayState:
        """Return what every user liked."""
        return sparse_to_arrays("liked", self._liked.matrix)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._fit(sparse_from_arrays("liked", state))

    def _fit(self, liked: csr_array) -> Self:
        self._liked = ColumnsByDomain(liked)
        self._similarity = CountSimilarity(self.alpha, self.beta, self.shrink, self.jaccard)
        self._weights = _item_weights(liked, self.item_weights)
        self._by_item = to_csr(scale(liked, None, self._weights).T)  # (n_items, n_users)
        self._terms = self._similarity.column_terms(np.asarray(liked @ self._weights, np.float32))
        return self

    def _similarities(self, rows: SparseRows) -> SparseRows:
        """Return the similarity of users to all training users, shape (n_users, n_training)."""
        shared = rows.dot(self._by_item)
        # For a history of ones this is the weight of its items; else the squared norm.
        weights = rows.values**2 * self._weights[rows.columns]
        totals = np.bincount(rows.owners, weights, len(rows.starts) - 1).astype(np.float32)
        terms = self._similarity.row_terms(totals)[shared.owners]
        values = self._similarity(shared.values, terms, self._terms[shared.columns])
        return shared._replace(values=values)


def _item_weights(liked: csr_array, kind: ItemWeights) -> FloatArray:
    """Return the weight of each item, float32, shape (n_items,), see `UserKNN`."""
    n_users, users = liked.shape[0], np.asarray(liked.sum(axis=0)).ravel()
    if kind == "none":
        return np.ones(len(users), np.float32)
    if kind == "idf":
        return np.maximum(np.log(n_users / (1 + users)), 0).astype(np.float32)
    return (np.log1p(n_users / np.maximum(users, 1)).astype(np.float32) ** 2).astype(np.float32)

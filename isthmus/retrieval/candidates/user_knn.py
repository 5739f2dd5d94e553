"""What users with similar histories liked (Herlocker et al., SIGIR 1999)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.sparse import scale, sparse_from_arrays, sparse_to_arrays
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.item_knn import unit_rows
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class UserKNN(CandidateGenerator):
    """Items liked by the users whose histories, in all domains, are nearest by cosine.

    Rare items count more: an item liked by n of N users weighs ``log(1 + N / n)``.

    Attributes
    ----------
    k : int
        Neighbours of a user.
    """

    name: ClassVar[str] = "user-KNN"
    k: int = 300

    def fit(self, corpus: TrainingData) -> Self:
        """Keep what every user liked."""
        return self._keep(corpus.liked)

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> SparseScorer:
        """Add up the likeness of the neighbours that liked an item."""
        known = histories.first_items(len(self._rarity)).rows
        rare = known._replace(values=known.values * self._rarity[known.columns])
        nearest = _unit(rare).dot(self._by_item).top_k(self.k)
        return SparseScorer(nearest.dot(self._liked.of(corpus, target)), len(corpus))

    def state(self) -> ArrayState:
        """Give what every user liked."""
        return sparse_to_arrays("liked", self._liked.matrix)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take what every user liked."""
        return self._keep(sparse_from_arrays("liked", state))

    def _keep(self, liked: csr_array) -> Self:
        self._liked = ColumnsByDomain(liked)
        users = np.asarray(liked.sum(axis=0)).ravel()
        self._rarity = np.log1p(liked.shape[0] / np.maximum(users, 1)).astype(np.float32)
        self._by_item = unit_rows(scale(liked, None, self._rarity)).T.tocsr()
        return self


def _unit(rows: SparseRows) -> SparseRows:
    """Divide each row by its length."""
    owners = rows.owners
    norms = np.sqrt(np.bincount(owners, rows.values**2, len(rows.starts) - 1))
    return rows._replace(values=(rows.values / np.maximum(norms, 1e-12)[owners]).astype(np.float32))

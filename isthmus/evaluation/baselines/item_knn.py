"""Item-based nearest neighbours (Sarwar et al., WWW 2001): items used by the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isthmus.evaluation.baselines.baseline import Baseline, Places
from isthmus.evaluation.baselines.neighbours import (
    Similarity,
    keep_largest,
    similarities,
)
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class ItemKNN(Baseline):
    """Rank by the summed similarity to the items of the history.

    Attributes
    ----------
    similarity : str
        See `similarities`; rows are the items of the history, columns those that are ranked.
    k : int or None
        Neighbours kept of each item; None keeps all.
    shrink : float
        See `similarities`.
    """

    name: ClassVar[str] = "item-KNN"
    similarity: Similarity = "cosine"
    k: int | None = None
    shrink: float = 50.0

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        from scipy.sparse import csr_array

        del vectors
        shared = csr_array(matrix.T @ matrix)
        shared.setdiag(0)
        shared.eliminate_zeros()
        users = np.asarray(matrix.sum(axis=0), np.float32)
        alike = similarities(shared, users, users, self.similarity, self.shrink)
        self._alike = keep_largest(alike, self.k)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del users
        return np.asarray((histories @ self._alike)[:, columns].toarray(), np.float32)

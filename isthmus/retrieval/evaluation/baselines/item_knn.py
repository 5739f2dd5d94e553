"""Item-based nearest neighbours (Sarwar et al., WWW 2001): items used by the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isthmus.encoders.encoder import FloatArray
from isthmus.retrieval.evaluation.baselines.baseline import Baseline, Places
from isthmus.retrieval.evaluation.baselines.neighbours import (
    Similarity,
    keep_largest,
    rarity,
    similarities,
)
from isthmus.retrieval.evaluation.task import TestUser

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class ItemKNN(Baseline):
    """Rank by the summed similarity to the items of the history.

    Attributes
    ----------
    similarity : str
        See `similarities`; ``"conditional"`` is the share of the users of the history's item.
    k : int or None
        Neighbours kept of each item; None keeps all.
    shrink : float
        See `similarities`.
    rare_users : bool
        Whether users of few items tell more of what they share than users of many.
    """

    name: ClassVar[str] = "item-KNN"
    similarity: Similarity = "cosine"
    k: int | None = 200
    shrink: float = 10.0
    rare_users: bool = False

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        from scipy.sparse import csr_array, diags_array

        del vectors
        weighted = diags_array(rarity(matrix, 0)) @ matrix if self.rare_users else matrix
        shared = csr_array(matrix.T @ weighted)
        shared.setdiag(0)
        shared.eliminate_zeros()
        weights = np.asarray(weighted.sum(axis=0), np.float32)
        alike = similarities(shared, weights, weights, self.similarity, self.shrink)
        self._alike = keep_largest(alike, self.k)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del users
        return np.asarray((histories @ self._alike)[:, columns].toarray(), np.float32)

"""User-based nearest neighbours (Resnick et al., CSCW 1994): what users of like history use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from isthmus.evaluation.baselines.baseline import Baseline, Places, places_of
from isthmus.evaluation.baselines.neighbours import (
    Similarity,
    keep_largest,
    rarity,
    similarities,
)
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class UserKNN(Baseline):
    """Rank by the summed similarity of the neighbours that use an item.

    Attributes
    ----------
    similarity : str
        See `similarities`; ``"conditional"`` is the share of the history.
    k : int or None
        Neighbours of a user; None takes all that share an item.
    shrink : float
        See `similarities`.
    rare_items : bool
        Whether rare items tell more of likeness than common ones.
    """

    name: ClassVar[str] = "user-KNN"
    similarity: Similarity = "cosine"
    k: int | None = 300
    shrink: float = 0.0
    rare_items: bool = True

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del vectors
        items = rarity(matrix) if self.rare_items else np.ones(matrix.shape[1], np.float32)
        self._weights = items
        self._user_weights = np.asarray(matrix @ items, np.float32)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        from scipy.sparse import csr_array, diags_array

        weighted = histories @ diags_array(self._weights)
        shared = csr_array(weighted @ self._matrix.T).tolil()
        own = places_of(pa.array([user.user_id for user in users], pa.string()), self._user_ids)
        there = np.flatnonzero(own >= 0)
        shared[there, own[there]] = 0
        weights = np.asarray(weighted.sum(axis=1), np.float32)
        alike = similarities(
            csr_array(shared), weights, self._user_weights, self.similarity, self.shrink
        )
        near = keep_largest(alike, self.k)
        return np.asarray((near @ self._matrix[:, columns]).toarray(), np.float32)

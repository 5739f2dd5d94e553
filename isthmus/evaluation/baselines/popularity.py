"""The items that most users know, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isthmus.evaluation.baselines.baseline import Baseline, Places
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class Popularity(Baseline):
    """Rank by the number of users."""

    name: ClassVar[str] = "popularity"

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del vectors
        self._users = np.asarray(matrix.sum(axis=0), np.float32)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del histories
        return np.tile(self._users[columns], (len(users), 1))

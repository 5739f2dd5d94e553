"""Random lists: what no system may fall below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isthmus.digests import digest, keys_of
from isthmus.evaluation.baselines.baseline import Baseline, Places
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class Chance(Baseline):
    """An order of its own for each user, from the seed and the user's id."""

    name: ClassVar[str] = "random"

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del matrix, vectors

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del histories
        seeds = keys_of(digest(f"{self.seed}:{user.user_id}") for user in users)
        drawn = [np.random.default_rng(s).random(len(columns), np.float32) for s in seeds]
        return np.array(drawn, np.float32).reshape(len(users), len(columns))

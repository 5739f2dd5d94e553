"""Matrix factorization of implicit feedback (Hu, Koren and Volinsky, ICDM 2008), by implicit."""

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
class ALS(Baseline):
    """Rank by the product of factors; a user's are solved from the history.

    Attributes
    ----------
    factors : int
        Length of the factors.
    regularization : float
        Weight of their squares.
    alpha : float
        Confidence in what was used, where what was not has 1.
    iterations : int
        Alternations.
    """

    name: ClassVar[str] = "ALS"
    factors: int = 64
    regularization: float = 10.0
    alpha: float = 10.0
    iterations: int = 15

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        from implicit.cpu.als import AlternatingLeastSquares
        from scipy.sparse import csr_matrix

        del vectors
        self._model = AlternatingLeastSquares(
            factors=self.factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            num_threads=1,  # more would add up in another order each time
            random_state=self.seed,
        )
        self._model.fit(csr_matrix(matrix), show_progress=False)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        from scipy.sparse import csr_matrix

        factors = self._model.recalculate_user(np.arange(len(users)), csr_matrix(histories))
        return np.asarray(factors @ self._model.item_factors[columns].T, np.float32)

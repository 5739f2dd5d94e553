"""EASE from a Gram matrix with noise, for private trainings (see `EASE` for the model)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.privacy.denoising import denoised_gram
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

MIN_EIGENVALUE: Final = 0.2  # of the ridge


@dataclass
class PrivateEASE(CandidateGenerator):
    """Score the modelled items by the linear model of them; weights may be negative.

    With G the Gram matrix without what may be noise it is ``B = I - P / diag(P)`` with ``P = (G +
    l2 I)^-1``. G may have negative eigenvalues, so the ridge is raised where it must be for every
    eigenvalue of the sum to be at least `MIN_EIGENVALUE` of it.

    Attributes
    ----------
    name : str
        The name of this configuration.
    l2 : float
        Ridge penalty.
    """

    needs_users: ClassVar[bool] = False
    name: str = "private EASE"  # type: ignore[misc]
    l2: float = 100.0

    def fit(self, data: TrainingData) -> Self:
        """Solve the regression.

        Raises
        ------
        InvalidInput
            If the data has no sums with noise.
        """
        sums = data.private
        if sums is None:
            raise InvalidInput("a private EASE learns from sums with noise, and there are none")
        gram = denoised_gram(sums)
        smallest = float(np.linalg.eigvalsh(gram)[0])
        gram[np.diag_indices_from(gram)] += max(self.l2, MIN_EIGENVALUE * self.l2 - smallest)
        inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
        weights[np.diag_indices_from(weights)] = 0
        weights *= sums.scales[:, None] / sums.scales
        return self._set(sums.items, weights.astype(np.float32))

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> SparseScorer:
        """Return the predictions of the linear model; users without a modelled item have none."""
        among = np.full(len(data), -1)
        among[self._items] = np.arange(len(self._items))
        rows = users.filter(among[users.columns] >= 0).liked
        history = np.zeros((len(users), len(self._items)), np.float32)
        history[rows.owners, among[rows.columns]] = rows.weights
        inside = np.flatnonzero(data.domains[self._items] == target)
        scored = np.flatnonzero(rows.counts() > 0)
        values = history[scored] @ self._weights[:, inside]  # (n_scored, n_inside)
        counts = np.zeros(len(users), np.int64)
        counts[scored] = len(inside)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns = np.tile(self._items[inside], len(scored))
        return SparseScorer(SparseRows(starts, columns, values.ravel()), len(data))

    def state(self) -> ArrayState:
        """Return the weights, and the items that they are of."""
        return {"items": self._items, "weights": self._weights}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set(state["items"], state["weights"])

    def _set(self, items: Columns, weights: FloatArray) -> Self:
        self._items, self._weights = items, weights
        return self

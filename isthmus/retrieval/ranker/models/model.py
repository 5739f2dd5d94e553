"""The contract of a ranker model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.ranker.examples import Examples

MAX_DEVIATIONS = 8.0
MIN_DEVIATION = 1e-3
STANDARDISED_ROWS = 100_000  # rows that mean and deviation of the features are taken of


class RankerModel(ABC):
    """Scores the candidates of users from their features.

    Scores order the candidates of one user; `Calibration` makes them comparable between users.

    Parameters
    ----------
    columns : sequence of str
        Names of the features, in the order of the arrays that it is given.
    """

    name: ClassVar[str]

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)

    @abstractmethod
    def fit(self, examples: Examples, start: RankerModel | None = None) -> Self:
        """Learn from examples.

        Parameters
        ----------
        examples : Examples
            The examples.
        start : RankerModel, optional
            A trained model to go on from; one of another class has no effect.
        """

    @abstractmethod
    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the scores of candidates, float32, shape (n_candidates,).

        Parameters
        ----------
        features : numpy.ndarray
            Shape (n_candidates, n_columns).
        starts : numpy.ndarray
            int64, shape (n_users + 1,): where the candidates of each user begin.
        """

    @abstractmethod
    def state(self) -> ArrayState:
        """Return what was learned, as arrays."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""

    def description(self) -> dict[str, Any]:
        """Return what makes an untrained model of the same kind, see `restored_model`."""
        return {"name": self.name}

    @property
    def size(self) -> int:
        """Number of learned parameters."""
        return sum(int(np.size(values)) for values in self.state().values())


class Scaling:
    """Standardises features: by their mean and deviation, and no further away than 8 of these.

    A feature that is constant keeps its unit, since it may vary in use.
    """

    def __init__(self, mean: FloatArray, deviation: FloatArray) -> None:
        self.mean, self.deviation = mean, deviation

    @classmethod
    def of(cls, features: FloatArray) -> Scaling:
        """Take mean and deviation of every column of features, (n_candidates, n_columns)."""
        sample = features[:: max(1, len(features) // STANDARDISED_ROWS)].astype(np.float32)
        if not len(sample):
            width = features.shape[1]
            return cls(np.zeros(width, np.float32), np.ones(width, np.float32))
        varies = sample.min(axis=0) < sample.max(axis=0)
        deviation = np.where(varies, np.maximum(sample.std(axis=0), MIN_DEVIATION), np.float32(1))
        return cls(sample.mean(axis=0), deviation)

    def apply(self, features: FloatArray) -> FloatArray:
        """Return standardised features, float32, in the shape of the input."""
        out = np.subtract(features, self.mean, dtype=np.float32)
        out /= self.deviation
        return np.clip(out, -MAX_DEVIATIONS, MAX_DEVIATIONS, out=out)

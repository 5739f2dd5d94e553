"""A small network over the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.model import RankerModel, Scaling
from isthmus.retrieval.ranker.settings import TrainingSettings

SCORED_ROWS = 16_384  # candidates whose hidden units are in memory at once


class Network(RankerModel):
    """A weighted sum of standardised features, plus a perceptron with one hidden layer.

    It goes on from a linear model, and learns what that leaves.

    Several networks are trained side by side and averaged. The average of such networks is one
    network with all of their hidden units, so it is scored by two matrix products.

    Parameters
    ----------
    columns : sequence of str
        Names of the features.
    settings : TrainingSettings
        Sizes, and how it is trained.
    """

    name: ClassVar[str] = "network"

    def __init__(self, columns: Sequence[str], settings: TrainingSettings | None = None) -> None:
        super().__init__(columns)
        self.scaling: Scaling
        self.weights: ArrayState
        self.settings = settings or TrainingSettings()

    def fit(
        self,
        examples: Examples,
        start: RankerModel | None = None,
        targets: FloatArray | None = None,
    ) -> Self:
        """Train the network, see `RankerModel.fit`.

        Parameters
        ----------
        examples, start
            As for `RankerModel.fit`.
        targets : numpy.ndarray, optional
            float32, shape (n_candidates,): scores of another model, whose order is learned
            together with the labels, see `isthmus.retrieval.ranker.distillation`.
        """
        from isthmus.retrieval.ranker.models.network_training import train_network

        before: ArrayState = {}
        settings = self.settings
        if isinstance(start, Network):
            self.scaling, before = start.scaling, start.weights
            members, hidden = before["last"].shape
            settings = replace(settings, members=members, hidden=hidden)
        elif isinstance(start, Linear):
            self.scaling = start.scaling
            before = {"linear": np.repeat(start.weights[:, None], self.settings.members, axis=1)}
        else:
            self.scaling = Scaling.of(examples.features)
        self.weights = train_network(
            examples, self.scaling, settings, start=before, targets=targets
        )
        return self

    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the scores by the network, see `RankerModel.score`."""
        del starts
        out = np.empty(len(features), np.float32)
        linear = self.weights["linear"].sum(axis=1)
        for first in range(0, len(features), SCORED_ROWS):
            inputs = self.scaling.apply(features[first : first + SCORED_ROWS])
            hidden = inputs @ self.weights["first"]  # (n_rows, members * hidden)
            hidden += self.weights["bias"]
            np.maximum(hidden, 0, out=hidden)
            scores = hidden @ self.weights["last"].ravel() + inputs @ linear
            out[first : first + SCORED_ROWS] = scores / self.weights["linear"].shape[1]
        return out

    def state(self) -> ArrayState:
        """Return weights, means and deviations."""
        scaling = {"mean": self.scaling.mean, "deviation": self.scaling.deviation}
        return {**self.weights, **scaling}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.scaling = Scaling(state["mean"], state["deviation"])
        self.weights = {
            key: np.asarray(value, np.float32)
            for key, value in state.items()
            if key not in ("mean", "deviation")
        }
        return self

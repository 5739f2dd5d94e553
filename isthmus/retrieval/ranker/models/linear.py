"""A linear ranker, fitted in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.listwise import cross_entropy, label_shares
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.average import evidence_columns
from isthmus.retrieval.ranker.models.model import RankerModel, Scaling

PRIOR_WEIGHT = 3.0  # sum over the averaged features
Weights = npt.NDArray[np.float64]


class Linear(RankerModel):
    """A weighted sum of standardised features.

    The loss is the listwise softmax (ListNet; Cao et al., ICML 2007) with an L2 penalty on the
    weights, or on their distance from those of a model that it goes on from. It is convex, and is
    minimised by L-BFGS (Byrd et al., SIAM J. Scientific Computing 1995).

    Parameters
    ----------
    columns : sequence of str
        Names of the features.
    l2 : float
        Weight of the penalty.
    iterations : int
        Iterations of L-BFGS, at most.
    candidates : int
        Candidates of a user that are not relevant and that it learns from; they are sampled.
    """

    name: ClassVar[str] = "linear"

    def __init__(
        self,
        columns: Sequence[str],
        *,
        l2: float = 1e-1,
        iterations: int = 40,
        candidates: int = 200,
    ) -> None:
        super().__init__(columns)
        self.scaling: Scaling
        self.weights: FloatArray
        self.l2, self.iterations, self.candidates = l2, iterations, candidates

    @classmethod
    def prior(cls, columns: Sequence[str], scaling: Scaling) -> Linear:
        """Return a model to start from: an average of the generators, as `Average`.

        With few examples the penalty keeps the weights near it.
        """
        model = cls(columns)
        averaged = evidence_columns(columns)
        model.scaling, model.weights = scaling, np.zeros(len(columns), np.float32)
        model.weights[averaged] = PRIOR_WEIGHT / max(1, len(averaged))
        return model

    def fit(self, examples: Examples, start: RankerModel | None = None) -> Self:
        """Learn the weights, see `RankerModel.fit`."""
        from scipy.optimize import minimize

        if isinstance(start, Linear):
            self.scaling, prior = start.scaling, start.weights.astype(np.float64)
        else:
            self.scaling = Scaling.of(examples.features)
            prior = np.zeros(len(self.columns))
        rng = np.random.default_rng(0)
        examples, corrections = examples.sampled(examples.informative, self.candidates, rng)
        inputs = self.scaling.apply(examples.features)
        starts = examples.starts
        shares = label_shares(examples.labels, starts)

        def penalised(weights: Weights) -> tuple[float, Weights]:
            scores = inputs @ weights.astype(np.float32) + corrections
            loss, gradient = cross_entropy(scores, shares, starts)
            apart = weights - prior
            slope = gradient @ inputs + 2 * self.l2 * apart
            return loss + self.l2 * float(apart @ apart), slope.astype(np.float64)

        options = {"maxiter": self.iterations}
        found = minimize(  # type: ignore[call-overload]
            penalised, prior, jac=True, method="L-BFGS-B", options=options
        )
        self.weights = np.asarray(found.x, np.float32)
        return self

    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the weighted sums, see `RankerModel.score`."""
        del starts
        return np.asarray(self.scaling.apply(features) @ self.weights, np.float32)

    def state(self) -> ArrayState:
        """Return weights, means and deviations."""
        return {
            "weights": self.weights,
            "mean": self.scaling.mean,
            "deviation": self.scaling.deviation,
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.weights = np.asarray(state["weights"], np.float32)
        self.scaling = Scaling(state["mean"], state["deviation"])
        return self

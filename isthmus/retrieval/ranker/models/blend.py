"""A weighted sum of other models: the average of cross-validated ones, or a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.model import RankerModel

STACK_L2 = 1e-5


class Blend(RankerModel):
    """The weighted sum of the scores of some models.

    Parameters
    ----------
    models : sequence of RankerModel
        The models; all read the same columns.
    weights : numpy.ndarray, optional
        float32, shape (n_models,); by default the mean is taken.
    """

    name: ClassVar[str] = "blend"

    def __init__(self, models: Sequence[RankerModel], weights: FloatArray | None = None) -> None:
        super().__init__(models[0].columns)
        self.models = tuple(models)
        equal = np.full(len(models), 1 / len(models), np.float32)
        self.weights = equal if weights is None else weights

    def fit(self, examples: Examples, start: RankerModel | None = None) -> Self:
        """Train each of the models, see `RankerModel.fit`."""
        for model in self.models:
            model.fit(examples, start)
        return self

    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the weighted sums, see `RankerModel.score`."""
        out = np.zeros(len(features), np.float32)
        for model, weight in zip(self.models, self.weights, strict=True):
            out += weight * model.score(features, starts)
        return out

    def state(self) -> ArrayState:
        """Return the weights, and the state of each model under its number."""
        state: ArrayState = {"weights": self.weights}
        for number, model in enumerate(self.models):
            state |= {f"{number}/{key}": value for key, value in model.state().items()}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.weights = np.asarray(state["weights"], np.float32)
        for number, model in enumerate(self.models):
            model.restore(with_prefix(state, f"{number}/"))
        return self

    def description(self) -> dict[str, Any]:
        """Return the models that are blended, see `RankerModel.description`."""
        return {"name": self.name, "models": [model.description() for model in self.models]}


def stack_weights(scores: Sequence[FloatArray], examples: Examples) -> FloatArray:
    """Return the weights, 0 or more, with which a sum of scores orders candidates best.

    Parameters
    ----------
    scores : sequence of numpy.ndarray
        float32, shape (n_candidates,): scores by each model, of candidates of users that it was
        not trained on.
    examples : Examples
        These candidates.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_models,): those of a linear model of the scores.
    """
    columns = tuple(str(number) for number in range(len(scores)))
    features = np.stack(scores, axis=1)
    top = Linear(columns, l2=STACK_L2).fit(replace(examples, columns=columns, features=features))
    weights = np.maximum(top.weights, 0)
    weights = weights if weights.any() else np.ones(len(scores))
    return np.asarray(weights / top.scaling.deviation, np.float32)

"""The ranker models by the names under which they are chosen and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.retrieval.ranker.models.average import Average, SingleGenerator
from isthmus.retrieval.ranker.models.blend import Blend
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.model import RankerModel
from isthmus.retrieval.ranker.models.network import Network
from isthmus.retrieval.ranker.settings import TrainingSettings

MakeModel = Callable[[Sequence[str], TrainingSettings], RankerModel]

# From simple to rich. To add a model, add a class with the contract of `RankerModel`, and a line.
MODELS: dict[str, MakeModel] = {
    Average.name: lambda columns, _: Average(columns),
    Linear.name: lambda columns, settings: Linear(columns, l2=settings.l2),
    Network.name: Network,
}


def restored_model(
    description: Mapping[str, Any], columns: Sequence[str], state: Mapping[str, npt.NDArray[Any]]
) -> RankerModel:
    """Return the model whose description and state these are."""
    return _untrained(description, columns).restore(state)


def _untrained(description: Mapping[str, Any], columns: Sequence[str]) -> RankerModel:
    name = description["name"]
    if name == Blend.name:
        return Blend([_untrained(part, columns) for part in description["models"]])
    if name == SingleGenerator.name:
        return SingleGenerator(columns, description["generator"])
    if name not in MODELS:
        raise InvalidInput(f"no ranker model {name!r} in this version")
    return MODELS[name](columns, TrainingSettings())

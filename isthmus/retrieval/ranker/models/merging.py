"""Merging of the models of a blend, so that a list is scored by a few matrix products.

The weighted sum of linear models that standardise alike is a linear model. The weighted sum of
networks of one hidden layer, and of linear models, is one network with all of their hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isthmus.numerics.arrays import ArrayState
from isthmus.retrieval.ranker.models.blend import Blend
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.model import RankerModel, Scaling
from isthmus.retrieval.ranker.models.network import Network

Weighted = tuple[float, RankerModel]


def merged(model: RankerModel) -> RankerModel:
    """Return a model with the same scores, but for rounding, of fewer parts."""
    parts: list[Weighted] = []
    for weight, leaf in _leaves(model, 1.0):
        for at, (other_weight, other) in enumerate(parts):
            together = _merge(other_weight, other, weight, leaf)
            if together is not None:
                parts[at] = together
                break
        else:
            parts.append((weight, leaf))
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    return Blend([part for _, part in parts], np.array([w for w, _ in parts], np.float32))


def _leaves(model: RankerModel, weight: float) -> Iterator[Weighted]:
    if isinstance(model, Blend):
        for part, part_weight in zip(model.models, model.weights.tolist(), strict=True):
            yield from _leaves(part, weight * part_weight)
    elif weight > 0:
        yield weight, model


def _merge(
    weight: float, one: RankerModel, other_weight: float, other: RankerModel
) -> Weighted | None:
    """Return one model in place of two, and its weight; None if there is none."""
    if one.description() == other.description() and not one.state() and not other.state():
        return weight + other_weight, one
    scaling = _scaling(one)
    if scaling is None or not _same(scaling, _scaling(other)):
        return None
    if isinstance(one, Linear) and isinstance(other, Linear):
        both = Linear(one.columns)
        both.scaling = scaling
        both.weights = weight * one.weights + other_weight * other.weights
        return 1.0, both
    network = Network(one.columns)
    network.scaling = scaling
    parts = [_network_weights(weight, one), _network_weights(other_weight, other)]
    network.weights = {
        "first": np.concatenate([part["first"] for part in parts], axis=1),
        "bias": np.concatenate([part["bias"] for part in parts]),
        "last": np.concatenate([part["last"] for part in parts], axis=1),
        "linear": parts[0]["linear"] + parts[1]["linear"],
    }
    return 1.0, network


def _scaling(model: RankerModel) -> Scaling | None:
    return model.scaling if isinstance(model, Linear | Network) else None


def _same(one: Scaling, other: Scaling | None) -> bool:
    return (
        other is not None
        and np.array_equal(one.mean, other.mean)
        and np.array_equal(one.deviation, other.deviation)
    )


def _network_weights(weight: float, model: RankerModel) -> ArrayState:
    """Return the weights of a network with one member that has the weighted scores of a model."""
    if isinstance(model, Linear):
        width = len(model.columns)
        return {
            "first": np.zeros((width, 0), np.float32),
            "bias": np.zeros(0, np.float32),
            "last": np.zeros((1, 0), np.float32),
            "linear": np.float32(weight) * model.weights[:, None],
        }
    assert isinstance(model, Network)
    share = np.float32(weight / len(model.weights["last"]))
    return {
        "first": model.weights["first"],
        "bias": model.weights["bias"],
        "last": share * model.weights["last"].reshape(1, -1),
        "linear": share * model.weights["linear"].sum(axis=1, keepdims=True),
    }

"""A rating model in a folder: one JSON file that describes it, one file of tensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.durable import write_atomically
from isthmus.errors import CorruptRelease, UnsupportedFormat
from isthmus.files import checksum
from isthmus.numerics.arrays import with_prefix
from isthmus.numerics.mapped_arrays import map_arrays
from isthmus.retrieval.ratings.components import (
    COMPONENTS,
    EVIDENCE,
    Biases,
    ComponentModel,
    Items,
    RatingSettings,
    Scale,
)
from isthmus.retrieval.ratings.content import ContentProjection
from isthmus.retrieval.ratings.factors import FactorModel, UserPrior
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.neighbours import Neighbours, NeighbourSettings
from isthmus.retrieval.ratings.weights import ComponentWeights
from isthmus.schema import FORMAT

DESCRIPTION = "rating.json"
TENSORS = "rating.safetensors"
WEIGHTS = "weights."

Tensors = dict[str, np.ndarray[Any, np.dtype[Any]]]


class Description(BaseModel):
    """What is stored beside the tensors.

    Attributes
    ----------
    format : int
        On-disk format.
    checksum : str
        Checksum of the file of tensors.
    components, evidence : list of str
        The components that are weighted, and the evidence that their weights depend on, in the
        order of the tensors.
    settings : dict
        Hyperparameters, chosen by cross-validation.
    mean, deviation, low, high : float
        Mean, standard deviation, smallest and largest of the ratings.
    noise_variance, concentration : float
        See `UserPrior`.
    """

    model_config = ConfigDict(extra="forbid")

    format: int
    checksum: str
    components: list[str]
    evidence: list[str]
    settings: dict[str, Any]
    mean: float
    deviation: float
    low: float
    high: float
    noise_variance: float
    concentration: float


def save(model: RatingModel, folder: str | Path) -> None:
    """Write a model; the model that `load` returns predicts exactly the same.

    Parameters
    ----------
    model : RatingModel
        The model.
    folder : path
        Made if it does not exist. A model in it is replaced.
    """
    from safetensors.numpy import save as to_bytes

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in _tensors(model).items()}
    write_atomically(folder / TENSORS, to_bytes(tensors))
    scale, prior = model.components.scale, model.components.factors.user_prior
    description = Description(
        format=FORMAT,
        checksum=checksum(folder / TENSORS),
        components=list(COMPONENTS),
        evidence=list(EVIDENCE),
        settings=asdict(model.settings),
        mean=scale.biases.mean,
        deviation=scale.deviation,
        low=model.limits[0],
        high=model.limits[1],
        noise_variance=prior.noise_variance,
        concentration=prior.concentration,
    )
    write_atomically(folder / DESCRIPTION, description.model_dump_json(indent=1).encode())


def load(folder: str | Path) -> RatingModel:
    """Read a model.

    Raises
    ------
    CorruptRelease
        If a file is missing, cut off or changed; the message names it.
    UnsupportedFormat
        If it has another format, or other components.
    """
    folder = Path(folder)
    description = _read_description(folder / DESCRIPTION)
    path = folder / TENSORS
    try:
        intact = checksum(path) == description.checksum
    except OSError:
        intact = False
    if not intact:
        raise CorruptRelease(f"{path} is missing or damaged")
    return _model(description, map_arrays(path))


def _read_description(path: Path) -> Description:
    try:
        content = json.loads(path.read_bytes())
        stored_format = content["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptRelease(f"{path} is missing or damaged") from error
    if stored_format != FORMAT:
        raise UnsupportedFormat(
            f"{path} has format {stored_format!r}, this version of Isthmus reads format {FORMAT}"
        )
    try:
        description = Description.model_validate(content)
    except ValidationError as error:
        raise CorruptRelease(f"{path} is damaged") from error
    names = tuple(description.components), tuple(description.evidence)
    if names != (COMPONENTS, EVIDENCE):
        raise UnsupportedFormat(
            f"{path} weighs {', '.join(description.components)} by "
            f"{', '.join(description.evidence)}, this version of Isthmus {', '.join(COMPONENTS)} "
            f"by {', '.join(EVIDENCE)}"
        )
    return description


def _tensors(model: RatingModel) -> Tensors:
    components, factors = model.components, model.components.factors
    covariances = components.neighbours.covariances
    return {
        "biases.domains": components.scale.biases.domains,
        "counts": components.counts,
        "items.features": components.items.features,
        "items.domains": components.items.domains,
        "factors.means": factors.means,
        "factors.covariances": factors.covariances,
        "factors.weights": factors.weights,
        "factors.item_covariance": factors.item_covariance,
        "factors.user_covariance": factors.user_prior.covariance,
        "neighbours.data": covariances.data,
        "neighbours.indices": covariances.indices,
        "neighbours.indptr": covariances.indptr,
        "projection.means": model.projection.means,
        "projection.components": model.projection.components,
        **{WEIGHTS + name: tensor for name, tensor in model.weights.tensors.items()},
    }


def _model(description: Description, tensors: Tensors) -> RatingModel:
    from scipy.sparse import csr_array

    settings = dict(description.settings)
    neighbours = NeighbourSettings(**settings.pop("neighbours"))
    items = Items(tensors["items.features"], tensors["items.domains"])
    parts = (tensors[f"neighbours.{name}"] for name in ("data", "indices", "indptr"))
    covariances = csr_array(tuple(parts), shape=(len(items), len(items)))
    prior = UserPrior(
        tensors["factors.user_covariance"],
        description.noise_variance,
        description.concentration,
    )
    components = ComponentModel(
        scale=Scale(Biases(description.mean, tensors["biases.domains"]), description.deviation),
        counts=tensors["counts"],
        factors=FactorModel(
            tensors["factors.means"],
            tensors["factors.covariances"],
            tensors["factors.weights"],
            tensors["factors.item_covariance"],
            prior,
        ),
        neighbours=Neighbours(neighbours, covariances),
        items=items,
    )
    return RatingModel(
        components=components,
        weights=ComponentWeights(with_prefix(tensors, WEIGHTS)),
        projection=ContentProjection(tensors["projection.means"], tensors["projection.components"]),
        limits=(description.low, description.high),
        settings=RatingSettings(**settings, neighbours=neighbours),
    )

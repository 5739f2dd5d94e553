"""A rating model in a folder: one JSON file that tells what it is, one file of tensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.errors import CorruptRelease, UnsupportedFormat
from isthmus.index.files import checksum, write_atomically
from isthmus.retrieval.ratings.components import EVIDENCE, PARTS, Items, Levels, PartModel, Settings
from isthmus.retrieval.ratings.content import ContentBasis
from isthmus.retrieval.ratings.factors import Factors, Noise
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.neighbours import Neighbours, NeighbourSettings
from isthmus.retrieval.ratings.weights import Head

if TYPE_CHECKING:
    from scipy.sparse import csr_array

VERSION = 1
ABOUT = "rating.json"
TENSORS = "rating.safetensors"
REMEDY = "train the rating model again, or go back to an older release"

Tensors = dict[str, np.ndarray[Any, np.dtype[Any]]]


class About(BaseModel):
    """What is beside the tensors.

    Attributes
    ----------
    version : int
        Of this format.
    checksum : str
        Of the file of tensors.
    parts, evidence : list of str
        What the head was trained to weigh, and by.
    settings : dict
        As chosen by cross-validation.
    mean, deviation, low, high, variance, sameness : float
        Of the ratings, and of users in general.
    """

    model_config = ConfigDict(extra="forbid")

    version: int
    checksum: str
    parts: list[str]
    evidence: list[str]
    settings: dict[str, Any]
    mean: float
    deviation: float
    low: float
    high: float
    variance: float
    sameness: float


def save(model: RatingModel, folder: str | Path) -> None:
    """Write a model; what `load` gives predicts exactly the same.

    Parameters
    ----------
    model : RatingModel
        What to write.
    folder : path
        Made where it is not there. A model in it is replaced.
    """
    from safetensors.numpy import save as to_bytes

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(own) for name, own in _tensors(model).items()}
    write_atomically(folder / TENSORS, to_bytes(tensors))
    parts = model.parts
    about = About(
        version=VERSION,
        checksum=checksum(folder / TENSORS),
        parts=list(PARTS),
        evidence=list(EVIDENCE),
        settings=asdict(model.settings),
        mean=parts.levels.mean,
        deviation=parts.deviation,
        low=model.scale[0],
        high=model.scale[1],
        variance=parts.factors.noise.variance,
        sameness=parts.factors.noise.sameness,
    )
    write_atomically(folder / ABOUT, about.model_dump_json(indent=1).encode())


def load(folder: str | Path) -> RatingModel:
    """Read a model.

    Raises
    ------
    CorruptRelease
        If a file is missing, cut off or changed; the message names it.
    UnsupportedFormat
        If it was written by a version that made it otherwise.
    """
    folder = Path(folder)
    about = _about(folder / ABOUT)
    path = folder / TENSORS
    try:
        intact = checksum(path) == about.checksum
    except OSError:
        intact = False
    if not intact:
        raise CorruptRelease(f"{path} is missing or damaged; {REMEDY}")
    from safetensors.numpy import load_file

    return _model(about, load_file(path))


def _about(path: Path) -> About:
    try:
        found = json.loads(path.read_bytes())
        version = found["version"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptRelease(f"{path} is missing or damaged; {REMEDY}") from error
    if version != VERSION:
        raise UnsupportedFormat(
            f"{path} has version {version!r}; this version of Isthmus reads version {VERSION}: "
            "install the version of Isthmus that wrote it, or train the rating model again"
        )
    try:
        about = About.model_validate(found)
    except ValidationError as error:
        raise CorruptRelease(f"{path} is damaged; {REMEDY}") from error
    if (tuple(about.parts), tuple(about.evidence)) != (PARTS, EVIDENCE):
        raise UnsupportedFormat(
            f"{path} weighs {', '.join(about.parts)}, this version of Isthmus {', '.join(PARTS)}; "
            "install the version of Isthmus that wrote it, or train the rating model again"
        )
    return about


def _tensors(model: RatingModel) -> Tensors:
    parts, factors = model.parts, model.parts.factors
    similar = parts.neighbours.similar
    return {
        "levels": parts.levels.offsets,
        "counts": parts.counts,
        "items.features": parts.items.features,
        "items.domains": parts.items.domains,
        "factors.means": factors.means,
        "factors.covariances": factors.covariances,
        "factors.weights": factors.weights,
        "factors.spread": factors.spread,
        "noise.prior": factors.noise.prior,
        "similar.data": similar.data,
        "similar.columns": similar.indices,
        "similar.starts": similar.indptr,
        "content.centres": model.basis.centres,
        "content.axes": model.basis.axes,
        **{f"head.{name}": tensor for name, tensor in model.head.tensors.items()},
    }


def _model(about: About, own: Tensors) -> RatingModel:
    settings = dict(about.settings)
    neighbours = NeighbourSettings(**settings.pop("neighbours"))
    items = Items(own["items.features"], own["items.domains"])
    parts = PartModel(
        levels=Levels(about.mean, own["levels"]),
        deviation=about.deviation,
        counts=own["counts"],
        factors=Factors(
            own["factors.means"],
            own["factors.covariances"],
            own["factors.weights"],
            own["factors.spread"],
            Noise(own["noise.prior"], about.variance, about.sameness),
        ),
        neighbours=Neighbours(neighbours, _similar(own, len(items))),
        items=items,
    )
    start = "head."
    head = {name[len(start) :]: own[name] for name in own if name.startswith(start)}
    return RatingModel(
        parts=parts,
        head=Head(head),
        basis=ContentBasis(own["content.centres"], own["content.axes"]),
        scale=(about.low, about.high),
        settings=Settings(**settings, neighbours=neighbours),
    )


def _similar(own: Tensors, items: int) -> csr_array:
    from scipy.sparse import csr_array

    data = own["similar.data"], own["similar.columns"], own["similar.starts"]
    return csr_array(data, shape=(items, items))

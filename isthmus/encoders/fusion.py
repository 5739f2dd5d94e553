"""Fusion: from one vector per modality to the named vectors of an item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.requests import require_mapping
from isthmus.schema import Modality

ModalityWeights = Mapping[str, float]

# The weight that 0 stands for. A modality of weight 0 still represents items without another one.
MIN_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class MaskedVectors:
    """Vectors of one named vector for some items.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_items, dim); rows of unit norm, zero where absent.
    present : numpy.ndarray
        bool, shape (n_items,): whether the item has a vector.
    """

    vectors: FloatArray
    present: npt.NDArray[np.bool_]


def validated_weights(
    weights: ModalityWeights, modalities: Iterable[Modality]
) -> dict[Modality, float]:
    """Return fusion weights of some modalities of a space, checked.

    A weight of 0 becomes `MIN_WEIGHT`: that modality counts only for items that have no other.

    Parameters
    ----------
    weights : mapping of str to float
        A weight per modality, at least 0.
    modalities : iterable of str
        Modalities for which the space has encoders.

    Raises
    ------
    InvalidInput
        If a modality has no encoder, or a weight is not a finite number of at least 0.

    Examples
    --------
    >>> validated_weights({"image": 2}, ["text", "image"])
    {'image': 2.0}
    """
    by_name = {str(modality): modality for modality in modalities}
    checked: dict[Modality, float] = {}
    require_mapping(weights, "weights")
    for name, weight in weights.items():
        if name not in by_name:
            raise InvalidInput(
                f"there is a weight for {name!r}, but this space has encoders for "
                f"{', '.join(by_name)} only"
            )
        if not (
            isinstance(weight, (int, float, np.number)) and np.isfinite(weight) and weight >= 0
        ):
            raise InvalidInput(f"the weight of {name} is {weight!r}; give a number from 0")
        checked[by_name[name]] = max(float(weight), MIN_WEIGHT)
    return checked


def fuse(
    named_vectors: Sequence[NamedVector],
    weights: Mapping[Modality, float],
    parts: Mapping[Modality, MaskedVectors],
    alignment: Alignment | None = None,
) -> dict[str, MaskedVectors]:
    """Fuse the vectors of modalities into named vectors: their weighted mean, at unit norm.

    An absent modality has no part in the mean, and its weight has no effect.

    Parameters
    ----------
    named_vectors : sequence of NamedVector
        The named vectors of an item.
    weights : mapping of str to float
        Weight of each modality within its named vector; 1 for modalities without one.
    parts : mapping of str to MaskedVectors
        Vectors of each modality's encoder, shape (n_items, dim).
    alignment : Alignment, optional
        Projects the vectors of encoders into the aligned named vector.

    Returns
    -------
    dict of str to MaskedVectors
        One entry for each named vector that shares a modality with `parts`.
    """
    fused = {}
    for named_vector in named_vectors:
        weighted = [
            (weights.get(m, 1.0), _aligned(m, parts[m], named_vector, alignment))
            for m in named_vector.modalities
            if m in parts
        ]
        if weighted:
            single = len(weighted) == 1
            fused[named_vector.name] = weighted[0][1] if single else _weighted_mean(weighted)
    return fused


def _aligned(
    modality: Modality, part: MaskedVectors, named_vector: NamedVector, alignment: Alignment | None
) -> MaskedVectors:
    """Return the vectors of a modality in the space of a named vector."""
    if not named_vector.alignment:
        return part
    if alignment is None or alignment.fingerprint != named_vector.alignment:
        raise ValueError(
            f"named vector {named_vector.name} needs alignment {named_vector.alignment}"
        )
    vectors = np.zeros((len(part.vectors), named_vector.dim), np.float32)
    vectors[part.present] = alignment.align(modality, part.vectors[part.present])
    return MaskedVectors(vectors, part.present)


def _weighted_mean(weighted: Sequence[tuple[float, MaskedVectors]]) -> MaskedVectors:
    total = sum(weight * part.present[:, None] * part.vectors for weight, part in weighted)
    vectors = np.asarray(total, np.float32)  # (n_items, dim)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n_items, 1)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return MaskedVectors(unit, (norms > 0)[:, 0])

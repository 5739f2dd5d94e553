"""Fusion: from the vectors of modalities to the named vectors of an item vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

ModalityWeights = Mapping[str, float]
MIN_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class MaskedVectors:
    """Vectors of one named vector for some items.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_items, dim); unit rows, zero where absent.
    present : numpy.ndarray
        bool, shape (n_items,).
    """

    vectors: FloatArray
    present: npt.NDArray[np.bool_]


def validated_weights(
    weights: ModalityWeights, modalities: Iterable[Modality]
) -> dict[Modality, float]:
    """Check the fusion weights that somebody gives for some of the modalities of a space.

    A weight of zero stands for a very small one: that modality counts only for items that have
    no other.

    Raises
    ------
    InvalidInput
        If a modality has no encoder, or a weight is no finite number from 0.

    Examples
    --------
    >>> validated_weights({"image": 2}, ["text", "image"])
    {'image': 2.0}
    """
    known = {str(modality): modality for modality in modalities}
    checked: dict[Modality, float] = {}
    for name, weight in weights.items():
        if name not in known:
            raise InvalidInput(
                f"there is a weight for {name!r}, but this space has encoders for "
                f"{', '.join(known)} only"
            )
        if not (
            isinstance(weight, (int, float, np.number)) and np.isfinite(weight) and weight >= 0
        ):
            raise InvalidInput(f"the weight of {name} is {weight!r}; give a number from 0")
        checked[known[name]] = max(float(weight), MIN_WEIGHT)
    return checked


def fuse(
    named_vectors: Sequence[NamedVector],
    weights: Mapping[Modality, float],
    parts: Mapping[Modality, MaskedVectors],
    alignment: Alignment | None = None,
) -> dict[str, MaskedVectors]:
    """Join modality vectors into named vector vectors: their weighted mean, at unit norm.

    An absent modality has no part in the mean, so its weight is of no account.

    Parameters
    ----------
    named_vectors : sequence of NamedVector
        The named vectors of the item vectors.
    weights : mapping of str to float
        Weight of each modality within its named vector, 1 where not given.
    parts : mapping of str to MaskedVectors
        Vectors of each modality as its encoder makes them, shape (n_items, dim).
    alignment : Alignment, optional
        What makes the vectors of the aligned named vector of those of the encoders.

    Returns
    -------
    dict of str to MaskedVectors
        One entry for each named vector that has a modality among the parts.
    """
    fused = {}
    for named_vector in named_vectors:
        given = [
            (weights.get(m, 1.0), _aligned(m, parts[m], named_vector, alignment))
            for m in named_vector.modalities
            if m in parts
        ]
        if given:
            fused[named_vector.name] = given[0][1] if len(given) == 1 else _weighted_mean(given)
    return fused


def _aligned(
    modality: Modality, part: MaskedVectors, named_vector: NamedVector, alignment: Alignment | None
) -> MaskedVectors:
    """Give a modality's vectors as they lie in a named vector."""
    if not named_vector.alignment:
        return part
    if alignment is None or alignment.fingerprint != named_vector.alignment:
        raise ValueError(
            f"named vector {named_vector.name} needs alignment {named_vector.alignment}"
        )
    vectors = np.zeros((len(part.vectors), named_vector.dim), np.float32)
    vectors[part.present] = alignment.align(modality, part.vectors[part.present])
    return MaskedVectors(vectors, part.present)


def _weighted_mean(given: Sequence[tuple[float, MaskedVectors]]) -> MaskedVectors:
    total = sum(weight * part.present[:, None] * part.vectors for weight, part in given)
    vectors = np.asarray(total, np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return MaskedVectors(unit, (norms > 0)[:, 0])

"""Contents made comparable across domains, and short: centred per domain, then projected.

Centring takes away what all items of a domain share, which is most of the distance between two
domains; the projection is a principal component analysis, partly whitened.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.retrieval.candidates.generator import State
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.training_data import TrainingData

SAMPLE = 20_000
Normalisation = Literal["none", "centre", "whiten"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


@dataclass
class FeatureProjection:
    """A linear map of content vectors, learned from the contents alone.

    Attributes
    ----------
    dim : int
        Length of what comes out, at most.
    normalisation : str
        ``"none"``; ``"centre"``: the mean of its domain is taken from each vector; ``"whiten"``:
        the same, and the components are divided by the square root of their deviation.
    seed : int
        Of the sample that is looked at.
    """

    dim: int = 64
    normalisation: Normalisation = "whiten"
    seed: int = 0

    def fit(self, corpus: TrainingData) -> Self:
        """Learn means and directions."""
        rng = np.random.default_rng(self.seed)
        sample = np.sort(rng.permutation(len(corpus))[:SAMPLE])
        vectors = corpus.contents.at(sample)
        told = vectors.any(axis=1)
        vectors, domains = vectors[told], corpus.domains[sample][told]
        self._means = np.zeros((len(corpus.domain_names), corpus.contents.dim), np.float32)
        if self.normalisation != "none":
            for code in np.unique(domains):
                self._means[code] = vectors[domains == code].mean(axis=0)
        self._directions = self._principal(vectors - self._means[domains])
        return self

    def of(self, contents: ItemFeatures, domains: Columns, columns: Columns) -> FloatArray:
        """Map the contents of items, float32, shape (len(columns), dim), unit length or zero."""
        vectors = contents.at(columns)
        told = vectors.any(axis=1, keepdims=True)
        mapped = (vectors - self._means[domains[columns]]) @ self._directions
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-6)
        return np.where(told, mapped, 0).astype(np.float32)

    def without(self, part: slice) -> FeatureProjection:
        """Give the map that does not see some components of content vectors."""
        blind = copy(self)
        blind._directions = self._directions.copy()
        blind._directions[part] = 0
        return blind

    def begins(self, other: FeatureProjection) -> bool:
        """Tell whether this gives the first components that another gives, at unit length."""
        directions = other._directions[:, : self.width]
        return np.array_equal(self._means, other._means) and np.array_equal(
            self._directions, directions
        )

    @property
    def width(self) -> int:
        """Length of what comes out."""
        return int(self._directions.shape[1])

    def state(self) -> State:
        """Give means and directions."""
        return {"means": self._means, "directions": self._directions}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take means and directions."""
        self._means, self._directions = state["means"], state["directions"]
        return self

    def _principal(self, vectors: FloatArray) -> FloatArray:
        dim = min(self.dim, vectors.shape[1])
        if not len(vectors):
            return np.zeros((vectors.shape[1], dim), np.float32)
        covariance = vectors.astype(np.float64).T @ vectors / len(vectors)
        values, directions = np.linalg.eigh(covariance)
        values, directions = values[::-1][:dim], directions[:, ::-1][:, :dim]
        if self.normalisation == "whiten":
            directions = directions / np.maximum(values, values[0] * 1e-3 + 1e-12) ** 0.25
        return directions.astype(np.float32)

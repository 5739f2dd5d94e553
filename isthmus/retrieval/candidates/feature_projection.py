"""Projection of content vectors: centred per domain, then partly whitened PCA.

Centring removes what all items of a domain share, which is most of the distance between two
domains. The projection makes content comparable across domains, and shorter.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.settings import Normalisation

SAMPLE_SIZE = 20_000
COARSE_DIM = 64
BATCH_SIZE = 8_192  # items that are projected at once


@dataclass
class FeatureProjection:
    """A linear map of content vectors, fitted to the vectors alone.

    Attributes
    ----------
    dim : int
        Length of a projected vector, at most.
    normalisation : str
        ``"none"``: no centring. ``"centre"``: the mean of its domain is subtracted from each
        vector. ``"whiten"``: as ``"centre"``, and the components are divided by the square root
        of their standard deviation.
    seed : int
        Of the sample of items that it is fitted to.
    """

    dim: int = 64
    normalisation: Normalisation = "whiten"
    seed: int = 0

    def fit(self, features: ItemFeatures, domains: Columns, n_domains: int) -> Self:
        """Estimate the domain means and the principal directions.

        Parameters
        ----------
        features : ItemFeatures
            Of all items.
        domains : numpy.ndarray
            int64, shape (n_items,): the domain code of each item.
        n_domains : int
            Number of domain codes.
        """
        rng = np.random.default_rng(self.seed)
        sample = np.sort(rng.permutation(len(domains))[:SAMPLE_SIZE])
        vectors = features.take(sample)
        nonzero = vectors.any(axis=1)
        vectors, sampled_domains = vectors[nonzero], domains[sample][nonzero]
        self._means = np.zeros((n_domains, features.dim), np.float32)
        if self.normalisation != "none":
            for code in np.unique(sampled_domains):
                self._means[code] = vectors[sampled_domains == code].mean(axis=0)
        self._directions = self._principal(vectors - self._means[sampled_domains])
        return self

    def transform(self, features: ItemFeatures, domains: Columns, columns: Columns) -> FloatArray:
        """Project the vectors of items, float32, shape (len(columns), width), unit or zero."""
        out = np.zeros((len(columns), self.width), np.float32)
        for start in range(0, len(columns), BATCH_SIZE):
            part = columns[start : start + BATCH_SIZE]
            vectors = features.take(part)
            nonzero = vectors.any(axis=1, keepdims=True)
            projected = (vectors - self._means[domains[part]]) @ self._directions
            projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-6)
            out[start : start + BATCH_SIZE] = np.where(nonzero, projected, 0)
        return out

    def without_components(self, components: slice) -> FeatureProjection:
        """Return the projection that ignores some components of the content vectors."""
        blind = copy(self)
        blind._directions = self._directions.copy()
        blind._directions[components] = 0
        return blind

    def is_prefix_of(self, other: FeatureProjection) -> bool:
        """Return whether this computes the first components of another one, at unit length."""
        directions = other._directions[:, : self.width]
        return np.array_equal(self._means, other._means) and np.array_equal(
            self._directions, directions
        )

    @property
    def width(self) -> int:
        """Length of a projected vector."""
        return int(self._directions.shape[1])

    def state(self) -> ArrayState:
        """Return means and directions."""
        return {"means": self._means, "directions": self._directions}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self._means, self._directions = state["means"], state["directions"]
        return self

    def _principal(self, vectors: FloatArray) -> FloatArray:
        """Return the scaled principal directions, shape (vectors.shape[1], dim)."""
        dim = min(self.dim, vectors.shape[1])
        if not len(vectors):
            return np.zeros((vectors.shape[1], dim), np.float32)
        covariance = vectors.astype(np.float64).T @ vectors / len(vectors)
        values, directions = np.linalg.eigh(covariance)  # ascending
        values, directions = values[::-1][:dim], directions[:, ::-1][:, :dim]
        if self.normalisation == "whiten":
            # Full whitening divides by values ** 0.5 and amplifies noise; this is half of it.
            directions = directions / np.maximum(values, values[0] * 1e-3 + 1e-12) ** 0.25
        return directions.astype(np.float32)


@dataclass(frozen=True, eq=False)
class ProjectedFeatures:
    """The content vectors of items as a projection maps them.

    Attributes
    ----------
    projection : FeatureProjection
        The projection.
    vectors : numpy.ndarray
        float32, shape (n_items, width), unit or zero. New items differ in nothing but their
        contents, and the smaller components, too, separate them.
    """

    projection: FeatureProjection
    vectors: FloatArray

    def take(self, columns: Columns) -> FloatArray:
        """Return the projected vectors of items, float32, shape (len(columns), width)."""
        return self.vectors[columns]


def coarse(vectors: FloatArray) -> FloatArray:
    """Return the 64 largest components of projected vectors, (n_items, 64), unit or zero."""
    components = vectors[:, :COARSE_DIM]
    norms = np.linalg.norm(components, axis=1, keepdims=True)
    return np.asarray(components / np.maximum(norms, 1e-6), np.float32)

"""The projected contents of the items of a release: computed once, shared between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.index.releases.view import View
from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.candidates.feature_projection import FeatureProjection, ProjectedFeatures
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.space_data import ViewItemFeatures, codes_of

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReleaseContents:
    """The contents of all rows of a release, as the projection of its recommender maps them.

    They are computed when a release is built. A recommender that has none computes them when it
    is loaded, in each process.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_rows, width), unit or zero; zero where the recommender does not know the
        domain.
    weights : numpy.ndarray
        float64, shape (n_vectors,): the weights of the named vectors that they were made with.
    """

    vectors: FloatArray
    weights: Float64Array

    @classmethod
    def of(cls, recommender: Recommender, view: View, weights: Mapping[str, float]) -> Self:
        """Project the contents of all rows of a view.

        Parameters
        ----------
        recommender : Recommender
            Has the projection.
        view : View
            The items of a release that is being built.
        weights : mapping of str to float
            Weight of each named vector.
        """
        rows = np.arange(len(view.living.rows))
        features = ViewItemFeatures(view, rows, weights, recommender.vector_names)
        projection = recommender.statistics.projection
        domains = codes_of(view.item_domains(rows), recommender.domain_names)
        vectors = np.zeros((len(rows), projection.width), np.float32)
        known = np.flatnonzero(domains >= 0)
        vectors[known] = projection.transform(features, domains, known)
        return cls(vectors, _weights_of(recommender.vector_names, weights))

    def fits(self, features: ViewItemFeatures, projection: FeatureProjection) -> bool:
        """Return whether these are the contents of the release of some features, so projected."""
        weights = _weights_of(features.vector_names, features.weights)
        shape = (features.view.release_rows, projection.width)
        # One vector alone is brought to unit length, whatever its weight.
        same = len(weights) == 1 or np.array_equal(weights, self.weights)
        return self.vectors.shape == shape and len(weights) == len(self.weights) and same

    def state(self) -> ArrayState:
        """Return vectors and weights."""
        return {"vectors": self.vectors, "weights": self.weights}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the contents of which `state` was stored."""
        return cls(state["vectors"], state["weights"])


def _weights_of(names: tuple[str, ...], weights: Mapping[str, float]) -> Float64Array:
    return np.array([weights.get(name, 1.0) for name in names], np.float64)


@dataclass(frozen=True, eq=False)
class ViewContents(ProjectedFeatures):
    """The projected contents of items of a view: of a release, then of what was added since.

    Attributes
    ----------
    rows : numpy.ndarray
        int64, shape (n_items,): row of each item; -1 for a deleted one, whose contents are zero.
    newer : numpy.ndarray
        float32, shape (n_newer, width): those of the rows after the release.
    """

    rows: Columns
    newer: FloatArray

    @classmethod
    def of(
        cls,
        projection: FeatureProjection,
        release: ReleaseContents,
        features: ViewItemFeatures,
        domains: Columns,
    ) -> Self:
        """Return the contents of items: those of the release, and others, projected now.

        Parameters
        ----------
        projection : FeatureProjection
            The projection.
        release : ReleaseContents
            What the release has; it fits.
        features : ViewItemFeatures
            Of the items.
        domains : numpy.ndarray
            int64, shape (n_items,): their domain codes.
        """
        first, rows = len(release.vectors), features.rows
        newer = np.zeros((len(features.view.living.rows) - first, projection.width), np.float32)
        columns = np.flatnonzero(rows >= first)
        newer[rows[columns] - first] = projection.transform(features, domains, columns)
        return cls(projection, release.vectors, rows, newer)

    def take(self, columns: Columns) -> FloatArray:
        """Return the projected vectors of items, float32, shape (len(columns), width)."""
        rows, first = self.rows[columns], len(self.vectors)
        if not len(rows) or (rows.min() >= 0 and rows.max() < first):
            return self.vectors[rows]
        out = np.zeros((len(rows), self.projection.width), np.float32)
        released, newer = (rows >= 0) & (rows < first), rows >= first
        out[released] = self.vectors[rows[released]]
        out[newer] = self.newer[rows[newer] - first]
        return out

"""The content of items as features: centred by domain, reduced to principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.retrieval.ratings.ratings import Codes, Floats

Features = npt.NDArray[np.float32]
MAX_COMPONENTS = 128
MIN_VARIANCE_SHARE = 1e-6
INITIAL_SHARE = 0.1


@dataclass(frozen=True)
class ContentProjection:
    """A linear map from content vectors to features.

    Attributes
    ----------
    means : numpy.ndarray
        float32, shape (n_domains + 1, dim): the mean vector of each domain, and that of all.
    components : numpy.ndarray
        float32, shape (dim, n_features): principal components, the largest variance first, scaled
        so that features have a mean squared norm of 1.
    """

    means: Features
    components: Features

    @classmethod
    def fit(cls, vectors: Features, domains: Codes) -> ContentProjection:
        """Learn from the vectors of items; rows of zeros have no content and are ignored."""
        vectors = checked_vectors(vectors)
        present = vectors.any(axis=1)
        n_domains = int(domains.max(initial=-1)) + 1
        means = np.zeros((n_domains + 1, vectors.shape[1]), np.float32)
        if present.any():
            means[:] = vectors[present].mean(axis=0)
        for domain in np.unique(domains[present]):
            means[domain] = vectors[present & (domains == domain)].mean(axis=0)
        centred = (vectors[present] - means[domains[present]]).astype(np.float64)
        variances, axes = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
        smallest = MIN_VARIANCE_SHARE * variances.max(initial=1e-12)
        kept = np.flatnonzero(variances > smallest)[::-1][:MAX_COMPONENTS]
        scale = np.sqrt(variances[kept].sum()) if len(kept) else 1.0
        return cls(means, (axes[:, kept] / scale).astype(np.float32))

    def transform(self, vectors: Features, domains: Codes) -> Features:
        """Return the features of items, float32, shape (n_items, n_features); zeros stay zeros."""
        vectors = checked_vectors(vectors)
        if vectors.shape[1] != len(self.components):
            raise InvalidInput(
                f"the vectors have {vectors.shape[1]} numbers, those of the training had "
                f"{len(self.components)}; encode with the same encoder, or train again"
            )
        last = len(self.means) - 1  # an unknown domain is centred by the mean of all
        centred = vectors - self.means[np.minimum(domains, last)]
        centred[~vectors.any(axis=1)] = 0
        return np.asarray(centred @ self.components, np.float32)


class ContentPrior:
    """Ridge regression from features to the parameters of items, with a learned ridge.

    The weights to parameter j have the prior ``N(0, o_j I)``, and o_j is learned by expectation
    maximisation.

    Parameters
    ----------
    features : numpy.ndarray
        float64, shape (n_items, n_features): features of the items that have ratings.
    width : int
        Number of parameters of an item.
    """

    def __init__(self, features: Floats, width: int) -> None:
        self._features = features
        self._eigenvalues, self._axes = np.linalg.eigh(features.T @ features)
        self._eigenvalues = np.maximum(self._eigenvalues, 0)
        self._variances: Floats | None = None
        self._width = width

    def fit(self, means: Floats, residual: Floats) -> Floats:
        """Take one step of expectation maximisation.

        Parameters
        ----------
        means : numpy.ndarray
            Shape (n_items, width): posterior means of the parameters.
        residual : numpy.ndarray
            Shape (width,): their variance around the regression.

        Returns
        -------
        numpy.ndarray
            The weights, float64, shape (n_features, width).
        """
        n_features = self._features.shape[1]
        total = float(self._eigenvalues.sum())
        if not total > 0:
            return np.zeros((n_features, self._width))
        if self._variances is None:
            self._variances = INITIAL_SHARE * residual * len(means) / total
        ridge = residual / np.maximum(self._variances, 1e-12)
        shrunk = self._eigenvalues[:, None] + ridge  # (n_features, width)
        rotated = (self._axes.T @ (self._features.T @ means)) / shrunk
        self._variances = ((rotated**2).sum(axis=0) + (residual / shrunk).sum(axis=0)) / n_features
        return np.asarray(self._axes @ rotated, np.float64)


def unit_rows(features: Features) -> Features:
    """Return rows at norm 1; rows of zeros stay."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12), np.float32)


def checked_vectors(vectors: Features) -> Features:
    """Return vectors as float32, shape (n_items, dim).

    Raises
    ------
    InvalidInput
        If they are not a matrix, or one is not finite.
    """
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2:
        raise InvalidInput(f"the vectors have shape {array.shape}; give one row an item")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise InvalidInput(
            f"the vector of item {bad[0]} is not finite; give zeros where there is no content"
        )
    return array

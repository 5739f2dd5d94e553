"""The content of items, centred in each domain and reduced to its principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.retrieval.ratings.ratings import Codes, Floats

FIRST_SHARE = 0.1

Features = npt.NDArray[np.float32]
MOST = 128


@dataclass(frozen=True)
class ContentBasis:
    """How vectors become features.

    Attributes
    ----------
    centres : numpy.ndarray
        float32, shape (n_domains + 1, dim): the mean vector of each domain, and that of all.
    axes : numpy.ndarray
        float32, shape (dim, n_features): principal components, the widest first, scaled so that
        features have a mean squared norm of 1.
    """

    centres: Features
    axes: Features

    @classmethod
    def fit(cls, vectors: Features, domains: Codes) -> ContentBasis:
        """Learn from the vectors of items; a row of zeros has no content and is passed over."""
        vectors = checked_vectors(vectors)
        there = vectors.any(axis=1)
        count = int(domains.max(initial=-1)) + 1
        centres = np.zeros((count + 1, vectors.shape[1]), np.float32)
        if there.any():
            centres[:] = vectors[there].mean(axis=0)
        for domain in np.unique(domains[there]):
            centres[domain] = vectors[there & (domains == domain)].mean(axis=0)
        centred = (vectors[there] - centres[domains[there]]).astype(np.float64)
        spread, axes = np.linalg.eigh(centred.T @ centred / max(len(centred), 1))
        kept = np.flatnonzero(spread > 1e-6 * spread.max(initial=1e-12))[::-1][:MOST]
        scale = np.sqrt(spread[kept].sum()) if len(kept) else 1.0
        return cls(centres, (axes[:, kept] / scale).astype(np.float32))

    def features(self, vectors: Features, domains: Codes) -> Features:
        """Give the features of items, float32, shape (n_items, n_features); zeros stay zeros."""
        vectors = checked_vectors(vectors)
        if vectors.shape[1] != len(self.axes):
            raise InvalidInput(
                f"the vectors have {vectors.shape[1]} numbers, those of the training had "
                f"{len(self.axes)}; encode with the same encoder, or train again"
            )
        last = len(self.centres) - 1
        centred = vectors - self.centres[np.minimum(domains, last)]
        centred[~vectors.any(axis=1)] = 0
        return np.asarray(centred @ self.axes, np.float32)


def unit(features: Features) -> Features:
    """Give rows of norm 1; rows of zeros stay."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12), np.float32)


def checked_vectors(vectors: Features) -> Features:
    """Give vectors as float32, shape (n_items, dim).

    Raises
    ------
    InvalidInput
        If they are no matrix, or one is not finite.
    """
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2:
        raise InvalidInput(f"the vectors have shape {found.shape}; give one row an item")
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise InvalidInput(
            f"the vector of item {bad[0]} is not finite; give zeros where there is no content"
        )
    return found


class ContentPrior:
    """Weights ``w ~ N(0, o_j I)`` from content to each number j of an item, o_j learned by EM.

    Parameters
    ----------
    features : numpy.ndarray
        float64, shape (n_items, n_features): content of the items that have ratings.
    width : int
        Numbers an item has.
    """

    def __init__(self, features: Floats, width: int) -> None:
        self._features = features
        self._squares, self._axes = np.linalg.eigh(features.T @ features)
        self._squares = np.maximum(self._squares, 0)
        self._variances: Floats | None = None
        self._width = width

    def fit(self, means: Floats, residual: Floats) -> Floats:
        """Take one step of EM, and give the weights, shape (n_features, width).

        Parameters
        ----------
        means : numpy.ndarray
            Shape (n_items, width): what items are believed to be.
        residual : numpy.ndarray
            Shape (width,): their variance around the regression.
        """
        count = self._features.shape[1]
        total = float(self._squares.sum())
        if not total > 0:
            return np.zeros((count, self._width))
        if self._variances is None:
            self._variances = FIRST_SHARE * residual * len(means) / total
        ridge = residual / np.maximum(self._variances, 1e-12)
        shrunk = self._squares[:, None] + ridge
        turned = (self._axes.T @ (self._features.T @ means)) / shrunk
        self._variances = ((turned**2).sum(axis=0) + (residual / shrunk).sum(axis=0)) / count
        return np.asarray(self._axes @ turned, np.float64)

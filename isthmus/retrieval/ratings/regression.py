"""The prior of items from their content: a ridge regression that sets its own ridge."""

from __future__ import annotations

import numpy as np

from isthmus.retrieval.ratings.ratings import Floats

FIRST_SHARE = 0.1


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

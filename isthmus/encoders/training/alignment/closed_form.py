"""Alignments in closed form: regularised CCA and orthogonal Procrustes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isthmus.encoders.projection_head import ProjectionHead
from isthmus.numerics.arrays import FloatArray

Matrix = npt.NDArray[np.float64]
Heads = tuple[ProjectionHead, ProjectionHead]


class Correlations:
    """Means of pairs, and their covariances in principal axes, from which closed forms follow.

    Parameters
    ----------
    text, image : numpy.ndarray
        float32, shapes (n_pairs, n_text) and (n_pairs, n_image).
    """

    def __init__(self, text: FloatArray, image: FloatArray) -> None:
        x, y = text.astype(np.float64), image.astype(np.float64)
        self._means = x.mean(0), y.mean(0)
        x, y = x - self._means[0], y - self._means[1]
        self._text_scale, self._text_axes = np.linalg.eigh(x.T @ x / len(x))
        self._image_scale, self._image_axes = np.linalg.eigh(y.T @ y / len(y))
        self._solved: tuple[tuple[float, float], tuple[Matrix, Matrix, Matrix]] | None = None
        self._cross = self._text_axes.T @ (x.T @ y / len(x)) @ self._image_axes

    def cca(
        self,
        dim: int,
        ridge_text: float,
        ridge_image: float,
        power: float = 0.5,
        axes: int | None = None,
    ) -> Heads:
        """Return the heads of regularised canonical correlation analysis.

        Vinod, "Canonical ridge and econometrics of joint production" (Journal of Econometrics,
        1976). Canonical axes are weighted by a power of their correlation: with 0 all axes count
        the same, with 0.5 the inner product of the two sides is the least-squares prediction.

        Parameters
        ----------
        dim : int
            Length of the aligned vectors; missing axes are zero.
        ridge_text, ridge_image : float
            Added to the variance of each axis, as a multiple of their mean.
        power : float, default 0.5
            Power of the correlations.
        axes : int, optional
            Number of axes, the strongest first; by default `dim`.
        """
        text, strength, image = self._canonical(ridge_text, ridge_image)
        count = min(dim, len(strength), axes or dim)
        weights = np.power(np.maximum(strength[:count], 1e-12), power)
        return self._heads(text[:, :count] * weights, image[:, :count] * weights, dim)

    def procrustes(self, dim: int) -> Heads:
        """Return the heads of orthogonal Procrustes on the principal axes.

        Schönemann, "A generalized solution of the orthogonal Procrustes problem" (Psychometrika,
        1966): both sides are reduced to their first principal axes, and the text is rotated onto
        the image.

        Parameters
        ----------
        dim : int
            Number of principal axes, at most the dimension of the shorter vectors.
        """
        count = min(dim, len(self._text_scale), len(self._image_scale))
        left, _, right = np.linalg.svd(self._cross[-count:, -count:])  # eigenvalues ascend
        text = self._text_axes[:, -count:] @ (left @ right)
        return self._heads(text, self._image_axes[:, -count:], dim)

    def _canonical(self, ridge_text: float, ridge_image: float) -> tuple[Matrix, Matrix, Matrix]:
        """Return the canonical axes of both sides and their correlations; the last are cached."""
        if self._solved is None or self._solved[0] != (ridge_text, ridge_image):
            x = self._whitening(self._text_scale, ridge_text)
            y = self._whitening(self._image_scale, ridge_image)
            left, strength, right = np.linalg.svd(
                x[:, None] * self._cross * y[None, :], full_matrices=False
            )
            text = self._text_axes @ (x[:, None] * left)
            image = self._image_axes @ (y[:, None] * right.T)
            self._solved = (ridge_text, ridge_image), (text, strength, image)
        return self._solved[1]

    def _whitening(self, scale: Matrix, ridge: float) -> Matrix:
        return np.asarray(1 / np.sqrt(np.maximum(scale, 0) + ridge * scale.mean() + 1e-12))

    def _heads(self, text: Matrix, image: Matrix, dim: int) -> Heads:
        scales = (
            _typical_norm(self._text_scale, self._text_axes, text),
            _typical_norm(self._image_scale, self._image_axes, image),
        )
        text_mean, image_mean = self._means
        return (
            _linear_head(text_mean, text / scales[0], dim),
            _linear_head(image_mean, image / scales[1], dim),
        )


def _typical_norm(scale: Matrix, axes: Matrix, weights: Matrix) -> float:
    """Return the root mean square norm of the outputs of a map."""
    rotated = axes.T @ weights  # (n_in, dim)
    return float(np.sqrt(np.maximum((scale[:, None] * rotated**2).sum(), 1e-24)))


def _linear_head(mean: Matrix, weights: Matrix, dim: int) -> ProjectionHead:
    padded = np.zeros((len(mean), dim), np.float32)
    padded[:, : weights.shape[1]] = weights
    return ProjectionHead(mean.astype(np.float32), padded, np.zeros(dim, np.float32))

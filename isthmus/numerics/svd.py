"""Truncated singular value decomposition of sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

POWER_ITERATIONS = 3
OVERSAMPLING = 10


class Decomposition(NamedTuple):
    """The leading singular values and right singular vectors of a matrix.

    Attributes
    ----------
    values : numpy.ndarray
        float32, shape (rank,), descending, above zero.
    vectors : numpy.ndarray
        float32, shape (n_columns, rank), orthonormal columns.
    """

    values: FloatArray
    vectors: FloatArray


def truncated_svd(matrix: csr_array, rank: int, seed: int = 0) -> Decomposition:
    """Return the leading singular values and right singular vectors of a sparse matrix.

    Randomized subspace iteration on the Gram operator of the smaller side, with three power
    iterations (Halko, Martinsson and Tropp, SIAM Review 2011). A rank that is no less than the
    smaller side gives the whole decomposition, up to rounding. Vanishing singular values are
    dropped.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        float32, shape (n_rows, n_columns).
    rank : int
        Singular values, at most.
    seed : int
        Seed of the random start.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    left = matrix.T.tocsr() if tall else matrix  # (smaller side, larger side)
    right = left.T.tocsr()
    side = left.shape[0]
    if not side or not matrix.nnz:
        return Decomposition(np.zeros(0, np.float32), np.zeros((matrix.shape[1], 0), np.float32))
    width = min(rank + OVERSAMPLING, side)
    if width == side:
        basis = np.eye(side, dtype=np.float32)
    else:
        basis = _orthonormal(np.random.default_rng(seed).standard_normal((side, width), np.float32))
        for _ in range(POWER_ITERATIONS):
            basis = _orthonormal(left @ (right @ basis))
    projected = right @ basis  # (larger side, width)
    eigenvalues, rotation = np.linalg.eigh((projected.T @ projected).astype(np.float64))
    leading = np.argsort(-eigenvalues)[:rank]
    leading = leading[eigenvalues[leading] > 1e-6 * max(float(eigenvalues[-1]), 1e-12)]
    values = np.sqrt(eigenvalues[leading]).astype(np.float32)
    rotation = rotation[:, leading].astype(np.float32)
    vectors = basis @ rotation if tall else projected @ rotation / values
    return Decomposition(values, np.ascontiguousarray(vectors))


def _orthonormal(matrix: FloatArray) -> FloatArray:
    """Return an orthonormal basis of the columns."""
    return np.asarray(np.linalg.qr(matrix)[0], np.float32)

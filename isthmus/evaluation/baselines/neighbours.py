"""What item-KNN and user-KNN share: weights, similarities from counts, the largest of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Similarity = Literal["cosine", "asymmetric", "conditional", "jaccard"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
EXPONENTS = {"cosine": 0.5, "asymmetric": 0.75, "conditional": 1.0}


def similarities(
    shared: csr_array, own: FloatArray, other: FloatArray, kind: Similarity, shrink: float
) -> csr_array:
    """Turn what two things share into how alike they are.

    Parameters
    ----------
    shared : scipy.sparse.csr_array
        Shape (n, m): the weight that thing i and thing j share.
    own, other : numpy.ndarray
        The whole weight of the rows, shape (n,), and of the columns, shape (m,).
    kind : str
        ``"jaccard"``: over the union. The others: over ``row^e column^(1 - e)`` with e of 0.5
        (``"cosine"``), 0.75 (``"asymmetric"``) and 1 (``"conditional"``: the share of the row);
        the larger e, the nearer popular columns are to everything (Aiolli, RecSys 2013).
    shrink : float
        Added below the line: pairs that share little count less.

    Returns
    -------
    scipy.sparse.csr_array
        Shape (n, m), with the places of what was shared.
    """
    rows = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
    a, b = own[rows], other[shared.indices]
    if kind == "jaccard":
        below = a + b - shared.data
    else:
        below = a ** EXPONENTS[kind] * b ** (1 - EXPONENTS[kind])
    alike = shared.copy()
    alike.data = np.asarray(shared.data / np.maximum(below + shrink, 1e-12), np.float32)
    return alike


def keep_largest(matrix: csr_array, k: int | None) -> csr_array:
    """Keep the k largest values of each row; all where k is None."""
    from scipy.sparse import csr_array

    sizes = np.diff(matrix.indptr)
    if k is None or not (sizes > k).any():
        return matrix
    rows = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((-matrix.data, rows))
    kept = order[np.arange(len(order)) - matrix.indptr[rows] < k]
    places = (rows[kept], matrix.indices[kept])
    return csr_array((matrix.data[kept], places), shape=matrix.shape)


def rarity(matrix: csr_array) -> npt.NDArray[np.float32]:
    """Give the inverse frequency of each column: ``log(n_rows / (1 + count))``, at least 0."""
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    return np.maximum(np.log(matrix.shape[0] / (1 + counts)), 0).astype(np.float32)

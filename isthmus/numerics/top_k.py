"""The largest values of arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray

SAMPLE: Final = 4_096  # values that bound the k-th largest of many from below


def top_k(values: FloatArray, k: int) -> Columns:
    """Return the places of the k largest values, the largest first; ties keep the first.

    Examples
    --------
    >>> top_k(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    top = _no_less_than(values, k) if len(values) > k > 0 else np.arange(len(values) if k else 0)
    return top[np.argsort(-values[top], kind="stable")[:k]]


def _no_less_than(values: FloatArray, k: int) -> Columns:
    """Return the places of the values that are no less than the k-th largest, ascending.

    Of many values most are less than the k-th largest of a sample, and are not sorted.
    """
    if len(values) <= 2 * SAMPLE or 4 * k > SAMPLE:
        return np.flatnonzero(values >= np.partition(values, -k)[-k])
    step = len(values) // SAMPLE
    places = np.flatnonzero(values >= np.partition(values[::step], -k)[-k])
    some = values[places]
    return np.asarray(places[some >= np.partition(some, -k)[-k]])


def top_k_of_rows(scores: FloatArray, k: int) -> npt.NDArray[np.int64]:
    """Return the places of the k largest values of each row, the largest first.

    Of values that tie at the boundary any may be returned.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (n_rows, n).
    k : int
        How many, at most n.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_rows, k).

    Examples
    --------
    >>> top_k_of_rows(np.array([[1.0, 3.0, 2.0], [6.0, 5.0, 4.0]]), 2).tolist()
    [[1, 2], [0, 1]]
    """
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    return np.take_along_axis(top, order, 1)

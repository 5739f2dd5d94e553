"""The largest values of an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray

if TYPE_CHECKING:
    pass


def top_k(values: FloatArray, n: int) -> Columns:
    """Give the places of the n largest values, the largest first, of equals the first.

    Examples
    --------
    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    if len(values) > n > 0:
        top = np.flatnonzero(values >= np.partition(values, -n)[-n])
    else:
        top = np.arange(len(values) if n else 0)
    return top[np.argsort(-values[top], kind="stable")[:n]]

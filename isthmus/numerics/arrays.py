"""Array types, named array states, and sampling of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

FloatArray = npt.NDArray[np.float32]
Columns = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

ArrayState = dict[str, npt.NDArray[Any]]  # what a fitted model stores, by name


def with_prefix(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> ArrayState:
    """Return the arrays whose names start with a prefix, named without it.

    Examples
    --------
    >>> with_prefix({"a/x": np.zeros(1), "b/x": np.ones(1)}, "a/")
    {'x': array([0.])}
    """
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def concatenated(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return arrays one after the other: a view where they follow each other in one array.

    Examples
    --------
    >>> rows = np.array([[0, 1], [2, 3], [4, 5]])
    >>> np.shares_memory(concatenated([rows[:1], rows[1:]]), rows)
    True
    >>> concatenated([rows[1:2], rows[:1]]).tolist()
    [[2, 3], [0, 1]]
    """
    base, end = arrays[0].base, arrays[0].ctypes.data
    for array in arrays:
        if (
            not isinstance(base, np.ndarray)
            or array.base is not base
            or (array.dtype, array.shape[1:]) != (base.dtype, base.shape[1:])
            or not (array.flags.c_contiguous and base.flags.c_contiguous)
            or array.ctypes.data != end
        ):
            return np.concatenate(arrays)
        end += array.nbytes
    assert isinstance(base, np.ndarray)
    start = (arrays[0].ctypes.data - base.ctypes.data) // max(1, base[:1].nbytes)
    return base[start : start + sum(map(len, arrays))]


def sample_rows(rng: np.random.Generator, rows: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return at most n rows of shape (n_rows,), a random sample without replacement, ascending."""
    return np.sort(rng.permutation(rows)[:n])

"""Array types, named array states, and sampling of rows."""

from __future__ import annotations

from collections.abc import Mapping
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


def sample_rows(rng: np.random.Generator, rows: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return at most n rows of shape (n_rows,), a random sample without replacement, ascending."""
    return np.sort(rng.permutation(rows)[:n])

"""Rows drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def draw(rng: np.random.Generator, rows: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Draw some of the rows, each once, and give them ascending."""
    return np.sort(rng.permutation(rows)[:most])

"""Pairs with a known answer."""

from __future__ import annotations

import numpy as np

from isthmus.encoders.projection_head import unit_rows
from isthmus.encoders.training.alignment.pairs import Pairs


def rotated_pairs(count: int = 200, *, noise: float = 0.0, name: str = "a") -> Pairs:
    """Return texts of length 12, and the same vectors rotated into length 20 as images."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((count, 12))
    turn = np.linalg.qr(rng.standard_normal((20, 20)))[0][:12]
    text = unit_rows(meaning)
    image = unit_rows(text @ turn + noise * rng.standard_normal((count, 20)))
    numbers = np.arange(count)
    return Pairs(text, image, numbers, numbers, np.zeros(count, np.int64), (name,))

"""Sample contents, on which vectors of different backends are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

from isthmus.schema import IMAGE, Modality

TEXTS: Final = (
    "red boots",
    "Toy Story (1995)",
    "Adventure, Animation, Children, Comedy, Fantasy",
    "sulky universal slimline storage box",
    "A child in a pink dress is climbing up a set of stairs in an entry way.",
    "Accessories - Bags - Clutches - Black - Casual",
    "5 x 7 in, 250 g/m2, pack of 24: watercolour paper, cold pressed, acid free!",
    "Grüße aus Köln, 赤い靴 と привет",
    "?",
    "the quick brown fox jumps over the lazy dog while two men in hats look on from a bench "
    "beside the river, talking about the price of paper, ink and string in the shops of the town",
    "news: central bank raises rates by a quarter point as inflation slows. " * 6,
)
"""Texts of every length that items have."""


def sample_contents(modality: Modality) -> Sequence[Any]:
    """Return contents to compare vectors on: texts, or images from plain to noisy."""
    if modality != IMAGE:
        return TEXTS
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (1, 2, 4, 8, 16, 64, 256)]
    sizes = [(320, 240), (240, 320)]
    return [
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        for pixels in noise
        for size in sizes
    ]

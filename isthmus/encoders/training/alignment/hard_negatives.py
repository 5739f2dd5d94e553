"""Hard negatives: pairs that the heads of this moment confuse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isthmus.encoders.training.alignment.pairs import Pairs
from isthmus.numerics.arrays import FloatArray

ROWS_AT_ONCE = 1_024
NEIGHBOURS = 8


def confusable(text: FloatArray, image: FloatArray, pairs: Pairs) -> npt.NDArray[np.int64]:
    """Give for each pair those whose pictures lie nearest to its text, and are not its own.

    Parameters
    ----------
    text, image : numpy.ndarray
        float32, shape (n_pairs, dim): aligned vectors.
    pairs : Pairs
        The pairs; those that share a text or a picture are never given.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_pairs, at most 8).
    """
    count = min(NEIGHBOURS, max(len(pairs) - 1, 1))
    out = np.empty((len(pairs), count), np.int64)
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        piece = slice(start, start + ROWS_AT_ONCE)
        scores = text[piece] @ image.T
        own = pairs.text_ids[piece, None] == pairs.text_ids
        own |= pairs.image_ids[piece, None] == pairs.image_ids
        scores[own] = -np.inf
        out[piece] = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return out

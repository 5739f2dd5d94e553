"""Items as single vectors: the blocks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray


def item_vectors(
    view: View,
    rows: Positions,
    weights: Mapping[str, float] | None = None,
    blocks: Sequence[str] | None = None,
) -> FloatArray:
    """Put the blocks of items side by side, at unit norm.

    Parameters
    ----------
    view : View
        Where the items are.
    rows : numpy.ndarray
        int64, shape (n,): rows of the items; -1 gives zeros.
    weights : mapping of str to float, optional
        Weight of each block, 1 where not given: before they are brought to unit norm, the inner
        product of two items is the weighted sum of their cosines in the blocks.
    blocks : sequence of str, optional
        Which blocks; all by default.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, sum of the blocks' dims).
    """
    there = np.flatnonzero(rows >= 0)
    chosen = [block for block in view.blocks if blocks is None or block.name in blocks]
    if len(chosen) == 1 and (weights or {}).get(chosen[0].name, 1.0) > 0:
        return view.vectors(chosen[0].name, rows).vectors
    whole = np.zeros((len(rows), sum(block.dim for block in chosen)), np.float32)
    start = 0
    for block in chosen:
        weight = (weights or {}).get(block.name, 1.0)
        part = view.vectors(block.name, rows[there]).vectors
        whole[there, start : start + block.dim] = np.sqrt(weight) * part
        start += block.dim
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    whole /= np.where(norms > 0, norms, 1)
    return whole

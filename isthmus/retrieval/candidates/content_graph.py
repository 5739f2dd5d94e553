"""The graph of items that are alike by content, within each domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.retrieval.candidates.item_features import ItemFeatures

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ALIKE = 20
ITEMS_AT_ONCE = 4_096
SHARPNESS = 10.0


def content_graph(contents: ItemFeatures, domains: Columns, new: Mask | None = None) -> csr_array:
    """Find for each item the 20 others of its domain that are nearest by content.

    The weights of a row add up to one; they fall as ``exp(10 cosine)``. Items without content
    have no neighbours.

    Parameters
    ----------
    contents : Contents
        Vectors of the items.
    domains : numpy.ndarray
        int64, shape (n_items,).
    new : numpy.ndarray, optional
        bool, shape (n_items,): find the neighbours of these items alone, among the others.

    Returns
    -------
    scipy.sparse.csr_array
        float32, shape (n_items, n_items).
    """
    from scipy.sparse import csr_array

    old = np.ones(len(domains), bool) if new is None else ~new
    asked = np.arange(len(domains)) if new is None else np.flatnonzero(new)
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for code in np.unique(domains[asked]):
        own = asked[domains[asked] == code]
        allowed = (domains == code) & old
        parts += [
            _neighbours(contents, own[start : start + ITEMS_AT_ONCE], allowed)
            for start in range(0, len(own), ITEMS_AT_ONCE)
        ]
    rows, columns, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_array((weights, (rows, columns)), shape=(len(domains), len(domains)))


def _neighbours(
    contents: ItemFeatures, own: Columns, allowed: Mask
) -> tuple[Columns, Columns, FloatArray]:
    """Give pairs of an item and a neighbour, and the neighbour's weight."""
    found, cosines = contents.nearest(contents.at(own), ALIKE + 1, allowed)
    good = (found >= 0) & (found != own[:, None]) & (cosines > 0)
    sharp = np.where(good, np.exp(SHARPNESS * (cosines - 1)), 0)
    sharp /= np.maximum(sharp.sum(axis=1, keepdims=True), 1e-12)
    at = np.nonzero(good)
    return own[at[0]], found[at], sharp[at].astype(np.float32)

"""The k-nearest-neighbour graph of items by content, within each domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.retrieval.candidates.item_features import ItemFeatures

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 20
SEARCH_BATCH = 4_096  # items searched at once
SHARPNESS = 10.0  # inverse temperature of the softmax over neighbours


def content_graph(features: ItemFeatures, domains: Columns, new: Mask | None = None) -> csr_array:
    """Return for each item the 20 other items of its domain that are nearest by content.

    The weights of a row are the softmax of ``10 cosine`` over the neighbours with a positive
    cosine. Items without content have no neighbours.

    Parameters
    ----------
    features : ItemFeatures
        Of all items.
    domains : numpy.ndarray
        int64, shape (n_items,).
    new : numpy.ndarray, optional
        bool, shape (n_items,): compute the rows of these items only; their neighbours are among
        the other items.

    Returns
    -------
    scipy.sparse.csr_array
        float32, shape (n_items, n_items).
    """
    from scipy.sparse import csr_array

    may_be_neighbour = np.ones(len(domains), bool) if new is None else ~new
    queries = np.arange(len(domains)) if new is None else np.flatnonzero(new)
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for code in np.unique(domains[queries]):
        in_domain = queries[domains[queries] == code]
        allowed = (domains == code) & may_be_neighbour
        parts += [
            _neighbours(features, in_domain[start : start + SEARCH_BATCH], allowed)
            for start in range(0, len(in_domain), SEARCH_BATCH)
        ]
    rows, columns, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_array((weights, (rows, columns)), shape=(len(domains), len(domains)))


def _neighbours(
    features: ItemFeatures, items: Columns, allowed: Mask
) -> tuple[Columns, Columns, FloatArray]:
    """Return pairs of an item and a neighbour, and the weight of each pair."""
    # (n, k + 1): an item is its own nearest neighbour.
    found, cosines = features.nearest(features.take(items), NEIGHBOURS + 1, allowed)
    valid = (found >= 0) & (found != items[:, None]) & (cosines > 0)
    weights = np.where(valid, np.exp(SHARPNESS * (cosines - 1)), 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    at = np.nonzero(valid)
    return items[at[0]], found[at], weights[at].astype(np.float32)

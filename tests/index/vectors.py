"""Random vectors, and search by sorting all scores."""

from __future__ import annotations

import numpy as np


def unit(rng, rows, dim):
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(rng, rows, dim, clusters=60):
    """Vectors as encoders make them: in groups, not evenly over the sphere."""
    centres = unit(rng, clusters, dim)
    vectors = centres[rng.integers(clusters, size=rows)] + 0.6 * unit(rng, rows, dim)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(queries, vectors, k, allowed=None):
    scores = queries @ vectors.T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    best = -np.sort(-scores, axis=1)[:, :k]
    return np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=-np.inf)

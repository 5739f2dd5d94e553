"""Exact inner-product search over rows of a matrix, through FAISS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import FloatArray

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
GATHERED_ROWS = 65_536
FEW_EXCLUDED = 256


def exact_search(
    queries: FloatArray, vectors: FloatArray, k: int, allowed: Mask | None = None
) -> tuple[FloatArray, Positions]:
    """Find the k rows of highest inner product with each query.

    Parameters
    ----------
    queries : numpy.ndarray
        float32, shape (n_queries, dim).
    vectors : numpy.ndarray
        float32, shape (n_rows, dim); may be memory-mapped.
    k : int
        How many rows a query wants.
    allowed : numpy.ndarray, optional
        bool, shape (n_rows,): the rows to consider.

    Returns
    -------
    scores : numpy.ndarray
        float32, shape (n_queries, k), descending; -inf where there are no more rows.
    positions : numpy.ndarray
        int64, shape (n_queries, k); -1 where there are no more rows.
    """
    if allowed is None:
        return _knn(queries, vectors, k)
    positions = np.flatnonzero(allowed)
    excluded = len(vectors) - len(positions)
    if len(positions) and excluded <= FEW_EXCLUDED:
        scores, found = _knn(queries, vectors, k + excluded)
        return _drop(scores, found, allowed, k)
    best = _nothing(len(queries), k)
    for start in range(0, len(positions), GATHERED_ROWS):
        part = positions[start : start + GATHERED_ROWS]
        scores, found = _knn(queries, vectors[part], k)
        best = merge_best([best, (scores, np.where(found >= 0, part[found], -1))], k)
    return best


def merge_best(parts: list[tuple[FloatArray, Positions]], k: int) -> tuple[FloatArray, Positions]:
    """Merge ranked lists of the same queries into their best k, each of shape (n_queries, k)."""
    scores = np.concatenate([part[0] for part in parts], axis=1)
    positions = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)


def _knn(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    import faiss

    scores, positions = _nothing(len(queries), k)
    reach = min(k, len(vectors))
    if reach and len(queries):
        scores[:, :reach], positions[:, :reach] = faiss.knn(
            np.ascontiguousarray(queries, np.float32),
            np.ascontiguousarray(vectors, np.float32),
            reach,
            metric=faiss.METRIC_INNER_PRODUCT,
        )
    return scores, positions


def _drop(
    scores: FloatArray, found: Positions, allowed: Mask, k: int
) -> tuple[FloatArray, Positions]:
    bad = (found < 0) | ~allowed[found]
    scores, found = np.where(bad, -np.inf, scores), np.where(bad, -1, found)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(scores, order, 1).astype(np.float32),
        np.take_along_axis(found, order, 1),
    )


def _nothing(queries: int, k: int) -> tuple[FloatArray, Positions]:
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)

"""Exact inner-product search over rows of a matrix, through FAISS."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.numerics.arrays import FloatArray, Positions

Knn = Callable[[FloatArray, FloatArray, int], tuple[FloatArray, Positions]]
GATHERED_ROWS = 65_536
FEW_EXCLUDED = 256
BLAS_FROM = 4_096  # numbers: 11 queries of 384 dimensions


def exact_search(
    queries: FloatArray, vectors: FloatArray, k: int, allowed: Bitmap | None = None
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
    allowed : Allowed, optional
        The rows to consider.

    Returns
    -------
    scores : numpy.ndarray
        float32, shape (n_queries, k), descending; -inf where there are no more rows.
    positions : numpy.ndarray
        int64, shape (n_queries, k); -1 where there are no more rows.
    """
    if allowed is None or allowed.everything:
        return _knn(queries, vectors, k)
    excluded = len(vectors) - allowed.count
    if allowed.count and excluded <= FEW_EXCLUDED:
        scores, found = _knn(queries, vectors, k + excluded)
        return drop(scores, found, allowed, k)
    best = nothing(len(queries), k)
    for start in range(0, allowed.count, GATHERED_ROWS):
        part = allowed.positions[start : start + GATHERED_ROWS]
        scores, found = _knn(queries, allowed.gather(vectors, start, start + GATHERED_ROWS), k)
        best = merge_best([best, (scores, np.where(found >= 0, part[found], -1))], k)
    return best


def rescore(
    queries: FloatArray, vectors: FloatArray, found: Positions, k: int
) -> tuple[FloatArray, Positions]:
    """Rank found rows by their true inner product, and keep the k best.

    Parameters
    ----------
    queries : numpy.ndarray
        float32, shape (n_queries, dim).
    vectors : numpy.ndarray
        float32, shape (n_rows, dim).
    found : numpy.ndarray
        int64, shape (n_queries, m): rows, -1 for none.
    k : int
        How many a query wants.

    Returns
    -------
    scores, positions : numpy.ndarray
        Shape (n_queries, k), as `exact_search` gives them.
    """
    scores = _scores_of(queries, vectors, found)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    lists = np.arange(len(order))[:, None]
    scores, found = scores[lists, order], found[lists, order]
    if found.shape[1] == k:
        return scores, found
    filled = nothing(len(found), k)
    filled[0][:, : found.shape[1]], filled[1][:, : found.shape[1]] = scores, found
    return filled


def _scores_of(queries: FloatArray, vectors: FloatArray, found: Positions) -> FloatArray:
    """Give the inner products of queries with rows; -inf for a row that is none.

    FAISS reads each row where it lies; fetching them first takes twice as long.
    """
    faiss: Any = import_module("faiss")
    queries, vectors = (np.ascontiguousarray(a, np.float32) for a in (queries, vectors))
    found = np.ascontiguousarray(found, np.int64)
    scores = np.empty(found.shape, np.float32)
    faiss.fvec_inner_products_by_idx(
        *(faiss.swig_ptr(a) for a in (scores, queries, vectors, found)),
        vectors.shape[1],
        *found.shape,
    )
    scores[found < 0] = -np.inf
    return scores


def merge_best(parts: list[tuple[FloatArray, Positions]], k: int) -> tuple[FloatArray, Positions]:
    """Merge ranked lists of the same queries into their best k, each of shape (n_queries, k)."""
    scores = np.concatenate([part[0] for part in parts], axis=1)
    positions = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)


def _knn_cpu(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    faiss = _tuned_faiss()
    found: tuple[FloatArray, Positions] = faiss.knn(
        queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT
    )
    return found


@cache
def _tuned_faiss() -> Any:
    """Import FAISS, and let it multiply matrices from a few queries on.

    It counts numbers in the queries, and by default compares some 300 queries of 384 dimensions
    one by one, each with a pass of its own over all vectors: six times slower, and ruinous where
    the vectors do not fit into memory. Older versions
    count queries, and do so from 20 on.
    """
    faiss = import_module("faiss")
    if faiss.cvar.distance_compute_blas_threshold > BLAS_FROM:
        faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
    return faiss


knn_of: ContextVar[Knn] = ContextVar("knn_of", default=_knn_cpu)  # a GPU may take its place


def _knn(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    scores, positions = nothing(len(queries), k)
    reach = min(k, len(vectors))
    if reach and len(queries):
        scores[:, :reach], positions[:, :reach] = knn_of.get()(
            np.ascontiguousarray(queries, np.float32),
            np.ascontiguousarray(vectors, np.float32),
            reach,
        )
    return scores, positions


def drop(
    scores: FloatArray, found: Positions, allowed: Bitmap, k: int
) -> tuple[FloatArray, Positions]:
    """Leave out of ranked lists what is not allowed, and keep the k best."""
    bad = (found < 0) | ~allowed.mask[found]
    scores, found = np.where(bad, -np.inf, scores), np.where(bad, -1, found)
    order = np.argsort(bad, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(scores, order, 1).astype(np.float32),
        np.take_along_axis(found, order, 1),
    )


def nothing(queries: int, k: int) -> tuple[FloatArray, Positions]:
    """Give the answer of nothing found, each of shape (queries, k)."""
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64)

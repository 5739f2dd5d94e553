"""Exact inner-product search over the rows of a matrix, through FAISS."""

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
# Rows that are copied at a time: a few queries are compared with rows that are still in the
# processor's cache, and many with so many that merging what each part has takes no time.
GATHERED_ROWS_PER_QUERY, MIN_GATHERED_ROWS, MAX_GATHERED_ROWS = 1_024, 4_096, 65_536
MAX_POST_FILTERED = 256  # so few excluded rows are searched too and dropped from a longer result
BLAS_FROM = 1_600  # numbers in the queries: five queries of 384 dimensions


def exact_search(
    queries: FloatArray, vectors: FloatArray, k: int, bitmap: Bitmap | None = None
) -> tuple[FloatArray, Positions]:
    """Return the k rows of highest inner product with each query.

    Parameters
    ----------
    queries : numpy.ndarray
        float32, shape (n_queries, dim).
    vectors : numpy.ndarray
        float32, shape (n_rows, dim); may be memory-mapped.
    k : int
        Number of rows per query.
    bitmap : Bitmap, optional
        The rows to consider.

    Returns
    -------
    scores : numpy.ndarray
        float32, shape (n_queries, k), descending; -inf where there are no more rows.
    positions : numpy.ndarray
        int64, shape (n_queries, k); -1 where there are no more rows.
    """
    if bitmap is None or bitmap.is_full:
        return _knn(queries, vectors, k)
    excluded = len(vectors) - bitmap.count
    if bitmap.count and excluded <= MAX_POST_FILTERED:
        scores, positions = _knn(queries, vectors, k + excluded)
        return post_filter(scores, positions, bitmap, k)
    best = empty_result(len(queries), k)
    rows = max(MIN_GATHERED_ROWS, min(GATHERED_ROWS_PER_QUERY * len(queries), MAX_GATHERED_ROWS))
    for part, gathered in bitmap.gather(vectors, rows):
        scores, found = _knn(queries, gathered, k)
        best = merge_top_k([best, (scores, np.where(found >= 0, part[found], -1))], k)
    return best


def rescore(
    queries: FloatArray, vectors: FloatArray, candidates: Positions, k: int
) -> tuple[FloatArray, Positions]:
    """Return the k best candidates by their exact inner product.

    Parameters
    ----------
    queries : numpy.ndarray
        float32, shape (n_queries, dim).
    vectors : numpy.ndarray
        float32, shape (n_rows, dim).
    candidates : numpy.ndarray
        int64, shape (n_queries, m): rows, -1 for none.
    k : int
        Number of rows per query.

    Returns
    -------
    scores, positions : numpy.ndarray
        Shape (n_queries, k), as `exact_search` returns them.
    """
    scores = _inner_products(queries, vectors, candidates)
    order = (-scores).argsort(axis=1, kind="stable")[:, :k]
    if len(order) == 1:
        scores, candidates = scores[:, order[0]], candidates[:, order[0]]
    else:
        queries_axis = np.arange(len(order))[:, None]
        scores, candidates = scores[queries_axis, order], candidates[queries_axis, order]
    m = candidates.shape[1]
    if m == k:
        return scores, candidates
    padded = empty_result(len(candidates), k)
    padded[0][:, :m], padded[1][:, :m] = scores, candidates
    return padded


def inner_products(vectors: FloatArray, query: FloatArray) -> FloatArray:
    """Return the inner product of each vector with a query, shape (n_vectors,).

    Equal vectors get equal products, wherever they stand, as in every search. A matrix product
    rounds by the place of a row.
    """
    rows = np.arange(len(vectors))[None]
    return _inner_products(query[None], vectors, rows)[0] if len(vectors) else np.zeros(0, "f4")


def _inner_products(queries: FloatArray, vectors: FloatArray, candidates: Positions) -> FloatArray:
    """Return inner products of queries with candidate rows; -inf where the row is -1.

    FAISS reads each row in place; to gather the rows first takes twice as long.
    """
    faiss = _tuned_faiss()
    queries = np.ascontiguousarray(queries, np.float32)
    vectors = np.ascontiguousarray(vectors, np.float32)
    candidates = np.ascontiguousarray(candidates, np.int64)
    scores = np.empty(candidates.shape, np.float32)
    faiss.fvec_inner_products_by_idx(
        *map(faiss.swig_ptr, (scores, queries, vectors, candidates)),
        vectors.shape[1],
        *candidates.shape,
    )
    scores[candidates < 0] = -np.inf
    return scores


def merge_top_k(parts: list[tuple[FloatArray, Positions]], k: int) -> tuple[FloatArray, Positions]:
    """Merge ranked results of the same queries into their best k, each of shape (n_queries, k)."""
    scores = np.concatenate([part[0] for part in parts], axis=1)
    positions = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)


def post_filter(
    scores: FloatArray, positions: Positions, bitmap: Bitmap, k: int
) -> tuple[FloatArray, Positions]:
    """Remove what the bitmap excludes from ranked results, and return the best k of the rest.

    Scores are float32 and positions int64, both of shape (n_queries, n) before and (n_queries, k)
    after; places without a result have -inf and -1.
    """
    excluded = (positions < 0) | ~bitmap.mask[positions]
    scores, positions = np.where(excluded, -np.inf, scores), np.where(excluded, -1, positions)
    order = np.argsort(excluded, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(scores, order, 1).astype(np.float32),
        np.take_along_axis(positions, order, 1),
    )


def empty_result(n_queries: int, k: int) -> tuple[FloatArray, Positions]:
    """Return scores of -inf and positions of -1, each of shape (n_queries, k)."""
    return np.full((n_queries, k), -np.inf, np.float32), np.full((n_queries, k), -1, np.int64)


def _knn_cpu(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    faiss = _tuned_faiss()
    result: tuple[FloatArray, Positions] = faiss.knn(
        queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT
    )
    return result


@cache
def _tuned_faiss() -> Any:
    """Import FAISS, and let it use matrix multiplication from a few queries on.

    FAISS compares the amount of numbers in the queries with a threshold. By default some 300
    queries of 384 dimensions are compared one by one, each with a pass of its own over all vectors:
    six times slower, and far worse where the vectors do not fit into memory. Older versions
    of FAISS count queries, and multiply from 20 on.
    """
    faiss = import_module("faiss")
    if faiss.cvar.distance_compute_blas_threshold > BLAS_FROM:
        faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
    return faiss


knn_of: ContextVar[Knn] = ContextVar("knn_of", default=_knn_cpu)  # `gpu.exact_on` replaces it


def _knn(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[FloatArray, Positions]:
    scores, positions = empty_result(len(queries), k)
    n_results = min(k, len(vectors))
    if n_results and len(queries):
        queries = np.ascontiguousarray(queries, np.float32)
        vectors = np.ascontiguousarray(vectors, np.float32)
        _, found = knn_of.get()(queries, vectors, n_results)
        return rescore(queries, vectors, found, k)
    return scores, positions

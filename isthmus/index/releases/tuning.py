"""Tuning: the fastest sufficient search parameters, and what filtered searches cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import VectorIndex
from isthmus.index.ann.exact import exact_search
from isthmus.index.ann.filter_costs import MAX_EXACT, FilterCostPoint, FilterCosts
from isthmus.index.ann.search_parameters import SearchParameters, smallest_sufficient
from isthmus.index.ann.segment import SegmentVectors
from isthmus.index.releases.recall import RECALL_AT, SCORE_TOLERANCE, RecallTest
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Mask

MIN_GAIN = 5e-4  # of recall, by doubling the search width
MIN_SAVING = 1 / 16  # of the width; a greater refine factor that saves less ends the search
LATENCY_TRIES = 3
LATENCY_S, MIN_TIMED = 0.5, 50  # a slow index is timed with fewer queries, which differ less
BATCH_S = 0.2  # a batch that takes longer is timed once
FRACTIONS = (0.5, 0.2, 0.05, 0.01)
FILTERED_QUERIES = 200


def tune_search_parameters(
    view: View, vector_name: str, tests: Sequence[RecallTest], target: float
) -> SearchParameters | None:
    """Return the fastest search parameters with which every unfiltered test reaches the target.

    Parameters
    ----------
    view : View
        The index of its first segment is tuned.
    vector_name : str
        The named vector of the index.
    tests : sequence of RecallTest
        What it is measured with.
    target : float
        Recall@10.

    Returns
    -------
    SearchParameters or None
        None where no parameters reach it.
    """
    index = view.segments[0].named_vectors[vector_name].index
    if index is None or index.in_memory.is_exact:
        return SearchParameters()
    unfiltered = [test for test in tests if test.selection is None]

    def recall(parameters: SearchParameters) -> float:
        tuned = with_index(view, vector_name, index.with_parameters(parameters))
        return min((test.recall(tuned) for test in unfiltered), default=1.0)

    sufficient: list[SearchParameters] = []
    for refine_factor in index.recipe.refine_factors:
        former = sufficient[-1].width if sufficient else None
        width = _smallest_width(recall, index, refine_factor, target, former)
        if width is None:
            continue
        sufficient.append(index.recipe.family.search_parameters(width, refine_factor))
        if former is not None and width >= former * (1 - MIN_SAVING):
            break
    queries = np.concatenate([test.queries.vectors for test in unfiltered or tests])
    return min(
        sufficient,
        key=lambda parameters: batch_seconds(index.with_parameters(parameters), queries),
        default=None,
    )


def measure_filter_costs(
    vectors: SegmentVectors, queries: FloatArray, target: float, *, seed: int = 0
) -> FilterCosts | None:
    """Measure filtered searches at several fractions of the vectors.

    At each fraction three kinds of filter are measured: random vectors; the vectors nearest to a
    pivot, with the queries nearest to it; and the same vectors with the queries farthest from it,
    since filters may go with the query or against it. The recall has to reach the target by one
    standard error, since so few queries stand for all. The best of eleven results does not count,
    since queries are items, and each finds itself.

    Parameters
    ----------
    vectors : SegmentVectors
        With their tuned index.
    queries : numpy.ndarray
        float32, shape (n, dim).
    target : float
        Recall@10 that they have to reach.
    seed : int
        Seed of the choice of vectors, pivot and queries.
    """
    index, n_vectors = vectors.index, len(vectors.rows)
    if index is None or n_vectors <= MAX_EXACT:
        return None
    rng = np.random.default_rng(seed)
    pivot = vectors.vectors[int(rng.integers(n_vectors))]
    uniform, closeness = rng.random(n_vectors), vectors.vectors @ pivot
    sample = rng.permutation(queries)[:FILTERED_QUERIES]
    by_pivot = queries[np.argsort(-(queries @ pivot), kind="stable")]
    near, far = by_pivot[:FILTERED_QUERIES], by_pivot[-FILTERED_QUERIES:]
    points = []
    for fraction in FRACTIONS:
        if fraction * n_vectors <= MAX_EXACT:
            break
        close = closeness >= np.quantile(closeness, 1 - fraction)
        filters = [(uniform < fraction, sample), (close, near), (close, far)]
        point = _hardest_point(index, vectors.vectors, filters, target)
        if point is None:
            break
        points.append(point)
    gather_us, scan_us = _exact_costs(vectors.vectors, sample, uniform < FRACTIONS[1])
    return FilterCosts(points=points, gather_us=gather_us, scan_us=scan_us)


def with_index(
    view: View,
    vector_name: str,
    index: VectorIndex | None,
    filter_costs: FilterCosts | None = None,
) -> View:
    """Return the view with another index in its first segment."""
    former = view.segments[0].named_vectors[vector_name]
    changed = replace(former, index=index, filter_costs=filter_costs)
    return with_vectors(view, vector_name, changed)


def with_vectors(view: View, vector_name: str, vectors: SegmentVectors) -> View:
    """Return the view with other vectors of a name in its first segment."""
    first, *rest = view.segments
    changed = replace(first, named_vectors={**first.named_vectors, vector_name: vectors})
    return replace(view, segments=(changed, *rest))


def batch_seconds(index: VectorIndex, queries: FloatArray) -> float:
    """Return the seconds that queries, (n, dim), take in a batch, the better of two tries."""
    clock = _wall_seconds if index.placement == "gpu" else _processor_seconds
    first = clock(lambda: index.search(queries, RECALL_AT))
    return first if first > BATCH_S else min(first, clock(lambda: index.search(queries, RECALL_AT)))


def latency_ms(index: VectorIndex, queries: FloatArray) -> tuple[float, float]:
    """Return the median and the 99th percentile of single queries, in milliseconds.

    The queries have shape (n, dim). The best of a few tries of each query counts. Otherwise the
    99th percentile would be that of whatever else the machine does meanwhile, and on a busy one no
    recipe would be fast enough.
    """
    times: list[float] = []
    start = time.perf_counter()
    for query in queries:
        if len(times) >= MIN_TIMED and time.perf_counter() - start > LATENCY_S:
            break
        search = partial(index.search, query[None], RECALL_AT)
        times.append(min(_wall_seconds(search) for _ in range(LATENCY_TRIES)))
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return float(p50), float(p99)


def _smallest_width(
    recall: Callable[[SearchParameters], float],
    index: VectorIndex,
    refine_factor: int,
    target: float,
    former: int | None,
) -> int | None:
    """Return the smallest sufficient search width with a refine factor; None for no such width.

    `former` was sufficient with a smaller refine factor, so no greater width is tried.
    """
    make_parameters = index.recipe.family.search_parameters
    first = index.in_memory.first_width
    if first == 0:
        return 0 if recall(make_parameters(0, refine_factor)) >= target else None
    maximum = index.in_memory.max_useful_width(RECALL_AT, refine_factor)
    return smallest_sufficient(
        lambda width: recall(make_parameters(width, refine_factor)),
        first if former is None else max(former // 2, 1),
        maximum if former is None else former,
        target,
        min_gain=MIN_GAIN if former is None else None,
    )


def _hardest_point(
    index: VectorIndex,
    vectors: FloatArray,
    filters: Sequence[tuple[Mask, FloatArray]],
    target: float,
) -> FilterCostPoint | None:
    """Measure filters of one fraction; return the one that needs most, None if one fails."""
    points = []
    for mask, queries in filters:
        bitmap = Bitmap(mask)
        true_scores, _ = exact_search(queries, vectors, RECALL_AT + 1, bitmap)
        point = _filter_cost_point(index, queries, bitmap, true_scores, target)
        if point is None:
            return None
        points.append(point)
    return max(points, key=lambda point: point.n_candidates)


def _filter_cost_point(
    index: VectorIndex,
    queries: FloatArray,
    bitmap: Bitmap,
    true_scores: FloatArray,
    target: float,
) -> FilterCostPoint | None:
    def recall(n_candidates: int) -> tuple[float, float]:
        """Return the mean recall, and its standard error."""
        scores, _ = index.search_filtered(queries, RECALL_AT + 1, bitmap, n_candidates)
        hits = (scores[:, 1:] >= true_scores[:, -1:] - SCORE_TOLERANCE).mean(axis=1)
        return float(hits.mean()), float(hits.std() / np.sqrt(len(hits)))

    first, maximum = index.in_memory.filtered_candidates(bitmap, RECALL_AT)
    n_candidates = smallest_sufficient(
        lambda number: float(np.subtract(*recall(number))), first, maximum, target
    )
    if n_candidates is None:
        return None
    search = partial(index.search_filtered, queries, RECALL_AT, bitmap, n_candidates)
    seconds = min(_processor_seconds(search) for _ in range(2))
    return FilterCostPoint(
        fraction=bitmap.fraction,
        n_candidates=n_candidates,
        recall=round(recall(n_candidates)[0], 4),
        query_us=seconds / len(queries) * 1e6,
    )


def _exact_costs(vectors: FloatArray, queries: FloatArray, mask: Mask) -> tuple[float, float]:
    """Return the microseconds to gather a vector, and to compare it with one query."""
    count = int(mask.sum())
    one = min(
        _processor_seconds(lambda: exact_search(queries[:1], vectors, RECALL_AT, Bitmap(mask)))
        for _ in range(2)
    )
    bitmap = Bitmap(mask)
    many = _processor_seconds(lambda: exact_search(queries, vectors, RECALL_AT, bitmap))
    scan = max(many - one, 0.0) / max(len(queries) - 1, 1) / count
    return max(one / count - scan, 0.0) * 1e6, scan * 1e6


def _processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds that work takes on each of the threads of FAISS.

    On an idle machine that is the time it takes. Where others are busy, they would make what is
    measured first look cheaper or dearer than what is measured next.
    """
    faiss: Any = import_module("faiss")
    start = time.process_time()
    work()
    return (time.process_time() - start) / int(faiss.omp_get_max_threads())


def _wall_seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

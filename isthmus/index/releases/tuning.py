"""Tuning: the least effort that reaches the recall, and what filtered searches cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search
from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.filter_costs import MOST_EXACT, FilterCostPoint, FilterCosts
from isthmus.index.ann.gpu import GpuIndex
from isthmus.index.ann.recipes import EXACT
from isthmus.index.ann.search_parameters import SearchParameters, smallest_sufficient
from isthmus.index.ann.segment import SegmentVectors
from isthmus.index.releases.recall import RECALL_AT, SAME_SCORE, Trial
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Mask

FIRST_VISITS = {"ivf": 8, "hnsw": 16, "flat": 0}
NO_GAIN = 5e-4
MOST_OF_DEPTH = 8  # times the candidates of a depth are visited at most, where it limits the recall
LEAST_SAVING = 1 / 16  # a greater depth has to save so many of the visits, or it ends the search
TRIES = 3  # of a single query
SHARES = (0.5, 0.2, 0.05, 0.01)
MASKED_QUERIES = 200
MOST_CANDIDATES = 4_096  # of an HNSW graph under a filter
LEAST_GAIN = 2  # a filtered search that visits more than 1 in 2 survivors gains nothing


def tune_effort(
    view: View, vector_name: str, trials: Sequence[Trial], target: float
) -> SearchParameters | None:
    """Find the fastest effort with which every unfiltered trial reaches the target.

    Parameters
    ----------
    view : View
        Whose first segment's index is tuned.
    vector_name : str
        Of this named vector.
    trials : sequence of Trial
        What it is measured with.
    target : float
        Recall@10.

    Returns
    -------
    Effort or None
        None where no effort reaches it.
    """
    index = view.segments[0].named_vectors[vector_name].index
    if index is None or index.recipe.name == EXACT:
        return SearchParameters()
    plain = [trial for trial in trials if trial.allowed is None]

    def recall(effort: SearchParameters) -> float:
        tried = with_index(view, vector_name, index.trying(effort))
        return min((trial.recall(tried) for trial in plain), default=1.0)

    found: list[SearchParameters] = []
    for depth in index.recipe.depths():
        enough = found[-1].visits if found else None
        visits = _least_visits(recall, index, depth, target, enough)
        if visits is None:
            continue
        found.append(SearchParameters(visits=visits, depth=depth))
        if enough is not None and visits >= enough * (1 - LEAST_SAVING):
            break
    queries = np.concatenate([trial.kind.vectors for trial in plain or trials])
    return min(found, key=lambda e: batch_seconds(index.trying(e), queries), default=None)


def measure_masked(
    segment_vectors: SegmentVectors, queries: FloatArray, target: float, *, seed: int = 0
) -> FilterCosts | None:
    """Measure filtered searches, where a share of the vectors survives.

    At each share three kinds of filter are met: survivors at random; the vectors nearest to one
    of them, asked by the queries that are nearest to it; and the same, asked by those that are
    farthest, since filters may go with the query or against it. The recall has to reach the
    target by one standard error, since so few queries stand for all. The best of eleven results
    does not count, since queries are items, and each finds itself.

    Parameters
    ----------
    named_vector : SegmentVectors
        With its index, tuned.
    queries : numpy.ndarray
        float32, shape (n, dim).
    target : float
        Recall@10 that they have to reach.
    """
    index = segment_vectors.index
    if index is None or len(segment_vectors.rows) <= MOST_EXACT:
        return None
    rng = np.random.default_rng(seed)
    pivot = segment_vectors.vectors[int(rng.integers(len(segment_vectors.rows)))]
    chance, closeness = rng.random(len(segment_vectors.rows)), segment_vectors.vectors @ pivot
    some = rng.permutation(queries)[:MASKED_QUERIES]
    by_pivot = queries[np.argsort(-(queries @ pivot), kind="stable")]
    near, far = by_pivot[:MASKED_QUERIES], by_pivot[-MASKED_QUERIES:]
    points = []
    for share in SHARES:
        if share * len(segment_vectors.rows) <= MOST_EXACT:
            break
        close = closeness >= np.quantile(closeness, 1 - share)
        asked = [(chance < share, some), (close, near), (close, far)]
        point = _dearest_point(index, segment_vectors.vectors, asked, target)
        if point is None:
            break
        points.append(point)
    gather_us, scan_us = _exact_costs(segment_vectors.vectors, some, chance < SHARES[1])
    return FilterCosts(points=points, gather_us=gather_us, scan_us=scan_us)


def with_index(
    view: View, vector_name: str, index: VectorIndex | None, masked: FilterCosts | None = None
) -> View:
    """Give the same view with another index for a named vector of its first segment."""
    own = view.segments[0].named_vectors[vector_name]
    return with_vectors(view, vector_name, replace(own, index=index, masked=masked))


def with_vectors(view: View, vector_name: str, own: SegmentVectors) -> View:
    """Give the same view with another named vector in its first segment."""
    first, *rest = view.segments
    changed = replace(first, named_vectors={**first.named_vectors, vector_name: own})
    return replace(view, segments=(changed, *rest))


def batch_seconds(index: VectorIndex, queries: FloatArray) -> float:
    """Give the seconds that a batch of queries takes, the better of two tries; see `_seconds`."""
    clock = _wall_seconds if isinstance(index, GpuIndex) else _seconds
    return min(clock(lambda: index.search(queries, RECALL_AT)) for _ in range(2))


def single_ms(index: VectorIndex, queries: FloatArray) -> tuple[float, float]:
    """Give the median and the 99th percentile of single queries, in milliseconds.

    Of each query the best of a few tries counts, else the 99th percentile is that of whatever else
    the machine does meanwhile, and on a busy one no recipe is quick enough.
    """
    times = [
        min(_wall_seconds(partial(index.search, query[None], RECALL_AT)) for _ in range(TRIES))
        for query in queries
    ]
    median, high = np.percentile(times, [50, 99]) * 1e3
    return float(median), float(high)


def _least_visits(
    recall: Callable[[SearchParameters], float],
    index: VectorIndex,
    depth: int,
    target: float,
    enough: int | None,
) -> int | None:
    """Give the fewest visits at a depth, where so many were `enough` at a lesser one."""
    first, most = FIRST_VISITS[index.recipe.family], index.most_visits
    if index.recipe.signs:
        most = min(MOST_OF_DEPTH * RECALL_AT * depth, most)
    if first == 0:
        return 0 if recall(SearchParameters(depth=depth)) >= target else None
    return smallest_sufficient(
        lambda visits: recall(SearchParameters(visits=visits, depth=depth)),
        first if enough is None else max(enough // 2, 1),
        most if enough is None else enough,
        target,
        least_gain=NO_GAIN if enough is None else None,
    )


def _dearest_point(
    index: VectorIndex,
    vectors: FloatArray,
    asked: Sequence[tuple[Mask, FloatArray]],
    target: float,
) -> FilterCostPoint | None:
    """Measure filters of one share, and give the one that needs most; None if one is too much."""
    points = []
    for mask, queries in asked:
        allowed = Bitmap(mask)
        best, _ = exact_search(queries, vectors, RECALL_AT + 1, allowed)
        point = _masked_point(index, queries, allowed, best, target)
        if point is None:
            return None
        points.append(point)
    return max(points, key=lambda point: point.visits)


def _masked_point(
    index: VectorIndex, queries: FloatArray, allowed: Bitmap, best: FloatArray, target: float
) -> FilterCostPoint | None:
    def recall(visits: int) -> tuple[float, float]:
        """Give the mean, and its standard error."""
        scores, _ = index.search_allowed(queries, RECALL_AT + 1, allowed, visits)
        found = (scores[:, 1:] >= best[:, -1:] - SAME_SCORE).mean(axis=1)
        return float(found.mean()), float(found.std() / np.sqrt(len(found)))

    first, most = _masked_visits(index, allowed)
    visits = smallest_sufficient(lambda visits: np.subtract(*recall(visits)), first, most, target)
    if visits is None:
        return None
    took = min(
        _seconds(partial(index.search_allowed, queries, RECALL_AT, allowed, visits))
        for _ in range(2)
    )
    return FilterCostPoint(
        share=allowed.share,
        visits=visits,
        recall=round(recall(visits)[0], 4),
        query_us=took / len(queries) * 1e6,
    )


def _masked_visits(index: VectorIndex, allowed: Bitmap) -> tuple[int, int]:
    """Give the fewest and most visits worth trying under a filter."""
    if index.recipe.family == "ivf":
        as_without = index.parameters.visits * allowed.count // max(index.most_visits, 1)
        return max(as_without, 10 * RECALL_AT), max(allowed.count // LEAST_GAIN, 1)
    if index.recipe.family == "hnsw":
        return index.parameters.visits, MOST_CANDIDATES
    return 0, 0


def _exact_costs(vectors: FloatArray, queries: FloatArray, mask: Mask) -> tuple[float, float]:
    """Give the microseconds to fetch a survivor, and to compare it with one query."""
    survivors = int(mask.sum())
    one = min(
        _seconds(lambda: exact_search(queries[:1], vectors, RECALL_AT, Bitmap(mask)))
        for _ in range(2)
    )
    allowed = Bitmap(mask)
    many = _seconds(lambda: exact_search(queries, vectors, RECALL_AT, allowed))
    scan = max(many - one, 0.0) / max(len(queries) - 1, 1) / survivors
    return max(one / survivors - scan, 0.0) * 1e6, scan * 1e6


def _seconds(work: Callable[[], object]) -> float:
    """Give the processor's seconds that work takes on each of the threads of FAISS.

    On a machine of one's own that is the time it takes. Where others are busy, they would make
    what is measured first look cheaper or dearer than what is measured next.
    """
    import faiss

    start = time.process_time()
    work()
    return (time.process_time() - start) / int(faiss.omp_get_max_threads())


def _wall_seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

"""The planner: measures every recipe on a sample, and tells what each will do at full size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.gpu import Devices, placing
from isthmus.index.ann.recipes import Family, Recipe, suitable
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.segment import SegmentVectors
from isthmus.index.releases.manifest import RecallRow
from isthmus.index.releases.plan import FullSize, Measured, Plan, PlanRow, judge
from isthmus.index.releases.recall import (
    QuerySampler,
    Sample,
    known_misses,
    make_sample,
    measure_recall,
    sampled_view,
)
from isthmus.index.releases.tuning import batch_seconds, single_ms, tune_effort, with_index
from isthmus.index.releases.view import View
from isthmus.index.settings import Targets
from isthmus.progress import progress_bar

SMALLER = 4  # the second point of each curve is measured on a quarter of the sample
LATENCY_QUERIES = 300
PLANNED_QUERIES = 1_200  # recipes are only compared, by many searches that are slow
STEEPEST = 1.3


def make_plan(
    view: View,
    vector_name: str,
    sample_queries: QuerySampler,
    targets: Targets,
    rows: int,
    *,
    devices: Devices = (),
    progress: bool = False,
) -> Plan:
    """Measure every recipe on a view that holds a sample, for a number of rows.

    Parameters
    ----------
    view : View
        One segment: the sample.
    vector_name : str
        The named vector to plan.
    queries_of : callable
        Kinds of query, see `make_trials`.
    targets : Targets
        Recall, latency, memory.
    rows : int
        How many vectors the index will hold.
    devices : tuple of int
        GPUs that hold the index; only recipes that have a GPU form are considered then.
    progress : bool, default False
        Whether to show a bar.
    """
    import faiss

    samples = [make_sample(view, vector_name, sample_queries, PLANNED_QUERIES)]
    own = view.segments[0].named_vectors[vector_name]
    if rows > len(own.rows):
        samples.insert(0, make_sample(_smaller(view), vector_name, sample_queries, PLANNED_QUERIES))
    recipes = list(suitable(own.vectors.shape[1], on_gpu=bool(devices)))
    table = []
    with progress_bar(f"planning {vector_name}", len(recipes), show=progress) as advance:
        for recipe in recipes:
            curve = [
                _measure(sample, vector_name, recipe, targets.recall, placing(devices))
                for sample in samples
            ]
            expected = _expected(recipe, curve, rows)
            table.append(PlanRow(recipe=recipe.name, sample=curve[-1], expected=expected))
            advance(1)
    return Plan(
        vector_name=vector_name,
        rows=rows,
        sampled=len(own.rows),
        extrapolated=rows > len(own.rows),
        threads=int(faiss.omp_get_max_threads()),
        targets=targets,
        table=judge(table, targets),
    )


def _smaller(view: View) -> View:
    rows = len(view.segments[0])
    return sampled_view(view, np.random.default_rng(1).random(rows) < 1 / SMALLER)


def _measure(
    sample: Sample,
    vector_name: str,
    recipe: Recipe,
    target: float,
    place: Callable[[VectorIndex], VectorIndex],
) -> Measured:
    own: SegmentVectors = sample.view.segments[0].named_vectors[vector_name]
    start = time.perf_counter() - sample.shared.seconds(recipe.family)
    index = place(VectorIndex.build(recipe, own.vectors, shared=sample.shared))
    build_s = time.perf_counter() - start
    view = with_index(sample.view, vector_name, index)
    effort = tune_effort(view, vector_name, sample.trials, target)
    greatest = SearchParameters(visits=index.most_visits, depth=recipe.depths()[-1])
    index = index.trying(effort or greatest)
    plain = [trial for trial in sample.trials if trial.allowed is None]
    queries = np.concatenate([trial.kind.vectors for trial in plain or sample.trials])
    single = np.random.default_rng(2).permutation(queries)[:LATENCY_QUERIES]
    median, high = single_ms(index, single)
    view = with_index(view, vector_name, index)
    return Measured(
        rows=len(own.rows),
        reached=effort is not None,
        parameters=index.parameters,
        recall=_by_kind(measure_recall(view, plain)),
        known_misses=round(known_misses(sample, view), 4),
        p50_ms=round(median, 4),
        p99_ms=round(high, 4),
        queries_s=round(len(queries) / batch_seconds(index, queries), 1),
        bytes_a_vector=round(index.bytes_a_vector, 1),
        build_s=round(build_s, 4),
    )


def _by_kind(rows: Sequence[RecallRow]) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for row in rows:
        kinds[row.kind] = min(row.recall, kinds.get(row.kind, 1.0))
    return kinds


def _expected(recipe: Recipe, curve: Sequence[Measured], rows: int) -> FullSize:
    """Carry the curve through the last two points to a number of rows.

    A straight line where every vector is compared; one over the logarithm of the rows in a graph,
    whose searches lengthen so (Malkov and Yashunin, arXiv:1603.09320); else one on logarithmic
    axes. Building takes no less than the rows grow by.
    """
    first, last = curve[0], curve[-1]

    def at(before: float, now: float, family: Family = recipe.family, least: float = 0) -> float:
        if len(curve) == 1:
            return now
        steps = np.log(last.rows / first.rows)
        if family == "flat":
            slope = max(now - before, 0.0) / (last.rows - first.rows)
            return float(now + slope * (rows - last.rows))
        if family == "hnsw":
            return float(now + max(now - before, 0.0) / steps * np.log(rows / last.rows))
        slope = np.clip(np.log(max(now, 1e-9) / max(before, 1e-9)) / steps, least, STEEPEST)
        return float(now * (rows / last.rows) ** slope)

    return FullSize(
        rows=rows,
        p50_ms=at(first.p50_ms, last.p50_ms),
        p99_ms=at(first.p99_ms, last.p99_ms),
        queries_s=1 / at(1 / first.queries_s, 1 / last.queries_s),
        bytes_a_vector=last.bytes_a_vector,
        build_s=at(first.build_s, last.build_s, "ivf", 1),
    )

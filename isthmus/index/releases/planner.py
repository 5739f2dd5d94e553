"""The planner: measures every recipe on a sample, and extrapolates its costs to full size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from isthmus.index.ann.contract import FamilyIndex, Recipe, VectorIndex, power_law
from isthmus.index.ann.gpu import Devices, placing
from isthmus.index.ann.recipes import recipe_named
from isthmus.index.releases.manifest import RecallRow
from isthmus.index.releases.plan import (
    FullSizeCosts,
    Plan,
    PlanRow,
    SampleCosts,
    judge,
)
from isthmus.index.releases.recall import (
    PlanningSample,
    QuerySampler,
    make_planning_sample,
    measure_miss_ratio,
    measure_recall,
    sample_view,
)
from isthmus.index.releases.tuning import (
    batch_seconds,
    latency_ms,
    tune_search_parameters,
    with_index,
)
from isthmus.index.releases.view import View
from isthmus.index.settings import Targets
from isthmus.progress import progress_bar

SMALL_SAMPLE = 4  # every recipe is measured on a quarter of the sample first
SCREENED_FROM = 10_000  # vectors in a sample that is all; fewer are measured at once
MAX_CONTENDERS, CONTENDER_COST = 5, 3.0  # go on to the whole sample; costs beside the cheapest
PLANNING_S = 10.0  # and the time to build a contender; then no further one is measured
LATENCY_QUERIES = 300
PLANNING_QUERIES = 1_200  # recipes are only compared, by many searches that are slow


def make_plan(
    view: View,
    vector_name: str,
    sample_queries: QuerySampler,
    targets: Targets,
    rows: int,
    *,
    recipes: Sequence[Recipe],
    devices: Devices = (),
    progress: bool = False,
) -> Plan:
    """Measure recipes on a view that holds a sample, for a number of rows.

    All are measured on a part of a large sample, and those that may be the cheapest on all of it.

    Parameters
    ----------
    view : View
        One segment: the sample.
    vector_name : str
        The named vector to plan for.
    sample_queries : callable
        Returns recall queries, see `make_recall_tests`.
    targets : Targets
        Recall, latency, memory.
    rows : int
        Number of vectors that the index will hold.
    recipes : sequence of Recipe
        What to choose from.
    devices : tuple of int
        GPUs that will hold the index.
    progress : bool, default False
        Whether to show a bar.
    """
    faiss: Any = import_module("faiss")
    n_sampled = len(view.segments[0].named_vectors[vector_name].rows)
    curves: dict[str, list[SampleCosts]] = {recipe.name: [] for recipe in recipes}
    table: list[PlanRow] = []
    in_two = n_sampled > SCREENED_FROM or rows > n_sampled
    stages = [_small(view), view] if in_two else [view]
    steps, start = len(stages) * len(recipes), time.perf_counter()
    with progress_bar(f"planning {vector_name}", steps, show=progress) as advance:
        for stage in stages:
            sample = make_planning_sample(stage, vector_name, sample_queries, PLANNING_QUERIES)
            contenders = _contenders(recipes, table, targets) if table else recipes
            advance(len(recipes) - len(contenders))
            deadline = np.inf
            for recipe in contenders:
                if time.perf_counter() > deadline:
                    break
                costs = _measure(sample, vector_name, recipe, targets.recall, placing(devices))
                curves[recipe.name].append(costs)
                if table:  # the cheapest contender comes first, and is measured whatever it takes
                    deadline = min(deadline, start + PLANNING_S + costs.build_s)
                advance(1)
            table = [_row(recipe_named(name), curve, rows) for name, curve in curves.items()]
    return Plan(
        vector_name=vector_name,
        rows=rows,
        sampled=n_sampled,
        extrapolated=rows > n_sampled,
        threads=int(faiss.omp_get_max_threads()),
        targets=targets,
        table=judge(table, targets),
    )


def _contenders(
    recipes: Sequence[Recipe], table: Sequence[PlanRow], targets: Targets
) -> Sequence[Recipe]:
    """Return the recipes that may turn out the cheapest, after a first measurement of all.

    Where none can reach the recall within the memory, all may be the nearest. Latency does not
    count yet, since forecasts of it from one sample are rough.
    """
    within = targets.model_copy(update={"latency_ms": None})
    possible = [row for row in judge(table, within) if not row.misses(within)]
    if targets.prefer == "speed":
        limit = CONTENDER_COST * min((row.expected.query_cost for row in possible), default=0.0)
        possible = [row for row in possible if row.expected.query_cost <= limit]
    cheap = possible[:MAX_CONTENDERS]
    return [recipe_named(row.recipe) for row in cheap] or recipes


def _row(recipe: Recipe, curve: Sequence[SampleCosts], rows: int) -> PlanRow:
    return PlanRow(recipe=recipe.name, sample=curve[-1], expected=_extrapolate(recipe, curve, rows))


def _small(view: View) -> View:
    rows = len(view.segments[0])
    return sample_view(view, np.random.default_rng(1).random(rows) < 1 / SMALL_SAMPLE)


def _measure(
    sample: PlanningSample,
    vector_name: str,
    recipe: Recipe,
    target: float,
    place: Callable[[FamilyIndex], VectorIndex],
) -> SampleCosts:
    vectors = sample.view.segments[0].named_vectors[vector_name].vectors
    start = time.perf_counter() - sample.shared.seconds(recipe.family)
    index = place(recipe.build(vectors, shared=sample.shared))
    build_s = time.perf_counter() - start
    view = with_index(sample.view, vector_name, index)
    parameters = tune_search_parameters(view, vector_name, sample.tests, target)
    greatest = recipe.family.search_parameters(index.max_width, recipe.refine_factors[-1])
    index = index.with_parameters(parameters or greatest)
    unfiltered = [test for test in sample.tests if test.selection is None]
    queries = np.concatenate([test.queries.vectors for test in unfiltered or sample.tests])
    single = np.random.default_rng(2).permutation(queries)[:LATENCY_QUERIES]
    p50_ms, p99_ms = latency_ms(index, single)
    view = with_index(view, vector_name, index)
    return SampleCosts(
        rows=len(vectors),
        reaches_recall=parameters is not None,
        parameters=index.parameters,
        recall=_worst_by_kind(measure_recall(view, unfiltered)),
        indexed_miss_ratio=round(measure_miss_ratio(sample, view), 4),
        p50_ms=round(p50_ms, 4),
        p99_ms=round(p99_ms, 4),
        queries_per_s=round(len(queries) / batch_seconds(index, queries), 1),
        bytes_per_vector=round(index.bytes_per_vector, 1),
        build_s=round(build_s, 4),
    )


def _worst_by_kind(rows: Sequence[RecallRow]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for row in rows:
        worst[row.kind] = min(row.recall, worst.get(row.kind, 1.0))
    return worst


def _extrapolate(recipe: Recipe, curve: Sequence[SampleCosts], rows: int) -> FullSizeCosts:
    """Extrapolate the costs of a recipe through one or two samples to a number of rows.

    Search costs grow as the family says, and building at least as the rows do. From one sample
    they grow as is usual for the family.
    """
    small, large = curve[0], curve[-1]
    sizes = small.rows, large.rows, rows

    def search(before: float, now: float) -> float:
        if len(curve) == 1:
            return now * recipe.family.usual_growth(large.rows, rows)
        return recipe.family.extrapolate(before, now, sizes)

    build_s = large.build_s * rows / large.rows
    if len(curve) > 1:
        build_s = power_law(small.build_s, large.build_s, sizes, min_exponent=1)
    return FullSizeCosts(
        rows=rows,
        p50_ms=search(small.p50_ms, large.p50_ms),
        p99_ms=search(small.p99_ms, large.p99_ms),
        queries_per_s=1 / search(1 / small.queries_per_s, 1 / large.queries_per_s),
        bytes_per_vector=large.bytes_per_vector,
        build_s=build_s,
    )

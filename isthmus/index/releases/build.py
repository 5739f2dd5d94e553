"""Building: plan, train, fill and tune the index of one named vector."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from isthmus.index.ann.contract import Recipe, SharedTraining, VectorIndex
from isthmus.index.ann.gpu import Devices, placing
from isthmus.index.ann.recipes import EXACT, EXACT_HALF, is_exhaustive, recipe_named, suitable
from isthmus.index.releases.manifest import VectorManifest
from isthmus.index.releases.plan import FullSizeCosts, Plan, require_possible
from isthmus.index.releases.planner import LATENCY_QUERIES, make_plan
from isthmus.index.releases.recall import (
    QuerySampler,
    RecallTest,
    make_recall_tests,
    sample_view,
)
from isthmus.index.releases.release import Release
from isthmus.index.releases.release_check import shortfalls
from isthmus.index.releases.tuning import (
    batch_seconds,
    latency_ms,
    measure_filter_costs,
    tune_search_parameters,
    with_index,
    with_vectors,
)
from isthmus.index.releases.view import View
from isthmus.index.settings import IndexSettings, Targets

MIN_PLANNED_ROWS = 1_000
MAX_BUILT_RECIPES = 3
QUERY_SEED = 3
FLOAT32_BYTES = 4
SINGLE_PRECISION_BYTES = 8 * 2**20  # more are read in half precision, in a fifth of the time


@dataclass(frozen=True, eq=False)
class BuiltIndex:
    """A view with the index of a named vector, its manifest, and its plan if there is one."""

    view: View
    manifest: VectorManifest
    plan: Plan | None


class IndexBuilder:
    """Builds the index of one named vector.

    Parameters
    ----------
    view : View
        One segment, with the vectors and no indexes.
    vector_name : str
        The named vector.
    settings : IndexSettings
        Targets and limits.
    sample_queries : callable
        Returns recall queries, see `make_recall_tests`.
    previous : Release or None
        Its plan and training are used again, as long as they fit.
    devices : tuple of int
        GPUs that hold the index while it is measured.
    progress : bool
        Whether to show bars.
    """

    def __init__(
        self,
        view: View,
        vector_name: str,
        settings: IndexSettings,
        sample_queries: QuerySampler,
        previous: Release | None,
        *,
        devices: Devices = (),
        progress: bool = False,
    ) -> None:
        self._view = view
        self._vector_name = vector_name
        self._vectors = view.segments[0].named_vectors[vector_name]
        self._settings = settings
        self._sample_queries = sample_queries
        self._previous = previous
        self._devices = devices
        self._progress = progress

    def build(self) -> BuiltIndex:
        """Build the index.

        Raises
        ------
        ImpossibleTargets
            If no recipe meets the targets.
        """
        rows, dim = self._vectors.vectors.shape
        if not needs_plan(rows, dim, self._settings):
            return self._exact(exact_recipe(rows, dim))
        tests = make_recall_tests(self._view, self._vector_name, self._sample_queries)
        refilled = self._with_former_training(tests)
        if refilled is not None:
            return refilled
        plan = plan_index(
            self._view,
            self._vector_name,
            self._settings,
            self._sample_queries,
            devices=self._devices,
            progress=self._progress,
        )
        require_possible(plan)
        return self._cheapest(plan, tests)

    def _cheapest(self, plan: Plan, tests: list[RecallTest]) -> BuiltIndex:
        """Build the cheapest recipe of a plan, and the next ones while they may be cheaper.

        At most the best so far and the one being tried are held in memory.
        """
        best: BuiltIndex | None = None
        shared = SharedTraining()
        measured: dict[str, FullSizeCosts] = {}
        ranked = plan.ranked[:MAX_BUILT_RECIPES]
        for recipe, following in zip(ranked, [*ranked[1:], None], strict=True):
            index, build_s = self._filled(recipe, shared=shared)
            built = self._tuned(index, build_s, tests, plan)
            if built is not None and _meets(built.manifest, self._settings.targets):
                measured[recipe.name] = built.manifest.costs
                if best is None or built.manifest.query_cost < best.manifest.query_cost:
                    best = built
            del built, index
            if following is None or (best is not None and _is_settled(best, plan, following)):
                break
        if best is None:
            return self._exact(EXACT, plan)
        return replace(best, plan=plan.with_costs(measured, best.manifest.recipe))

    def _with_former_training(self, tests: list[RecallTest]) -> BuiltIndex | None:
        """Fill an index with former training, if its recipe, targets and size still fit."""
        if self._previous is None or self._vector_name not in self._previous.manifest.named_vectors:
            return None
        release = self._previous.manifest
        former, plan = (
            release.named_vectors[self._vector_name],
            release.plans.get(self._vector_name),
        )
        growth = len(self._vectors.rows) / max(former.trained_rows, 1)
        limit = self._settings.retrain_growth
        if plan is None or plan.targets != self._settings.targets or not 1 / limit < growth < limit:
            return None
        if is_exhaustive(former.recipe):
            return _with_former_plan(self._exact(former.recipe, plan), former)
        recipe = recipe_named(former.recipe)
        if self._devices and not recipe.has_gpu_form:
            return None
        trained = self._previous.segment.named_vectors[self._vector_name].index
        built = self._tuned(*self._filled(recipe, trained), tests, plan)
        if built is None or not _meets(built.manifest, self._settings.targets):
            return None
        return _with_former_plan(built, former)

    def _filled(
        self,
        recipe: Recipe,
        trained: VectorIndex | None = None,
        shared: SharedTraining | None = None,
    ) -> tuple[VectorIndex, float]:
        """Return an index and its build seconds, those of what it shares among them."""
        start = time.perf_counter() - (shared.seconds(recipe.family) if shared else 0.0)
        title = f"indexing {self._vector_name}" if self._progress else None
        index = recipe.build(self._vectors.vectors, trained, shared=shared, progress=title)
        return placing(self._devices)(index), time.perf_counter() - start

    def _tuned(
        self, index: VectorIndex, build_s: float, tests: list[RecallTest], plan: Plan
    ) -> BuiltIndex | None:
        """Tune and measure an index; None where no search parameters reach the recall."""
        miss_ratio = plan.indexed_miss_ratio(index.recipe)
        vectors = replace(self._vectors, index=index, indexed_miss_ratio=miss_ratio)
        view = with_vectors(self._view, self._vector_name, vectors)
        parameters = tune_search_parameters(view, self._vector_name, tests, self._settings.recall)
        if parameters is None:
            return None
        return self._measured(view, index.with_parameters(parameters), tests, plan, build_s)

    def _measured(
        self, view: View, index: VectorIndex, tests: list[RecallTest], plan: Plan, build_s: float
    ) -> BuiltIndex:
        all_queries = np.concatenate([test.queries.vectors for test in tests])
        tuned = replace(view.segments[0].named_vectors[self._vector_name], index=index)
        # Filters are measured with items of the index, which have to miss less than unseen ones.
        indexed_recall = 1 - (1 - self._settings.recall) * tuned.indexed_miss_ratio
        filter_costs = measure_filter_costs(tuned, all_queries, indexed_recall)
        queries = np.random.default_rng(QUERY_SEED).permutation(all_queries)[:LATENCY_QUERIES]
        p50_ms, p99_ms = latency_ms(index, queries)
        sample = self._vectors.vectors[:: max(1, len(index) // self._settings.sample_rows)]
        fit = index.training_fit(np.asarray(sample))
        manifest = VectorManifest(
            vectors=len(index),
            dim=self._vectors.vectors.shape[1],
            recipe=index.recipe.name,
            parameters=index.parameters,
            filter_costs=filter_costs,
            trained_rows=len(index),
            training_fit=None if fit is None else round(fit, 4),
            bytes_per_vector=round(index.bytes_per_vector, 1),
            queries_per_s=round(len(queries) / batch_seconds(index, queries), 1),
            p50_ms=round(p50_ms, 4),
            p99_ms=round(p99_ms, 4),
            build_s=round(build_s, 2),
            indexed_miss_ratio=tuned.indexed_miss_ratio,
        )
        return BuiltIndex(with_index(view, self._vector_name, index, filter_costs), manifest, plan)

    def _exact(self, recipe: str, plan: Plan | None = None) -> BuiltIndex:
        """Compare every vector; with a plan, latency is measured for the release check."""
        index, build_s = self._filled(recipe_named(recipe))
        manifest = VectorManifest(
            vectors=len(index),
            dim=self._vectors.vectors.shape[1],
            recipe=recipe,
            trained_rows=len(index),
            bytes_per_vector=round(index.bytes_per_vector, 1),
            build_s=round(build_s, 2),
        )
        if plan is not None:
            rng = np.random.default_rng(QUERY_SEED)
            p50_ms, p99_ms = latency_ms(index, rng.choice(self._vectors.vectors, LATENCY_QUERIES))
            latency = {"p50_ms": round(p50_ms, 4), "p99_ms": round(p99_ms, 4)}
            manifest = manifest.model_copy(update=latency)
        if recipe == EXACT:
            return BuiltIndex(self._view, manifest, plan)
        return BuiltIndex(with_index(self._view, self._vector_name, index), manifest, plan)


def exact_recipe(rows: int, dim: int) -> str:
    """Return the name of the exact recipe that answers one query fastest."""
    return EXACT if rows * dim * FLOAT32_BYTES <= SINGLE_PRECISION_BYTES else EXACT_HALF


def needs_plan(rows: int, dim: int, settings: IndexSettings) -> bool:
    """Return whether so many vectors are too many for exact search without a plan."""
    if settings.latency_ms is not None or settings.memory is not None:
        return rows > MIN_PLANNED_ROWS
    too_many = rows > max(MIN_PLANNED_ROWS, settings.exact_rows)
    return too_many and rows * dim * FLOAT32_BYTES > settings.exact_bytes


def plan_index(
    view: View,
    vector_name: str,
    settings: IndexSettings,
    sample_queries: QuerySampler,
    *,
    rows: int | None = None,
    devices: Devices = (),
    progress: bool = False,
) -> Plan:
    """Measure every recipe on a sample of a view, for all its vectors or another number.

    So few vectors that publishing compares them all are measured in that recipe alone.
    """
    vectors = view.segments[0].named_vectors[vector_name]
    count = rows or len(vectors.rows)
    return make_plan(
        _sample(view, vector_name, settings.sample_rows),
        vector_name,
        sample_queries,
        settings.targets,
        count,
        devices=devices,
        recipes=_considered(count, vectors.vectors.shape[1], settings, devices),
        progress=progress,
    )


def _considered(rows: int, dim: int, settings: IndexSettings, devices: Devices) -> list[Recipe]:
    if not needs_plan(rows, dim, settings):
        return [recipe_named(exact_recipe(rows, dim))]
    return list(suitable(dim, on_gpu=bool(devices)))


def _is_settled(best: BuiltIndex, plan: Plan, following: Recipe) -> bool:
    """Return whether the next recipe of a plan is no better than what was built.

    Bytes and the order of build times are as forecast; the time of a query may be less.
    """
    if plan.targets.prefer != "speed":
        return True
    return best.manifest.query_cost <= plan.min_query_cost(following)


def _sample(view: View, vector_name: str, max_rows: int) -> View:
    segment = view.segments[0]
    rows = segment.named_vectors[vector_name].rows
    if len(rows) <= max_rows:
        return view
    mask = np.zeros(len(segment), bool)
    mask[np.random.default_rng(0).choice(rows, max_rows, replace=False)] = True
    return sample_view(view, mask)


def _with_former_plan(built: BuiltIndex, former: VectorManifest) -> BuiltIndex:
    """Record that the plan and the training are those of an earlier release."""
    update = {"trained_rows": former.trained_rows, "training_fit": former.training_fit}
    return replace(built, manifest=built.manifest.model_copy(update=update))


def _meets(manifest: VectorManifest, targets: Targets) -> bool:
    """Return whether what was built meets the targets of latency and memory."""
    return not shortfalls([], {"": manifest}, targets)

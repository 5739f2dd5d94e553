"""Building: plan, train, fill and tune the index of one named vector."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.gpu import Devices, placing
from isthmus.index.ann.recipes import EXACT, Recipe, recipe_named
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.shared import Shared
from isthmus.index.releases.manifest import VectorManifest
from isthmus.index.releases.plan import FullSize, Plan, require_possible
from isthmus.index.releases.planner import LATENCY_QUERIES, make_plan
from isthmus.index.releases.recall import QuerySampler, Trial, make_trials, sampled_view
from isthmus.index.releases.release import Release
from isthmus.index.releases.release_check import misses
from isthmus.index.releases.tuning import (
    batch_seconds,
    measure_masked,
    single_ms,
    tune_effort,
    with_index,
    with_vectors,
)
from isthmus.index.releases.view import View
from isthmus.index.settings import IndexSettings, Targets

FEWEST_PLANNED = 1_000
TRIES = 3


@dataclass(frozen=True, eq=False)
class Built:
    """A view with a block's index, and how it was come by."""

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
    queries_of : callable
        Kinds of query, see `make_trials`.
    devices : tuple of int
        GPUs that hold the index while it is measured.
    previous : Release or None
        Whose plan and training serve on, as long as they fit.
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
        self._block = vector_name
        self._own = view.segments[0].named_vectors[vector_name]
        self._settings = settings
        self._sample_queries = sample_queries
        self._previous = previous
        self._devices = devices
        self._progress = progress

    def build(self) -> Built:
        """Build it.

        Raises
        ------
        ImpossibleTargets
            If no recipe meets the targets.
        """
        if not worth_planning(len(self._own.rows), self._settings):
            return self._exact()
        trials = make_trials(self._view, self._block, self._sample_queries)
        again = self._with_former_training(trials)
        if again is not None:
            return again
        plan = plan_index(
            self._view,
            self._block,
            self._settings,
            self._sample_queries,
            devices=self._devices,
            progress=self._progress,
        )
        require_possible(plan)
        return self._cheapest(plan, trials)

    def _cheapest(self, plan: Plan, trials: list[Trial]) -> Built:
        """Build the cheapest recipe of a plan, and the next too where that may be cheaper.

        No more than the best so far and the one being tried are held at a time.
        """
        best: Built | None = None
        shared = Shared()
        measured: dict[str, FullSize] = {}
        ranked = plan.ranked[:TRIES]
        for recipe, following in zip(ranked, [*ranked[1:], None], strict=True):
            index, build_s = self._filled(recipe, shared=shared)
            built = self._tuned(index, build_s, trials, plan)
            if built is not None and _meets(built.manifest, self._settings.targets):
                measured[recipe.name] = built.manifest.expectation
                if best is None or built.manifest.cost < best.manifest.cost:
                    best = built
            del built, index
            enough = following is None or (
                best is not None and best.manifest.cost <= plan.least_cost_of(following)
            )
            if enough:
                break
        if best is None:
            return self._exact(plan)
        return replace(best, plan=plan.with_costs(measured, best.manifest.recipe))

    def _with_former_training(self, trials: list[Trial]) -> Built | None:
        """Fill an index that was trained before, if its recipe, targets and size still fit."""
        if self._previous is None or self._block not in self._previous.manifest.named_vectors:
            return None
        former = self._previous.manifest
        known, plan = former.named_vectors[self._block], former.plans.get(self._block)
        growth = len(self._own.rows) / max(known.trained_rows, 1)
        limit = self._settings.retrain_growth
        if plan is None or plan.targets != self._settings.targets or not 1 / limit < growth < limit:
            return None
        recipe = recipe_named(known.recipe)
        if recipe.name == EXACT:
            return _planned_before(self._exact(plan), known)
        if self._devices and not recipe.on_gpu:
            return None
        trained = self._previous.segment.named_vectors[self._block].index
        built = self._tuned(*self._filled(recipe, trained), trials, plan)
        if built is None or not _meets(built.manifest, self._settings.targets):
            return None
        return _planned_before(built, known)

    def _filled(
        self,
        recipe: Recipe,
        trained: VectorIndex | None = None,
        shared: Shared | None = None,
    ) -> tuple[VectorIndex, float]:
        """Train and fill an index; give it, and the seconds, those of what it shares among them."""
        start = time.perf_counter() - (shared.seconds(recipe.family) if shared else 0.0)
        title = f"indexing {self._block}" if self._progress else None
        index = VectorIndex.build(recipe, self._own.vectors, trained, shared=shared, progress=title)
        return placing(self._devices)(index), time.perf_counter() - start

    def _tuned(
        self, index: VectorIndex, build_s: float, trials: list[Trial], plan: Plan
    ) -> Built | None:
        """Tune and measure it; None where no effort reaches the recall."""
        known_misses = plan.known_misses_of(index.recipe)
        own = replace(self._own, index=index, known_misses=known_misses)
        view = with_vectors(self._view, self._block, own)
        effort = tune_effort(view, self._block, trials, self._settings.recall)
        if effort is None:
            return None
        return self._measured(view, index.trying(effort), trials, plan, build_s)

    def _measured(
        self, view: View, index: VectorIndex, trials: list[Trial], plan: Plan, build_s: float
    ) -> Built:
        asked = np.concatenate([trial.kind.vectors for trial in trials])
        tuned = replace(view.segments[0].named_vectors[self._block], index=index)
        known_recall = 1 - (1 - self._settings.recall) * tuned.known_misses
        masked = measure_masked(tuned, asked, known_recall)
        queries = np.random.default_rng(3).permutation(asked)[:LATENCY_QUERIES]
        median, high = single_ms(index, queries)
        sample = self._own.vectors[:: max(1, len(index) // self._settings.sample_rows)]
        fit = index.fit(np.asarray(sample))
        manifest = VectorManifest(
            vectors=len(index),
            dim=self._own.vectors.shape[1],
            recipe=index.recipe.name,
            parameters=index.parameters,
            masked=masked,
            trained_rows=len(index),
            fit=None if fit is None else round(fit, 4),
            bytes_a_vector=round(index.bytes_a_vector, 1),
            queries_s=round(len(queries) / batch_seconds(index, queries), 1),
            p50_ms=round(median, 4),
            p99_ms=round(high, 4),
            build_s=round(build_s, 2),
            known_misses=tuned.known_misses,
        )
        return Built(with_index(view, self._block, index, masked), manifest, plan)

    def _exact(self, plan: Plan | None = None) -> Built:
        """Search exactly; where targets made a plan necessary, measured, for the gate to judge."""
        rows, dim = self._own.vectors.shape
        manifest = VectorManifest(
            vectors=rows,
            dim=dim,
            recipe=EXACT,
            parameters=SearchParameters(),
            bytes_a_vector=4.0 * dim,
        )
        if plan is not None:
            index = VectorIndex.build(recipe_named(EXACT), self._own.vectors)
            queries = np.random.default_rng(3).choice(self._own.vectors, LATENCY_QUERIES)
            median, high = single_ms(index, queries)
            times = {"p50_ms": round(median, 4), "p99_ms": round(high, 4)}
            manifest = manifest.model_copy(update=times)
        return Built(self._view, manifest, plan)


def worth_planning(rows: int, settings: IndexSettings) -> bool:
    """Tell whether so many vectors are too many to be compared one by one without asking."""
    limited = settings.latency_ms is not None or settings.memory is not None
    return rows > (FEWEST_PLANNED if limited else settings.exact_rows)


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
    """Measure every recipe on a sample of a view, for all its vectors or another number."""
    own = view.segments[0].named_vectors[vector_name]
    sample = _sample(view, vector_name, settings.sample_rows)
    return make_plan(
        sample,
        vector_name,
        sample_queries,
        settings.targets,
        rows or len(own.rows),
        devices=devices,
        progress=progress,
    )


def _sample(view: View, vector_name: str, most: int) -> View:
    segment = view.segments[0]
    rows = segment.named_vectors[vector_name].rows
    if len(rows) <= most:
        return view
    kept = np.zeros(len(segment), bool)
    kept[np.random.default_rng(0).choice(rows, most, replace=False)] = True
    return sampled_view(view, kept)


def _planned_before(built: Built, known: VectorManifest) -> Built:
    """Note that the plan and the training are those of an earlier release."""
    earlier = {"trained_rows": known.trained_rows, "fit": known.fit}
    return replace(built, manifest=built.manifest.model_copy(update=earlier))


def _meets(manifest: VectorManifest, targets: Targets) -> bool:
    """Tell whether what was built is as quick and small as it has to be."""
    return not misses([], {"": manifest}, targets)

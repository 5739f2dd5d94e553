"""The run of a plan: every protocol is made, every baseline tuned, every system measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.evaluation.answers import ResultCache, SystemRunner
from isthmus.evaluation.baselines.baseline import BaselineSystem, Random
from isthmus.evaluation.baselines.rating_means import RatingBaseline
from isthmus.evaluation.baselines.tuning import (
    Trial,
    default_grids,
    rating_grids,
    tuned,
    tuned_rater,
)
from isthmus.evaluation.evaluate import evaluate_task, evaluation_settings, make_report
from isthmus.evaluation.html_report import write_html
from isthmus.evaluation.lists import ItemVectors
from isthmus.evaluation.protocols import Protocol
from isthmus.evaluation.report import (
    Evaluation,
    EvaluationSettings,
    SkippedTask,
    TaskResult,
)
from isthmus.evaluation.request import EvaluationPlan
from isthmus.evaluation.splits import planned_splits
from isthmus.evaluation.systems import (
    FittedSystem,
    LazySystem,
    System,
    can_answer,
    prepare,
    require_system,
    settings_of,
)
from isthmus.evaluation.task import Task
from isthmus.progress import Advance, progress_bar

CACHE_FOLDER: Final = "cache"


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """The data and the systems of an evaluation.

    Attributes
    ----------
    interactions : pyarrow.Table
        user_id, item_id, value, time.
    domains : mapping of str to str
        The domain of every item, used or not.
    contents : ItemVectors
        Content of the items; a row of zeros where an item has none.
    systems : mapping of str to System
        The systems beside the baselines, by name.
    user_attributes : mapping of str to mapping of str to str
        For each attribute of users, the value of each user that has one.
    variants : mapping of str to str
        Systems that are variants of others, and the system that each is compared with.
    """

    interactions: pa.Table
    domains: Mapping[str, str]
    contents: ItemVectors
    systems: Mapping[str, System]
    user_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)


def run_evaluation(
    plan: EvaluationPlan, data: EvaluationData, *, out: Path | None = None, show: bool = False
) -> Evaluation:
    """Evaluate by a plan.

    For each protocol every baseline is tuned on val, and all systems answer val and test. A
    protocol that cannot be made is reported as skipped, and a system that fails with its error;
    neither stops the rest.

    Parameters
    ----------
    plan : EvaluationPlan
        The plan.
    data : EvaluationData
        The data, and the systems beside the baselines.
    out : Path, optional
        A folder for ``evaluation.json``, ``evaluation.html`` and, under ``cache``, every trial and
        every answer: an interrupted evaluation goes on where it stopped. Answers of systems
        without settings are not cached.
    show : bool
        Whether to show a bar for each protocol.

    Raises
    ------
    InvalidInput
        If a target is unknown, a system has the name of a baseline, the folder cannot be written,
        there is nothing to evaluate on, or every protocol is skipped.
    MissingDependency
        If there is a folder, and matplotlib is not installed; the JSON is written before.
    """
    clashes = sorted(set(data.systems).intersection(plan.baseline_names))
    if clashes:
        raise InvalidInput(f"{clashes[0]!r} is the name of a baseline; give the system another")
    for name, system in data.systems.items():
        require_system(name, system)
    cache = None if out is None else ResultCache(out / CACHE_FOLDER)
    run = _Run(plan, data, _evaluation_settings(plan), cache)
    results: list[TaskResult] = []
    skipped: list[SkippedTask] = []
    system_settings: dict[str, Any] = {}
    for split in planned_splits(plan, data.interactions, data.domains):
        try:
            protocol = split.make()
            run.require_systems(protocol.val)
        except InvalidInput as error:
            skipped.append(SkippedTask(name=split.name, reason=str(error)))
            continue
        of_tasks, of_systems = run.measure(protocol, show=show)
        results += of_tasks
        name = protocol.test.name
        system_settings[split.name if name in system_settings else name] = of_systems
    if not results:
        reasons = "; ".join(f"{task.name}: {task.reason}" for task in skipped)
        raise InvalidInput(f"nothing could be evaluated ({reasons or 'no protocol was asked for'})")
    settings = run.settings.model_copy(update={"systems": system_settings})
    evaluation = make_report(settings, results, skipped)
    if out is not None:
        evaluation.write(out / "evaluation.json")
        write_html(evaluation, out / "evaluation.html")
    return evaluation


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same from protocol to protocol."""

    plan: EvaluationPlan
    data: EvaluationData
    settings: EvaluationSettings
    cache: ResultCache | None

    def require_systems(self, task: Task) -> None:
        """Refuse a task that no system can answer."""
        if not self._grids(task) and not self._systems(task):
            what = "predicts values" if task.kind == "rating" else "recommends"
            raise InvalidInput(f"none of the systems that were asked for {what}")

    def measure(
        self, protocol: Protocol, *, show: bool
    ) -> tuple[list[TaskResult], dict[str, dict[str, Any]]]:
        """Tune, and run every system on val and test; return the settings of all, too."""
        val = protocol.val
        grids = self._grids(val)
        others = self._systems(val)
        trials = sum(len(grid) for grid in grids.values() if len(grid) > 1)
        steps = trials + len(protocol) * (len(grids) + len(others))
        systems: dict[str, FittedSystem | LazySystem] = {}
        settings: dict[str, dict[str, Any]] = {}
        with progress_bar(val.name, steps, show=show) as advance:
            for name, grid in grids.items():
                systems[name] = self._tuned(grid, val, advance, settings)
            for name, system in others.items():
                systems[name] = prepare(system, val)
                of_system = settings_of(system)
                if of_system is not None:
                    settings[name] = {"settings": of_system, "validation task": val.digest}
            runner = SystemRunner(
                self.settings, self.data.contents, self.data.user_attributes, self.cache, advance
            )
            variants = {n: of for n, of in self.data.variants.items() if n in systems}
            results = [
                evaluate_task(task, systems, runner, variants, settings) for task in protocol
            ]
        return results, settings

    def _systems(self, task: Task) -> dict[str, System]:
        """Return the systems beside the baselines that can answer a task."""
        systems = self.data.systems
        return {name: system for name, system in systems.items() if can_answer(system, task)}

    def _grids(self, task: Task) -> dict[str, Sequence[Any]]:
        """Return the grids of the plan's baselines that can answer a task."""
        grids: Mapping[str, Sequence[Any]] = (
            rating_grids()
            if task.kind == "rating"
            else default_grids(content=True, seed=self.plan.seed)
        )
        names = [name for name in self.plan.baseline_names if name in grids]
        return {name: grids[name][:1] if self.plan.quick else grids[name] for name in names}

    def _tuned(
        self, grid: Sequence[Any], val: Task, advance: Advance, settings: dict[str, dict[str, Any]]
    ) -> FittedSystem | LazySystem:
        """Choose from a grid, and note what was chosen; a failure is raised on first use."""
        try:
            system, trials = self._tune(grid, val, advance)
        except Exception as error:
            return LazySystem(partial(_fail, error))
        chosen = system.baseline if isinstance(system, BaselineSystem) else system
        settings[chosen.name] = {
            "settings": chosen.settings(),
            "trials": [asdict(trial) for trial in trials],
        }
        return system

    def _tune(
        self, grid: Sequence[Any], val: Task, advance: Advance
    ) -> tuple[BaselineSystem | RatingBaseline, tuple[Trial, ...]]:
        """Tune where there is a choice; return the system and the trials."""
        first, has_choice = grid[0], len(grid) > 1
        if isinstance(first, RatingBaseline):
            if not has_choice:
                return first, ()
            rater = tuned_rater(grid, val, cache=self.cache, advance=advance)
            return rater.system, rater.trials
        contents = self.data.contents if first.needs_vectors else None
        if not has_choice:
            return BaselineSystem(first, *(() if contents is None else contents.parts)), ()
        best = tuned(
            grid,
            val,
            metric=self.plan.metric,
            contents=contents,
            cache=self.cache,
            advance=advance,
        )
        return best.system, best.trials


def _evaluation_settings(plan: EvaluationPlan) -> EvaluationSettings:
    settings = evaluation_settings(
        ks=plan.ks, metric=plan.metric, n=plan.n, resamples=plan.resamples, seed=plan.seed
    )
    names = plan.baseline_names
    to_beat = [name for name in names if name != Random.NAME] or names
    return settings.model_copy(update={"baselines": list(to_beat)})


def _fail(error: Exception) -> FittedSystem:
    raise error

"""A plan carried out: every protocol made, every baseline tuned, every system measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.evaluation.answers import Asking, KeptResults
from isthmus.evaluation.baselines.baseline import BaselineSystem
from isthmus.evaluation.baselines.chance import Chance
from isthmus.evaluation.baselines.content import Content
from isthmus.evaluation.baselines.means import RatingBaseline
from isthmus.evaluation.baselines.tuning import (
    Trial,
    default_grids,
    rating_grids,
    tuned,
    tuned_rater,
)
from isthmus.evaluation.evaluate import evaluate_task, how_to_measure, report_of
from isthmus.evaluation.lists import ItemVectors
from isthmus.evaluation.plan import proposals
from isthmus.evaluation.protocols import Protocol
from isthmus.evaluation.report import (
    Evaluation,
    EvaluationSettings,
    SkippedTask,
    TaskResult,
)
from isthmus.evaluation.request import EvaluationPlan
from isthmus.evaluation.systems import (
    Later,
    Ready,
    System,
    answers,
    prepared,
    require_system,
    settings_of,
)
from isthmus.evaluation.task import Task
from isthmus.progress import Advance, progress_bar


@dataclass(frozen=True, eq=False)
class Material:
    """What there is to evaluate on.

    Attributes
    ----------
    interactions : pyarrow.Table
        user_id, item_id, value, time.
    domains : mapping of str to str
        The domain of every item, used or not.
    contents : ItemVectors
        Content of the items; a row of zeros where an item has none.
    systems : mapping of str to System
        Who is measured beside the baselines, by name.
    """

    interactions: pa.Table
    domains: Mapping[str, str]
    contents: ItemVectors
    systems: Mapping[str, System]


def carry_out(
    plan: EvaluationPlan, material: Material, *, out: Path | None = None, show: bool = False
) -> Evaluation:
    """Evaluate by a plan.

    For each protocol every baseline is tuned on val, and all systems answer val and test. A
    protocol that cannot be made is reported as skipped, and a system that fails with its error;
    neither stops the rest.

    Parameters
    ----------
    plan : EvaluationPlan
        What is asked for.
    material : Material
        On what, and of whom beside the baselines.
    out : Path, optional
        A folder for ``evaluation.json``, ``evaluation.html`` and, under ``kept``, every trial and
        every answer: the same evaluation again takes them from there, so that one that was
        interrupted goes on. Answers of systems that do not tell their settings are not kept.
    show : bool
        Whether to show a bar for each protocol.

    Raises
    ------
    InvalidInput
        If a target is unknown, a system has the name of a baseline, the folder cannot be written,
        there is nothing to evaluate on, or every protocol is skipped.
    MissingDependency
        If there is a folder, and matplotlib is not installed; the JSON is there then.
    """
    taken = sorted(set(material.systems).intersection(plan.baseline_names))
    if taken:
        raise InvalidInput(f"{taken[0]!r} is the name of a baseline; give the system another")
    for name, system in material.systems.items():
        require_system(name, system)
    work = _Work(plan, material, _how(plan), None if out is None else KeptResults(out / "kept"))
    results: list[TaskResult] = []
    skipped: list[SkippedTask] = []
    settings: dict[str, Any] = {}
    for proposal in proposals(plan, material.interactions, material.domains):
        try:
            protocol = proposal.make()
            work.require_systems(protocol.val)
        except InvalidInput as error:
            skipped.append(SkippedTask(name=proposal.name, reason=str(error)))
            continue
        found, chosen = work.measure(protocol, show=show)
        results += found
        name = protocol.test.name
        settings[proposal.name if name in settings else name] = chosen
    if not results:
        reasons = "; ".join(f"{own.name}: {own.reason}" for own in skipped)
        raise InvalidInput(f"nothing could be evaluated ({reasons or 'no protocol was asked for'})")
    how = work.how.model_copy(update={"systems": settings})
    evaluation = report_of(how, results, skipped)
    if out is not None:
        _write(evaluation, out)
    return evaluation


@dataclass(frozen=True, eq=False)
class _Work:
    """What stays the same from protocol to protocol."""

    plan: EvaluationPlan
    material: Material
    how: EvaluationSettings
    kept: KeptResults | None

    def require_systems(self, task: Task) -> None:
        """Refuse a task that nobody can answer."""
        if not self._grids(task) and not self._own(task):
            what = "predicts values" if task.kind == "rating" else "recommends"
            raise InvalidInput(f"none of the systems that were asked for {what}")

    def measure(
        self, protocol: Protocol, *, show: bool
    ) -> tuple[list[TaskResult], dict[str, dict[str, Any]]]:
        """Tune, and ask every system on val and test; give the settings of all, too."""
        val = protocol.val
        grids = self._grids(val)
        own = self._own(val)
        trials = sum(len(grid) for grid in grids.values() if len(grid) > 1)
        steps = trials + len(protocol) * (len(grids) + len(own))
        systems: dict[str, Ready | Later] = {}
        settings: dict[str, dict[str, Any]] = {}
        with progress_bar(val.name, steps, show=show) as advance:
            for name, grid in grids.items():
                systems[name] = self._best(grid, val, advance, settings)
            for name, system in own.items():
                systems[name] = prepared(system, val)
                told = settings_of(system)
                if told is not None:
                    settings[name] = {"settings": told, "validation task": val.digest}
            asking = Asking(self.how, self.material.contents, self.kept, advance)
            results = [evaluate_task(t, systems, asking, settings=settings) for t in protocol]
        return results, settings

    def _own(self, task: Task) -> dict[str, System]:
        """Give the systems beside the baselines that can answer a task."""
        return {name: own for name, own in self.material.systems.items() if answers(own, task)}

    def _grids(self, task: Task) -> dict[str, Sequence[Any]]:
        """Give the grids of the baselines that were asked for and can answer."""
        grids: Mapping[str, Sequence[Any]] = (
            rating_grids()
            if task.kind == "rating"
            else default_grids(content=True, seed=self.plan.seed)
        )
        asked = [name for name in self.plan.baseline_names if name in grids]
        return {name: grids[name][:1] if self.plan.quick else grids[name] for name in asked}

    def _best(
        self, grid: Sequence[Any], val: Task, advance: Advance, settings: dict[str, dict[str, Any]]
    ) -> Ready | Later:
        """Choose of a grid, and note what was chosen; a failure is kept for who asks the system."""
        try:
            system, trials = self._choose(grid, val, advance)
        except Exception as error:
            return Later(partial(_fail, error))
        chosen = system.baseline if isinstance(system, BaselineSystem) else system
        settings[chosen.name] = {
            "settings": chosen.settings(),
            "trials": [asdict(trial) for trial in trials],
        }
        return system

    def _choose(
        self, grid: Sequence[Any], val: Task, advance: Advance
    ) -> tuple[BaselineSystem | RatingBaseline, tuple[Trial, ...]]:
        """Tune where there is a choice; give the system, and what was tried."""
        first, to_choose = grid[0], len(grid) > 1
        if isinstance(first, RatingBaseline):
            if not to_choose:
                return first, ()
            rater = tuned_rater(grid, val, kept=self.kept, advance=advance)
            return rater.system, rater.trials
        contents = self.material.contents if isinstance(first, Content) else None
        if not to_choose:
            return BaselineSystem(first, *(() if contents is None else contents.parts)), ()
        metric = self.plan.metric
        found = tuned(grid, val, metric=metric, contents=contents, kept=self.kept, advance=advance)
        return found.system, found.trials


def _how(plan: EvaluationPlan) -> EvaluationSettings:
    how = how_to_measure(
        ks=plan.ks, metric=plan.metric, n=plan.n, resamples=plan.resamples, seed=plan.seed
    )
    asked = plan.baseline_names
    to_beat = [name for name in asked if name != Chance.name] or asked
    return how.model_copy(update={"baselines": list(to_beat)})


def _fail(error: Exception) -> Ready:
    raise error


def _write(evaluation: Evaluation, out: Path) -> None:
    from isthmus.evaluation.html_report import write_html

    evaluation.write(out / "evaluation.json")
    write_html(evaluation, out / "evaluation.html")

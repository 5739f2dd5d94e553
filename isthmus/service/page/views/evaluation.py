"""Evaluation: how well systems recommend what was hidden from them, as reports of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from isthmus.api.answers import RESULTS_OF_JOBS
from isthmus.errors import UnknownRoute
from isthmus.evaluation.report import ComparisonResult, Evaluation, SystemResult, TaskResult
from isthmus.service.page.visit import Visit

VALIDATION: Final = "val"
EVALUATE: Final = "evaluate"
WIDTH: Final = 100.0
PROTOCOLS: Final = {
    "cold": "cold: all that some users did in the target is hidden",
    "few3": "few3: all but three",
    "warm": "warm: a fifth",
    "cold_item": "cold_item: all that happened to some items",
    "session": "session: the second half of a session",
}
MAX_REPORTS: Final = 10


@dataclass(frozen=True)
class SystemBar:
    """A system on the scale of its task.

    Attributes
    ----------
    result : SystemResult
        The system.
    value, low, high : float or None
        Its metric.
    width, low_at, high_at : float
        Where they stand, from 0 to 100.
    is_own : bool
        Whether it is a system of the space.
    comparison : ComparisonResult or None
        With the best baseline.
    """

    result: SystemResult
    value: float | None
    low: float | None
    high: float | None
    width: float
    low_at: float
    high_at: float
    is_own: bool
    comparison: ComparisonResult | None


@dataclass(frozen=True)
class Task:
    """A task with its systems, the best first."""

    result: TaskResult
    metric: str
    bars: list[SystemBar]


async def show(visit: Visit) -> Response:
    """Show a report, by default the latest, and the form that starts another evaluation."""
    jobs = [job for job in await visit.ask("jobs") if job["operation"] == EVALUATE]
    done = [job for job in jobs if job["state"] == "done"]
    wanted = visit.text("job")
    job = next((one for one in done if wanted in ("", one["job_id"])), None)
    if wanted and job is None:
        raise UnknownRoute(f"there is no finished evaluation {wanted[:40]!r}")
    report = None if job is None else RESULTS_OF_JOBS[EVALUATE].read(job["result"])
    targets = await visit.domains() if visit.may("facets") else {}
    metrics = _metrics_of(report)
    asked = visit.text("metric")
    metric = asked if asked in metrics else ("" if report is None else report.settings.metric)
    return visit.show(
        "evaluation.html",
        report=report,
        job=job,
        done=done[:MAX_REPORTS],
        metrics=metrics,
        metric=metric,
        tasks=[] if report is None else _tasks(report, metric),
        running=any(one["state"] == "running" for one in jobs),
        jobs=jobs[:3] if jobs and jobs[0]["state"] != "done" else [],
        protocols=PROTOCOLS,
        targets=list(targets),
        started=visit.text("started"),
    )


async def start(visit: Visit) -> Response:
    """Start an evaluation."""
    job: dict[str, Any] = await visit.ask(
        EVALUATE,
        protocols=visit.texts("protocol") or None,
        targets=visit.texts("target") or None,
        quick=bool(visit.text("quick")) or None,
    )
    return visit.go("evaluation", started=job["job_id"])


def _metrics_of(report: Evaluation | None) -> list[str]:
    """Return the metrics that any system of a report has."""
    if report is None:
        return []
    found = (name for task in report.tasks for one in task.systems for name in one.metrics)
    return list(dict.fromkeys(found))


def _tasks(report: Evaluation, metric: str) -> list[Task]:
    """Return the tasks of a report, those that settings were chosen by last."""
    ordered = sorted(report.tasks, key=lambda task: task.split == VALIDATION)
    return [_task(one, metric) for one in ordered]


def _task(task: TaskResult, metric: str) -> Task:
    """Return a task with its systems on one scale; where it lacks the metric, by its first one."""
    available = list(dict.fromkeys(name for one in task.systems for name in one.metrics))
    metric = metric if metric in available or not available else available[0]
    values = [one.metrics[metric] for one in task.systems if metric in one.metrics]
    end = max((value.high for value in values), default=1.0) or 1.0
    own = {"isthmus", "isthmus ratings", "interests"}
    compared = {one.system: one for one in task.comparisons if one.metric == metric}
    bars = [_bar(one, metric, end, own, compared) for one in task.systems]
    smaller_is_better = metric in ("rmse", "mae")
    bars.sort(key=lambda bar: _order(bar, smaller_is_better=smaller_is_better))
    return Task(task, metric, bars)


def _order(bar: SystemBar, *, smaller_is_better: bool) -> tuple[bool, float]:
    value = bar.value or 0.0
    return bar.value is None, value if smaller_is_better else -value


def _bar(
    system: SystemResult,
    metric: str,
    end: float,
    own: Sequence[str] | set[str],
    compared: dict[str, ComparisonResult],
) -> SystemBar:
    found = system.metrics.get(metric)
    is_own = system.name in own or system.name.startswith("isthmus + ")
    comparison = compared.get(system.name)
    if found is None:
        return SystemBar(system, None, None, None, 0.0, 0.0, 0.0, is_own, comparison)
    width, low, high = (
        round(max(value, 0.0) / end * WIDTH, 2) for value in (found.value, found.low, found.high)
    )
    values = found.value, found.low, found.high
    return SystemBar(system, *values, width, low, high, is_own, comparison)

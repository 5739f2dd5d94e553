"""Every system on every task: metrics, comparisons with the best baseline, ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.evaluation.answers import Answer, SystemRunner, to_metric_value
from isthmus.evaluation.lists import ItemVectors, Rater, Recommender
from isthmus.evaluation.report import (
    ComparisonResult,
    Evaluation,
    EvaluationSettings,
    SkippedTask,
    TaskResult,
    library_versions,
)
from isthmus.evaluation.systems import FittedSystem, LazySystem
from isthmus.evaluation.task import Task
from isthmus.numerics.metrics import PerUser, ranking_metrics
from isthmus.numerics.statistics import CORRECTIONS, TESTS, Correction, Test, compare
from isthmus.progress import progress_bar


def evaluate(
    tasks: Sequence[Task],
    systems: Mapping[str, Recommender | Rater],
    *,
    baselines: Sequence[str] = (),
    ablations: Mapping[str, str] | None = None,
    vectors: ItemVectors | None = None,
    ks: Sequence[int] = (10, 20, 200),
    metric: str = "ndcg@10",
    n: int = 200,
    test: Test = "fisher",
    correction: Correction = "holm",
    resamples: int = 2_000,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    show: bool = False,
) -> Evaluation:
    """Measure systems on tasks.

    A system that fails on a task is reported with its error and stops nothing else.

    Parameters
    ----------
    tasks : sequence of Task
        What to answer.
    systems : mapping of str to Recommender or Rater
        The systems by name: a `Rater` for rating tasks, else a `Recommender`.
    baselines : sequence of str
        The systems to beat. All systems are compared with the best of them on each task; since it
        is chosen on that task, the comparison favours the baseline.
    ablations : mapping of str to str, optional
        Systems that lack a part, and the whole system that each is compared with.
    vectors : ItemVectors, optional
        Content of the items, for the diversity of lists.
    ks : sequence of int
        Cut-offs of the metrics; properties of the lists are at 10, or at the first k.
    metric : str
        The metric of comparisons, as named by `ranking_metrics`; rating tasks have rmse and no
        comparisons.
    n : int
        Items that a system returns for each user.
    test, correction, resamples, seed
        As for `compare`.
    settings : mapping, optional
        The systems' settings, for the report.
    show : bool
        Whether to show a bar.

    Raises
    ------
    InvalidInput
        If a name or the metric is unknown.
    """
    evaluation = evaluation_settings(
        ks=ks, metric=metric, n=n, test=test, correction=correction, resamples=resamples, seed=seed
    ).model_copy(update={"baselines": list(baselines), "systems": dict(settings or {})})
    wholes = dict(ablations or {})
    unknown = {*evaluation.baselines, *wholes, *wholes.values()} - set(systems)
    if unknown:
        raise InvalidInput(f"no system {min(unknown)!r}; there are {', '.join(systems)}")
    with progress_bar("evaluating", len(tasks) * len(systems), show=show) as advance:
        runner = SystemRunner(evaluation, vectors, advance=advance)
        results = [evaluate_task(task, systems, runner, wholes) for task in tasks]
    return make_report(evaluation, results)


def evaluation_settings(
    *,
    ks: Sequence[int] = (10, 20, 200),
    metric: str = "ndcg@10",
    n: int = 200,
    test: Test = "fisher",
    correction: Correction = "holm",
    resamples: int = 2_000,
    seed: int = 0,
) -> EvaluationSettings:
    """Validate and return what is measured; the parameters are those of `evaluate`.

    Raises
    ------
    InvalidInput
        If the metric, the test or the correction is unknown, or the lists are too short.
    """
    measured = ranking_metrics(np.zeros((1, 1), bool), np.ones(1, np.int64), ks)
    if metric not in measured:
        raise InvalidInput(f"no metric {metric!r} is measured; there are {', '.join(measured)}")
    if max(ks) > n:
        raise InvalidInput(f"metrics at {max(ks)} need as long lists, but n is {n}")
    if test not in TESTS or correction not in CORRECTIONS:
        raise InvalidInput(
            f"no test {test!r} with correction {correction!r}; tests are "
            f"{', '.join(TESTS)}, corrections {', '.join(CORRECTIONS)}"
        )
    return EvaluationSettings(
        metric=metric,
        ks=list(ks),
        n=n,
        found_k=10 if 10 in ks else min(ks, default=0),
        generator_k=min(200, n),
        test=test,
        correction=correction,
        resamples=resamples,
        seed=seed,
        baselines=[],
        systems={},
    )


def evaluate_task(
    task: Task,
    systems: Mapping[str, FittedSystem | LazySystem],
    runner: SystemRunner,
    ablations: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TaskResult:
    """Measure systems on one task; see `evaluate`.

    Parameters
    ----------
    task : Task
        What to answer.
    systems : mapping of str to Recommender, Rater or LazySystem
        The systems by name.
    runner : SystemRunner
        Runs them.
    ablations : mapping of str to str, optional
        As for `evaluate`.
    settings : mapping, optional
        The settings of systems, by name; the answers of these are cached.
    """
    by_name = settings or {}
    answers = [
        runner.run(task, name, system, by_name.get(name)) for name, system in systems.items()
    ]
    return _result(task, answers, ablations or {}, runner.settings)


def make_report(
    settings: EvaluationSettings, tasks: Sequence[TaskResult], skipped: Sequence[SkippedTask] = ()
) -> Evaluation:
    """Return the report of results, dated now."""
    return Evaluation(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=library_versions(),
        settings=settings,
        tasks=list(tasks),
        skipped=list(skipped),
    )


def _result(
    task: Task,
    answers: Sequence[Answer],
    ablations: Mapping[str, str],
    settings: EvaluationSettings,
) -> TaskResult:
    values = {
        a.result.name: np.array(a.values, np.float64) for a in answers if a.values is not None
    }
    best = max(
        (b for b in settings.baselines if b in values), key=lambda b: values[b].mean(), default=None
    )
    compared_ablations: list[ComparisonResult] = []
    for whole in dict.fromkeys(ablations.values()):
        names = [whole, *(variant for variant, of in ablations.items() if of == whole)]
        if whole in values:
            of_whole = {name: values[name] for name in names if name in values}
            compared_ablations += _compare(of_whole, whole, settings)
    others = {name: of_users for name, of_users in values.items() if name not in ablations}
    return TaskResult(
        name=task.name,
        kind=task.kind,
        split=task.split,
        target_domain=task.target_domain,
        users=len(task.users),
        truth=sum(len(user.truth) for user in task.users),
        candidates=len(task.candidates),
        train=len(task.train),
        facts=dict(task.facts),
        systems=[answer.result for answer in answers],
        best_baseline=best,
        comparisons=[] if best is None else _compare(others, best, settings),
        ablations=compared_ablations,
    )


def _compare(
    values: Mapping[str, PerUser], reference: str, settings: EvaluationSettings
) -> list[ComparisonResult]:
    if len(values) < 2:
        return []
    comparisons = compare(
        values,
        reference,
        test=settings.test,  # type: ignore[arg-type]
        correction=settings.correction,  # type: ignore[arg-type]
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return [
        ComparisonResult(
            system=name,
            reference=reference,
            metric=settings.metric,
            difference=to_metric_value(comparison.difference),
            ratio=None if comparison.ratio is None else to_metric_value(comparison.ratio),
            p_value=comparison.p_value,
            adjusted_p=comparison.adjusted_p,
        )
        for name, comparison in comparisons.items()
    ]

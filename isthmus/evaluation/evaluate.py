"""Every system on every task: lists, metrics, comparisons, parts, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.evaluation.answers import Answer, Asking, figure_of
from isthmus.evaluation.lists import ItemVectors, Rater, Recommender
from isthmus.evaluation.report import (
    ComparisonResult,
    Evaluation,
    EvaluationSettings,
    SkippedTask,
    TaskResult,
    library_versions,
)
from isthmus.evaluation.systems import Later, Ready
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
        Who answers, by name. Ratings ask `Rater`, all else asks `Recommender`.
    baselines : sequence of str
        The systems that are to be beaten. All systems are compared with the best of them on each
        task; since it is chosen on that task, the comparison favours the baseline.
    ablations : mapping of str to str, optional
        Systems that lack a part, and the whole that each is compared with.
    vectors : ItemVectors, optional
        Content of the items, for the diversity of lists.
    ks : sequence of int
        Where the metrics cut lists; at 10 the lists themselves are looked at, or at the first k.
    metric : str
        What comparisons are by, as named by `ranking_metrics`; of ratings it is rmse, and there
        are no comparisons.
    n : int
        Items asked of a system for each user.
    test, correction, resamples, seed
        As for `compare`.
    settings : mapping, optional
        What to keep of the systems' settings in the report.
    show : bool
        Whether to show a bar.

    Raises
    ------
    InvalidInput
        If a name is unknown, or the metric is none that is measured.
    """
    how = how_to_measure(
        ks=ks, metric=metric, n=n, test=test, correction=correction, resamples=resamples, seed=seed
    ).model_copy(update={"baselines": list(baselines), "systems": dict(settings or {})})
    parts = dict(ablations or {})
    unknown = {*how.baselines, *parts, *parts.values()} - set(systems)
    if unknown:
        raise InvalidInput(f"no system {min(unknown)!r}; there are {', '.join(systems)}")
    with progress_bar("evaluating", len(tasks) * len(systems), show=show) as advance:
        asking = Asking(how, vectors, advance=advance)
        results = [evaluate_task(task, systems, asking, parts) for task in tasks]
    return report_of(how, results)


def how_to_measure(
    *,
    ks: Sequence[int] = (10, 20, 200),
    metric: str = "ndcg@10",
    n: int = 200,
    test: Test = "fisher",
    correction: Correction = "holm",
    resamples: int = 2_000,
    seed: int = 0,
) -> EvaluationSettings:
    """Put together what is measured; the parameters are those of `evaluate`.

    Raises
    ------
    InvalidInput
        If the metric is none that is measured, or a name is unknown.
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
        source_k=min(200, n),
        test=test,
        correction=correction,
        resamples=resamples,
        seed=seed,
        baselines=[],
        systems={},
    )


def evaluate_task(
    task: Task,
    systems: Mapping[str, Ready | Later],
    asking: Asking,
    ablations: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TaskResult:
    """Measure systems on one task; see `evaluate`.

    Parameters
    ----------
    task : Task
        What to answer.
    systems : mapping of str to Recommender, Rater or Later
        Who answers, by name.
    asking : Asking
        How they are asked.
    ablations : mapping of str to str, optional
        As for `evaluate`.
    settings : mapping, optional
        What is told of the settings of systems, by name; the answers of these can be kept.
    """
    told = settings or {}
    found = [asking.ask(task, name, system, told.get(name)) for name, system in systems.items()]
    return _result(task, found, ablations or {}, asking.how)


def report_of(
    how: EvaluationSettings, tasks: Sequence[TaskResult], skipped: Sequence[SkippedTask] = ()
) -> Evaluation:
    """Put results together as a report of this moment."""
    return Evaluation(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=library_versions(),
        settings=how,
        tasks=list(tasks),
        skipped=list(skipped),
    )


def _result(
    task: Task, answers: Sequence[Answer], ablations: Mapping[str, str], how: EvaluationSettings
) -> TaskResult:
    values = {
        a.result.name: np.array(a.values, np.float64) for a in answers if a.values is not None
    }
    best = max(
        (b for b in how.baselines if b in values), key=lambda b: values[b].mean(), default=None
    )
    parted: list[ComparisonResult] = []
    for whole in dict.fromkeys(ablations.values()):
        names = [whole, *(part for part, of in ablations.items() if of == whole)]
        if whole in values:
            parted += _compare({n: values[n] for n in names if n in values}, whole, how)
    others = {name: own for name, own in values.items() if name not in ablations}
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
        comparisons=[] if best is None else _compare(others, best, how),
        ablations=parted,
    )


def _compare(
    values: Mapping[str, PerUser], reference: str, how: EvaluationSettings
) -> list[ComparisonResult]:
    if len(values) < 2:
        return []
    compared = compare(
        values,
        reference,
        test=how.test,  # type: ignore[arg-type]
        correction=how.correction,  # type: ignore[arg-type]
        resamples=how.resamples,
        seed=how.seed,
    )
    return [
        ComparisonResult(
            system=name,
            reference=reference,
            metric=how.metric,
            difference=figure_of(own.difference),
            ratio=None if own.ratio is None else figure_of(own.ratio),
            p_value=own.p_value,
            adjusted_p=own.adjusted_p,
        )
        for name, own in compared.items()
    ]

"""Every system on every task: lists, metrics, comparisons, parts, losses."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.progress import progress_bar
from isthmus.retrieval.evaluation.attribution import attribute, cover
from isthmus.retrieval.evaluation.buckets import Bucket, by_evidence, by_truth
from isthmus.retrieval.evaluation.list_metrics import ItemVectors, list_metrics
from isthmus.retrieval.evaluation.lists import (
    Lists,
    Rater,
    Recommender,
    clean_lists,
    hit_matrix,
    truth_ranks,
)
from isthmus.retrieval.evaluation.metrics import PerUser, ranking_metrics, rating_errors
from isthmus.retrieval.evaluation.report import (
    BucketResult,
    ComparisonResult,
    CoverageResult,
    Evaluation,
    EvaluationSettings,
    Figure,
    LossResult,
    SourceResult,
    SystemResult,
    TaskResult,
)
from isthmus.retrieval.evaluation.statistics import (
    CORRECTIONS,
    TESTS,
    Correction,
    Estimate,
    Test,
    compare,
    interval,
    resampled_means,
)
from isthmus.retrieval.evaluation.task import Task

LIBRARIES = ("numpy", "scipy", "pyarrow", "isthmus")


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
    how = EvaluationSettings(
        metric=metric,
        ks=list(ks),
        n=n,
        found_k=10 if 10 in ks else min(ks, default=0),
        source_k=min(200, n),
        test=test,
        correction=correction,
        resamples=resamples,
        seed=seed,
        baselines=list(baselines),
        systems=dict(settings or {}),
    )
    parts = dict(ablations or {})
    _check(how, systems, parts)
    results = []
    with progress_bar("evaluating", len(tasks) * len(systems), show=show) as advance:
        for task in tasks:
            answers = []
            for name, system in systems.items():
                answers.append(_answer(task, name, system, how, vectors))
                advance(1)
            results.append(_result(task, answers, parts, how))
    versions = {name: version(name) for name in LIBRARIES}
    return Evaluation(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **versions},
        settings=how,
        tasks=results,
    )


@dataclass(frozen=True)
class _Answer:
    """What is known of one system on one task."""

    result: SystemResult
    values: PerUser | None


def _check(
    how: EvaluationSettings, systems: Mapping[str, Any], ablations: Mapping[str, str]
) -> None:
    measured = ranking_metrics(np.zeros((1, 1), bool), np.ones(1, np.int64), how.ks)
    if how.metric not in measured:
        raise InvalidInput(f"no metric {how.metric!r} is measured; there are {', '.join(measured)}")
    if max(how.ks) > how.n:
        raise InvalidInput(f"metrics at {max(how.ks)} need as long lists, but n is {how.n}")
    unknown = {*how.baselines, *ablations, *ablations.values()} - set(systems)
    if unknown:
        raise InvalidInput(f"no system {min(unknown)!r}; there are {', '.join(systems)}")
    if how.test not in TESTS or how.correction not in CORRECTIONS:
        raise InvalidInput(
            f"no test {how.test!r} with correction {how.correction!r}; tests are "
            f"{', '.join(TESTS)}, corrections {', '.join(CORRECTIONS)}"
        )


def _answer(
    task: Task,
    name: str,
    system: Recommender | Rater,
    how: EvaluationSettings,
    vectors: ItemVectors | None,
) -> _Answer:
    start = time.perf_counter()
    try:
        if task.kind == "rating":
            metrics = _rate(task, system, how)
            return _Answer(SystemResult(name=name, seconds=_since(start), metrics=metrics), None)
        if not hasattr(system, "recommend"):
            raise InvalidInput("it recommends nothing; it has no method recommend(task, n)")
        lists = system.recommend(task, how.n)
        seconds = _since(start)
        return _measure(task, name, lists, seconds, how, vectors)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return _Answer(SystemResult(name=name, seconds=_since(start), error=said), None)


def _rate(task: Task, system: Recommender | Rater, how: EvaluationSettings) -> dict[str, Figure]:
    if not hasattr(system, "rate"):
        raise InvalidInput("it predicts no values; it has no method rate(task)")
    predicted = [np.asarray(own, np.float64) for own in system.rate(task)]
    ratings = [user.ratings or () for user in task.users]
    whole = rating_errors(predicted, ratings)
    errors = [own - np.asarray(true) for own, true in zip(predicted, ratings, strict=True)]
    sums = np.array([((e**2).sum(), np.abs(e).sum(), len(e)) for e in errors])
    means = resampled_means(sums, how.resamples, how.seed)
    rmse = interval(np.sqrt(means[:, 0] / means[:, 2]))
    mae = interval(means[:, 1] / means[:, 2])
    return {
        "rmse": Figure(value=whole["rmse"], low=rmse[0], high=rmse[1]),
        "mae": Figure(value=whole["mae"], low=mae[0], high=mae[1]),
    }


def _measure(
    task: Task,
    name: str,
    lists: Lists,
    seconds: float,
    how: EvaluationSettings,
    vectors: ItemVectors | None,
) -> _Answer:
    items = clean_lists(task, lists.items, how.n)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(items, truths, how.n)
    values = ranking_metrics(hits, np.array([len(t) for t in truths], np.int64), how.ks)
    means = resampled_means(np.stack(list(values.values()), axis=1), how.resamples, how.seed)
    metrics = {
        key: _figure(Estimate(float(own.mean()), *interval(means[:, place])))
        for place, (key, own) in enumerate(values.items())
    }
    coverage = None
    if lists.sources:
        sources, union = cover(task, lists.sources, how.source_k)
        coverage = CoverageResult(
            k=how.source_k, sources=[SourceResult(**asdict(own)) for own in sources], union=union
        )
    result = SystemResult(
        name=name,
        seconds=seconds,
        metrics=metrics,
        lists=list_metrics(task, items, how.found_k, vectors),
        buckets=_buckets(task, values, items, how),
        coverage=coverage,
        loss=LossResult(**asdict(attribute(task, items, lists.sources, how.found_k))),
    )
    return _Answer(result, values[how.metric])


def _buckets(
    task: Task, values: Mapping[str, PerUser], items: list[list[str]], how: EvaluationSettings
) -> list[BucketResult]:
    again = {"resamples": how.resamples, "seed": how.seed}
    ranks = truth_ranks(items, [user.truth for user in task.users])
    found = by_evidence(task, values[how.metric], how.metric, **again)
    for k in sorted({how.found_k, max(how.ks)}):
        found += by_truth(task, ranks, k, **again)
    return [_bucket(own) for own in found]


def _bucket(bucket: Bucket) -> BucketResult:
    figure = None if bucket.figure is None else _figure(bucket.figure)
    return BucketResult(**{**vars(bucket), "figure": figure})


def _result(
    task: Task, answers: Sequence[_Answer], ablations: Mapping[str, str], how: EvaluationSettings
) -> TaskResult:
    values = {a.result.name: a.values for a in answers if a.values is not None}
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
            difference=_figure(own.difference),
            ratio=None if own.ratio is None else _figure(own.ratio),
            p_value=own.p_value,
            adjusted_p=own.adjusted_p,
        )
        for name, own in compared.items()
    ]


def _figure(estimate: Estimate) -> Figure:
    return Figure(**estimate._asdict())


def _since(start: float) -> float:
    return time.perf_counter() - start

"""One system on one task: its answer, measured, and cached where a folder is given."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.evaluation.attribution import attribute, generator_coverage
from isthmus.evaluation.buckets import Bucket, by_attributes, by_evidence, by_truth
from isthmus.evaluation.lists import (
    ItemVectors,
    Lists,
    clean_lists,
    hit_matrix,
    list_metrics,
    truth_ranks,
)
from isthmus.evaluation.report import (
    BucketResult,
    CoverageResult,
    EvaluationSettings,
    GeneratorResult,
    LossResult,
    MetricValue,
    SystemResult,
    library_versions,
)
from isthmus.evaluation.systems import FittedSystem, LazySystem
from isthmus.evaluation.task import Task
from isthmus.numerics.metrics import PerUser, ranking_metrics, rating_errors
from isthmus.numerics.statistics import Estimate, interval, resampled_means
from isthmus.progress import Advance, ignore_progress

COMPARISON_SETTINGS: Final = {"baselines", "systems", "test", "correction"}


class Answer(BaseModel):
    """The measured answer of one system to one task.

    Attributes
    ----------
    result : SystemResult
        What is reported.
    values : list of float or None
        The metric of comparisons for each user, where there is one.
    """

    model_config = ConfigDict(frozen=True)

    result: SystemResult
    values: list[float] | None = None


class ResultCache:
    """Small texts in a folder, each under the digest of all that it depends on.

    The versions of the libraries are part of it: after an update everything is computed again. A
    text is written whole or not at all, whenever the process is killed.

    Parameters
    ----------
    folder : Path
        Created where it is absent.

    Raises
    ------
    InvalidInput
        If the folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot keep results in {folder}: {error}") from error
        self._folder = folder
        self._versions = library_versions()

    def get(self, key: Mapping[str, Any]) -> str | None:
        """Return the text of a key; None where there is none."""
        try:
            return self._file(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, key: Mapping[str, Any], text: str) -> None:
        """Store a text."""
        file = self._file(key)
        partial = file.with_suffix(f".{os.getpid()}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)

    def _file(self, key: Mapping[str, Any]) -> Path:
        text = json.dumps({**key, "versions": self._versions}, sort_keys=True, default=str)
        return self._folder / f"{digest(text).hex()}.json"


@dataclass(frozen=True, eq=False)
class SystemRunner:
    """Runs systems on tasks, and measures their answers.

    Attributes
    ----------
    settings : EvaluationSettings
        What is measured.
    vectors : ItemVectors, optional
        Content of the items, for the diversity of lists.
    user_attributes : mapping of str to mapping of str to str
        For each attribute of users, the value of each user that has one.
    cache : ResultCache, optional
        Holds the answers of systems whose settings are known.
    advance : callable
        Is called after each answer.
    """

    settings: EvaluationSettings
    vectors: ItemVectors | None = None
    user_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cache: ResultCache | None = None
    advance: Advance = ignore_progress

    def run(
        self,
        task: Task,
        name: str,
        system: FittedSystem | LazySystem,
        system_settings: Mapping[str, Any] | None,
    ) -> Answer:
        """Measure a system on a task, or return its cached answer.

        Parameters
        ----------
        task : Task
            What to answer.
        name : str
            The name of the system.
        system : Recommender, Rater or LazySystem
            The system; a lazy one is not made where its answer is cached.
        system_settings : mapping or None
            What the answer depends on beside the task; None where that is unknown, and the answer
            not cached.

        Returns
        -------
        Answer
            With the error, where the system failed; errors are not cached.
        """
        if self.cache is None or system_settings is None:
            answer = self._measure(task, name, system)
        else:
            answer = self._cached(self.cache, task, name, system, system_settings)
        self.advance(1)
        return answer

    def _cached(
        self,
        cache: ResultCache,
        task: Task,
        name: str,
        system: FittedSystem | LazySystem,
        system_settings: Mapping[str, Any],
    ) -> Answer:
        key = {
            "system": name,
            "task": task.digest,
            "system settings": system_settings,
            "evaluation settings": self.settings.model_dump(exclude=COMPARISON_SETTINGS),
            "vectors": None if self.vectors is None else self.vectors.digest,
            "user attributes": digest(repr(self.user_attributes)).hex(),
        }
        text = cache.get(key)
        if text is not None:
            try:
                return Answer.model_validate_json(text)
            except ValidationError:
                pass  # written by another version of this class: measured again
        answer = self._measure(task, name, system)
        if answer.result.error is None:
            cache.put(key, answer.model_dump_json())
        return answer

    def _measure(self, task: Task, name: str, system: FittedSystem | LazySystem) -> Answer:
        start = time.perf_counter()
        try:
            fitted = system.made() if isinstance(system, LazySystem) else system
            if task.kind == "rating":
                metrics = _rating_metrics(task, fitted, self.settings)
                result = SystemResult(name=name, seconds=_since(start), metrics=metrics)
                return Answer(result=result)
            if not hasattr(fitted, "recommend"):
                raise InvalidInput("it recommends nothing; it has no method recommend(task, n)")
            lists = fitted.recommend(task, self.settings.n)
            seconds = _since(start)
            return self._measure_lists(task, name, lists, seconds)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return Answer(result=SystemResult(name=name, seconds=_since(start), error=message))

    def _measure_lists(self, task: Task, name: str, lists: Lists, seconds: float) -> Answer:
        settings, vectors = self.settings, self.vectors
        items = clean_lists(task, lists.items, settings.n)
        truths = [user.truth for user in task.users]
        hits = hit_matrix(items, truths, settings.n)
        values = ranking_metrics(hits, np.array([len(t) for t in truths], np.int64), settings.ks)
        resampled = resampled_means(
            np.stack(list(values.values()), axis=1), settings.resamples, settings.seed
        )
        metrics = {
            metric: to_metric_value(
                Estimate(float(of_users.mean()), *interval(resampled[:, column]))
            )
            for column, (metric, of_users) in enumerate(values.items())
        }
        coverage = None
        if lists.generators:
            generators, union = generator_coverage(task, lists.generators, settings.generator_k)
            coverage = CoverageResult(
                k=settings.generator_k,
                generators=[GeneratorResult(**asdict(generator)) for generator in generators],
                union=union,
            )
        loss = attribute(task, items, lists.generators, settings.found_k)
        result = SystemResult(
            name=name,
            seconds=seconds,
            metrics=metrics,
            lists=list_metrics(task, items, settings.found_k, vectors),
            buckets=self._buckets(task, values, items),
            coverage=coverage,
            loss=LossResult(**asdict(loss)),
        )
        return Answer(result=result, values=values[settings.metric].tolist())

    def _buckets(
        self, task: Task, values: Mapping[str, PerUser], items: list[list[str]]
    ) -> list[BucketResult]:
        settings, metric = self.settings, self.settings.metric
        bootstrap = {"resamples": settings.resamples, "seed": settings.seed}
        ranks = truth_ranks(items, [user.truth for user in task.users])
        buckets = by_evidence(task, values[metric], metric, **bootstrap)
        buckets += by_attributes(task, values[metric], metric, self.user_attributes, **bootstrap)
        modalities = None if self.vectors is None else self.vectors.modalities_of
        for k in sorted({settings.found_k, max(settings.ks)}):
            buckets += by_truth(task, ranks, k, modalities, **bootstrap)
        return [_to_result(bucket) for bucket in buckets]


def _rating_metrics(
    task: Task, system: FittedSystem, settings: EvaluationSettings
) -> dict[str, MetricValue]:
    if not hasattr(system, "rate"):
        raise InvalidInput("it predicts no values; it has no method rate(task)")
    predicted = [np.asarray(values, np.float64) for values in system.rate(task)]
    ratings = [user.ratings or () for user in task.users]
    means = rating_errors(predicted, ratings)
    errors = [values - np.asarray(true) for values, true in zip(predicted, ratings, strict=True)]
    sums = np.array([((e**2).sum(), np.abs(e).sum(), len(e)) for e in errors])  # (n_users, 3)
    resampled = resampled_means(sums, settings.resamples, settings.seed)
    rmse = interval(np.sqrt(resampled[:, 0] / resampled[:, 2]))
    mae = interval(resampled[:, 1] / resampled[:, 2])
    return {
        "rmse": MetricValue(value=means["rmse"], low=rmse[0], high=rmse[1]),
        "mae": MetricValue(value=means["mae"], low=mae[0], high=mae[1]),
    }


def _to_result(bucket: Bucket) -> BucketResult:
    estimate = None if bucket.estimate is None else to_metric_value(bucket.estimate)
    return BucketResult(**{**vars(bucket), "estimate": estimate})


def to_metric_value(estimate: Estimate) -> MetricValue:
    """Return an estimate as it is reported."""
    return MetricValue(**estimate._asdict())


def _since(start: float) -> float:
    return time.perf_counter() - start

"""One system on one task: what it answers, measured; kept, where there is a place for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from isthmus.digests import digest
from isthmus.errors import InvalidInput
from isthmus.evaluation.attribution import attribute, cover
from isthmus.evaluation.buckets import Bucket, by_evidence, by_truth
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
    Figure,
    LossResult,
    SourceResult,
    SystemResult,
    library_versions,
)
from isthmus.evaluation.systems import Later, Ready
from isthmus.evaluation.task import Task
from isthmus.numerics.metrics import PerUser, ranking_metrics, rating_errors
from isthmus.numerics.statistics import Estimate, interval, resampled_means
from isthmus.progress import Advance, ignore_progress

COMPARED_BY = {"baselines", "systems", "test", "correction"}


class Answer(BaseModel):
    """What is known of one system on one task.

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


@dataclass(frozen=True, eq=False)
class Asking:
    """How systems are asked.

    Attributes
    ----------
    how : EvaluationSettings
        What is measured.
    vectors : ItemVectors, optional
        Content of the items, for the diversity of lists.
    kept : KeptResults, optional
        Where answers are kept, of the systems whose settings are told.
    advance : callable
        Is called after each answer.
    """

    how: EvaluationSettings
    vectors: ItemVectors | None = None
    kept: KeptResults | None = None
    advance: Advance = ignore_progress

    def ask(
        self, task: Task, name: str, system: Ready | Later, settings: Mapping[str, Any] | None
    ) -> Answer:
        """Measure a system on a task, or give what was measured before.

        Parameters
        ----------
        task : Task
            What to answer.
        name : str
            What the system is called.
        system : Recommender, Rater or Later
            Who answers; one that was asked before is not even made.
        settings : mapping or None
            What the answer depends on beside the task; None where that is not told, and the
            answer not kept.

        Returns
        -------
        Answer
            With the error, where the system failed; errors are not kept.
        """
        if self.kept is None or settings is None:
            found = _answer(task, name, system, self.how, self.vectors)
        else:
            found = self._remembered(self.kept, task, name, system, settings)
        self.advance(1)
        return found

    def _remembered(
        self,
        kept: KeptResults,
        task: Task,
        name: str,
        system: Ready | Later,
        settings: Mapping[str, Any],
    ) -> Answer:
        what = {
            "answer of": name,
            "task": task.digest,
            "settings": settings,
            "how": self.how.model_dump(exclude=COMPARED_BY),
            "vectors": None if self.vectors is None else self.vectors.digest,
        }
        text = kept.get(what)
        if text is not None:
            try:
                return Answer.model_validate_json(text)
            except ValidationError:
                pass  # written by another form of this class: measured again
        found = _answer(task, name, system, self.how, self.vectors)
        if found.result.error is None:
            kept.put(what, found.model_dump_json())
        return found


def _answer(
    task: Task,
    name: str,
    system: Ready | Later,
    how: EvaluationSettings,
    vectors: ItemVectors | None,
) -> Answer:
    start = time.perf_counter()
    try:
        asked = system.made() if isinstance(system, Later) else system
        if task.kind == "rating":
            metrics = _rate(task, asked, how)
            return Answer(result=SystemResult(name=name, seconds=_since(start), metrics=metrics))
        if not hasattr(asked, "recommend"):
            raise InvalidInput("it recommends nothing; it has no method recommend(task, n)")
        lists = asked.recommend(task, how.n)
        seconds = _since(start)
        return _measure(task, name, lists, seconds, how, vectors)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return Answer(result=SystemResult(name=name, seconds=_since(start), error=said))


def _rate(task: Task, system: Ready, how: EvaluationSettings) -> dict[str, Figure]:
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
) -> Answer:
    items = clean_lists(task, lists.items, how.n)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(items, truths, how.n)
    values = ranking_metrics(hits, np.array([len(t) for t in truths], np.int64), how.ks)
    means = resampled_means(np.stack(list(values.values()), axis=1), how.resamples, how.seed)
    metrics = {
        key: figure_of(Estimate(float(own.mean()), *interval(means[:, place])))
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
        buckets=_buckets(task, values, items, how, vectors),
        coverage=coverage,
        loss=LossResult(**asdict(attribute(task, items, lists.sources, how.found_k))),
    )
    return Answer(result=result, values=values[how.metric].tolist())


def _buckets(
    task: Task,
    values: Mapping[str, PerUser],
    items: list[list[str]],
    how: EvaluationSettings,
    vectors: ItemVectors | None,
) -> list[BucketResult]:
    again = {"resamples": how.resamples, "seed": how.seed}
    ranks = truth_ranks(items, [user.truth for user in task.users])
    found = by_evidence(task, values[how.metric], how.metric, **again)
    modalities = None if vectors is None else vectors.modalities_of
    for k in sorted({how.found_k, max(how.ks)}):
        found += by_truth(task, ranks, k, modalities, **again)
    return [_bucket(own) for own in found]


def _bucket(bucket: Bucket) -> BucketResult:
    figure = None if bucket.figure is None else figure_of(bucket.figure)
    return BucketResult(**{**vars(bucket), "figure": figure})


def figure_of(estimate: Estimate) -> Figure:
    """Give an estimate as it is reported."""
    return Figure(**estimate._asdict())


def _since(start: float) -> float:
    return time.perf_counter() - start


class KeptResults:
    """Small texts, each under the digest of all that it follows from.

    The versions of the libraries are among what a result follows from: after an update everything
    is computed again. A text is there whole or not at all, whenever the process is killed.

    Parameters
    ----------
    folder : Path
        Where they are; made where it is absent.

    Raises
    ------
    InvalidInput
        If the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"cannot keep results in {folder}: {error}") from error
        self._folder = folder
        self._versions = library_versions()

    def get(self, what: Mapping[str, Any]) -> str | None:
        """Give the text that was kept of something; None where there is none."""
        try:
            return self._file(what).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, what: Mapping[str, Any], text: str) -> None:
        """Keep a text."""
        file = self._file(what)
        partial = file.with_suffix(f".{os.getpid()}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)

    def _file(self, what: Mapping[str, Any]) -> Path:
        whole = json.dumps({**what, "versions": self._versions}, sort_keys=True, default=str)
        return self._folder / f"{digest(whole).hex()}.json"

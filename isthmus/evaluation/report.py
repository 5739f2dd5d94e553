"""The report: everything that was measured, with seeds and settings, as JSON."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isthmus.errors import InvalidInput

LIBRARIES = ("numpy", "scipy", "pyarrow", "implicit", "isthmus")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricValue(_Model):
    """The value of a metric with its 95 % interval."""

    value: float
    low: float
    high: float


class BucketResult(_Model):
    """A metric on a part of a task; see `isthmus.evaluation.buckets.Bucket`."""

    by: str
    name: str
    users: int
    truth: int
    metric: str
    estimate: MetricValue | None


class GeneratorResult(_Model):
    """How much of the truth a candidate generator reaches; see `GeneratorCoverage`."""

    generator: str
    recall: float
    unique: float


class LossResult(_Model):
    """What became of every hidden item; see `Attribution`."""

    k: int
    found: int
    ranked_below: int
    never_candidate: int


class CoverageResult(_Model):
    """How much of the truth the candidate generators of a system reach, each and together."""

    k: int
    generators: list[GeneratorResult]
    union: float


class SystemResult(_Model):
    """A system on a task.

    Attributes
    ----------
    name : str
        The system.
    seconds : float
        Time to answer, training included.
    error : str or None
        Why the system failed; there are no other results then.
    metrics : dict
        Means over users with their intervals, by names such as ``ndcg@10``; of ratings rmse, mae.
    lists : dict
        Properties of the lists: coverage, Gini, novelty, popularity, diversity.
    buckets : list of BucketResult
        Metrics on parts of the task.
    coverage : CoverageResult or None
        Of its candidate generators, where it names some.
    loss : LossResult or None
        What became of the hidden items.
    """

    name: str
    seconds: float
    error: str | None = None
    metrics: dict[str, MetricValue] = Field(default_factory=dict)
    lists: dict[str, float | None] = Field(default_factory=dict)
    buckets: list[BucketResult] = Field(default_factory=list)
    coverage: CoverageResult | None = None
    loss: LossResult | None = None


class ComparisonResult(_Model):
    """A system compared with another on the same users.

    Attributes
    ----------
    system, reference, metric : str
        The systems, and the metric they are compared by.
    difference, ratio : Figure
        System minus, and over, reference, with paired intervals; no ratio to a reference of 0.
    p_value, adjusted_p : float
        Of no difference, and corrected for all comparisons with the same reference.
    """

    system: str
    reference: str
    metric: str
    difference: MetricValue
    ratio: MetricValue | None
    p_value: float
    adjusted_p: float


class TaskResult(_Model):
    """A task with all its systems.

    Attributes
    ----------
    name, kind, split, target_domain
        As in `Task`.
    users, truth, candidates, train : int
        Numbers of users, hidden items, candidates and training interactions.
    facts : dict
        How it was made.
    systems : list of SystemResult
        In the order they were given.
    best_baseline : str or None
        The baseline with the best mean, the reference of the comparisons.
    comparisons, ablations : list of ComparisonResult
        Of every system with the best baseline, and of each variant with its whole system.
    """

    name: str
    kind: str
    split: str
    target_domain: str | None
    users: int
    truth: int
    candidates: int
    train: int
    facts: dict[str, Any]
    systems: list[SystemResult]
    best_baseline: str | None
    comparisons: list[ComparisonResult]
    ablations: list[ComparisonResult]


class SkippedTask(_Model):
    """A task of the plan that could not be made.

    Attributes
    ----------
    name, reason : str
        Which, and why.
    """

    name: str
    reason: str


class EvaluationSettings(_Model):
    """How it was measured."""

    metric: str
    ks: list[int]
    n: int
    found_k: int
    generator_k: int
    test: str
    correction: str
    resamples: int
    seed: int
    baselines: list[str]
    systems: dict[str, Any]


class Evaluation(_Model):
    """Everything that was measured.

    Attributes
    ----------
    created : str
        When, in UTC.
    versions : dict
        Of Python and the libraries that results depend on.
    settings : EvaluationSettings
        How it was measured, with the seed, and the settings of the systems.
    tasks : list of TaskResult
        Every task.
    skipped : list of SkippedTask
        Tasks that could not be evaluated, and why.
    """

    created: str
    versions: dict[str, str]
    settings: EvaluationSettings
    tasks: list[TaskResult]
    skipped: list[SkippedTask] = Field(default_factory=list)

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Evaluation:
        """Read what `write` wrote.

        Raises
        ------
        InvalidInput
            If the file cannot be read.
        """
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise InvalidInput(f"{path} is no evaluation that can be read: {error}") from error

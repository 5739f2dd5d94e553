"""What an evaluation measures: protocols, targets, baselines, systems, metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field, create_model, model_validator

from isthmus.errors import InvalidInput
from isthmus.requests import Names, Request, fields_of, validated_settings

PROTOCOLS: Final = (
    "cold",
    "few1",
    "few3",
    "few5",
    "warm",
    "cold_item",
    "rating",
    "temporal",
    "session",
)
FEW: Final = re.compile(r"few([1-9]\d*)")


@validated_settings
class EvaluationPlan:
    """What an evaluation measures; by default every protocol in every domain.

    Raises
    ------
    InvalidInput
        If a protocol or a baseline is unknown, something is named twice, or there are targets
        for folders alone.

    Examples
    --------
    >>> EvaluationPlan(protocols=["cold", "few2"]).protocol_names
    ('cold', 'few2')
    """

    PYTHON_ONLY: ClassVar[tuple[str, ...]] = ("min_users", "metric", "ks", "n", "resamples")

    targets: Names = Field(
        default=None,
        description="Domains to recommend in; by default all that have interactions.",
    )
    protocols: Names = Field(
        default=None,
        description="What is hidden: cold (all that some users did in the target), few1, few3, "
        "few5 (all but so many), warm (a fifth), cold_item (all of some items), rating (some "
        "values, to be predicted), temporal (all after a cut-off time), session (the second half "
        "of a user's session after it); by default all of them, or none where folders are given.",
    )
    folders: tuple[Path, ...] = Field(
        default=(), description="Ready protocols: train, val, test, candidates as Parquet."
    )
    baselines: Names = Field(
        default=None, description="Which baselines, such as item-KNN; by default all."
    )
    systems: Names = Field(
        default=None,
        description="Which systems of the space: isthmus, 'isthmus ratings', interests; by default "
        "all.",
    )
    scenario: Names = Field(
        default=None,
        description="Scenarios whose rules are measured against the recommender without them.",
    )
    positive_from: float | None = Field(
        default=None,
        description="Least value that counts as positive; by default 0.8 of the largest where "
        "values differ.",
    )
    quick: bool = Field(
        default=False, description="Take the first settings of each baseline; no tuning."
    )
    min_users: int = Field(
        default=10, description="Tasks with fewer users to recommend to are skipped."
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")
    metric: str = Field(
        default="ndcg@10", description="Metric that is compared, and that settings are chosen by."
    )
    ks: tuple[int, ...] = Field(default=(10, 20, 200), description="Cutoffs of the metrics.")
    n: int = Field(default=200, description="Length of the lists.")
    resamples: int = Field(default=2_000, description="Bootstrap resamples of the intervals.")

    @model_validator(mode="after")
    def _check(self) -> EvaluationPlan:
        for name in self.protocol_names:
            if name not in PROTOCOLS and not FEW.fullmatch(name):
                raise InvalidInput(
                    f"no protocol {name!r}; there are {', '.join(PROTOCOLS)} (few with any number)"
                )
        for name in self.baselines or ():
            if name not in available_baselines():
                available = ", ".join(available_baselines())
                raise InvalidInput(f"no baseline {name!r}; there are {available}")
        if self.targets and not self.protocol_names:
            raise InvalidInput(
                "a target goes with protocols; a folder has its own: leave targets (--targets) "
                "out, or name protocols (--protocols) too"
            )
        for names in (self.protocol_names, self.baselines or (), self.targets or ()):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InvalidInput(f"{twice[0]!r} is named twice; name it once")
        return self

    @property
    def protocol_names(self) -> tuple[str, ...]:
        """The protocols that are made of interactions."""
        if self.protocols is None:
            return () if self.folders else PROTOCOLS
        return self.protocols

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """The baselines, of lists and of values."""
        return available_baselines() if self.baselines is None else self.baselines


def available_baselines() -> tuple[str, ...]:
    """Return the names of the baselines, of lists and of values."""
    from isthmus.evaluation.baselines.tuning import default_grids, rating_grids

    return (*default_grids(content=True), *rating_grids())


_SERVED: Final[dict[str, Any]] = {
    name: (field.annotation, field)
    for name, field in fields_of(EvaluationPlan).items()
    if name not in (*EvaluationPlan.PYTHON_ONLY, "folders")
}
# What a service takes of a plan: nothing that names files of its machine, or is for experiments.
EvaluateRequest: type[Request] = create_model("EvaluateRequest", __base__=Request, **_SERVED)

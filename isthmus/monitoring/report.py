"""What `monitor` found, and which thresholds it crosses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from isthmus.index.settings import MonitoringSettings
from isthmus.monitoring.drift import DriftTest
from isthmus.monitoring.recall import LiveRecall

RECALL = "recall"


@dataclass(frozen=True)
class State:
    """The state of a space at one moment.

    Attributes
    ----------
    release : int or None
        Number of the current release; None before the first.
    release_age_days : float or None
        Its age.
    items : int
        Items of the catalog.
    searchable : int
        Items that have a vector.
    delta : int
        Searchable items that are newer than the release.
    quarantined : int
        Items with a content in quarantine.
    recommender_age_days : float or None
        Age of the recommender; None where there is none.
    recall_target : float
        Recall that releases must reach.
    damage : list of str
        What could not be read, and why.
    """

    release: int | None
    release_age_days: float | None
    items: int
    searchable: int
    delta: int
    quarantined: int
    recommender_age_days: float | None
    recall_target: float
    damage: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Alarm:
    """A threshold that was crossed.

    Attributes
    ----------
    name : str
        The setting of ``[monitoring]`` in ``space.toml``, or ``damage``.
    message : str
        What was measured, and what is allowed.
    """

    name: str
    message: str


@dataclass(frozen=True)
class MonitorReport:
    """What was measured, and what follows.

    Attributes
    ----------
    state : State
        Ages and counts.
    recall : list of LiveRecall
        Recall of each named vector, kind of query and domain.
    drift : list of DriftTest
        New items compared with those of the release.
    alarms : list of Alarm
        The thresholds that are crossed.
    rolled_back_to : int or None
        The release that was made current because recall was too small.
    seconds : float
        Duration.
    """

    state: State
    recall: list[LiveRecall]
    drift: list[DriftTest]
    alarms: list[Alarm]
    rolled_back_to: int | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def find_alarms(
    state: State,
    recall: Sequence[LiveRecall],
    drift: Sequence[DriftTest],
    thresholds: MonitoringSettings,
) -> list[Alarm]:
    """Return the thresholds that are crossed, the most pressing first."""
    return [
        *(Alarm("damage", reason) for reason in state.damage),
        *_recall_alarms(recall, thresholds.smallest_recall(state.recall_target)),
        *_state_alarms(state, thresholds),
        *_drift_alarms(drift, thresholds.drift_p),
    ]


def _recall_alarms(recall: Sequence[LiveRecall], smallest: float) -> Iterator[Alarm]:
    for one in recall:
        if one.high < smallest:
            yield Alarm(
                RECALL,
                f"recall@10 of {one.kind} in {one.domain!r}, named vector {one.vector_name!r}, is "
                f"{one.recall:.3f} [{one.low:.3f}, {one.high:.3f}]; {smallest:.3f} is allowed",
            )


def _state_alarms(state: State, thresholds: MonitoringSettings) -> Iterator[Alarm]:
    shares = {
        "delta_share": ("newer than the release", state.delta, state.searchable),
        "quarantined_share": ("in quarantine", state.quarantined, state.items),
    }
    for name, (what, n, total) in shares.items():
        allowed = getattr(thresholds, name)
        if state.release is not None and n > allowed * total:
            yield Alarm(name, f"{n:,} of {total:,} items are {what}; {allowed:.0%} are allowed")
    for name in ("release_age_days", "recommender_age_days"):
        age, oldest = getattr(state, name), getattr(thresholds, name)
        if age is not None and oldest is not None and age > oldest:
            what = name.split("_", maxsplit=1)[0]
            yield Alarm(name, f"the {what} is {age:.1f} days old; {oldest:g} are allowed")


def _drift_alarms(drift: Sequence[DriftTest], smallest: float) -> Iterator[Alarm]:
    for test in drift:
        if test.adjusted_p < smallest:
            yield Alarm(
                "drift_p",
                f"new items of {test.domain!r} differ from those of the release in their "
                f"{test.name!r} {test.what}: p {test.adjusted_p:.4f} of {test.sample:,} and "
                f"{test.reference:,} items; {smallest:g} is allowed",
            )

"""Monitoring of a space, and rolling back when an index no longer finds what it should."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

from isthmus.errors import ReleaseNotFound, warn
from isthmus.index.catalog.precomputed import describe_records
from isthmus.index.open_space import OpenSpace
from isthmus.monitoring.drift import item_drift
from isthmus.monitoring.history import Measurements
from isthmus.monitoring.recall import LiveRecall, live_recall
from isthmus.monitoring.report import RECALL, MonitorReport, State, find_alarms
from isthmus.operations.publishing import rollback
from isthmus.operations.request import MonitorRequest
from isthmus.operations.statistics import (
    SECONDS_PER_DAY,
    count_interactions,
    describe_recommender,
    read_or_note,
)
from isthmus.retrieval.search.recall_queries import RecallQuerySampler


def monitor_space(space: OpenSpace, request: MonitorRequest) -> MonitorReport:
    """Measure recall, drift and growth of a space, and roll back if that is asked for.

    A rollback needs an alarm of recall, and an accepted release before the current one.
    """
    start = time.perf_counter()
    thresholds = space.settings.monitoring
    seed = int(time.time()) if request.seed is None else request.seed
    state = _state(space)
    recall, drift = _recall(space, seed), item_drift(space.view(), seed=seed)
    alarms = find_alarms(state, recall, drift, thresholds)
    action = request.on_alarm or thresholds.on_alarm
    former = None
    if action == "rollback" and any(alarm.name == RECALL for alarm in alarms):
        former = _roll_back(space)
    report = MonitorReport(state, recall, drift, alarms, former, time.perf_counter() - start)
    _store(space, report)
    return report


def _store(space: OpenSpace, report: MonitorReport) -> None:
    """Store a measurement, which counts also where that is not possible."""
    try:
        Measurements(space.path).add(report)
    except OSError as error:
        warn(f"the measurement is not drawn over time: {space.path} cannot be written ({error})")


def _roll_back(space: OpenSpace) -> int | None:
    """Make the previous release current and return its number; None where there is none."""
    try:
        return rollback(space, None)
    except ReleaseNotFound:
        return None


def _recall(space: OpenSpace, seed: int) -> list[LiveRecall]:
    view = space.view()
    if view.release is None:
        return []
    return live_recall(view, RecallQuerySampler(space.path, space.settings), seed=seed)


def _state(space: OpenSpace) -> State:
    """Return ages and counts, and what of the space cannot be read."""
    view, settings = space.view(), space.settings
    damage: list[str] = []
    readable = partial(read_or_note, damage)
    release = None if view.release is None else view.release.manifest
    recommender = readable(lambda: describe_recommender(view, space.interactions))
    readable(lambda: count_interactions(space.interactions, view.snapshot))
    readable(lambda: describe_records(space.path, view.snapshot))
    return State(
        release=None if release is None else release.number,
        release_age_days=None if release is None else _age_days(release.created),
        items=view.snapshot.rows,
        searchable=len(view),
        delta=view.delta,
        quarantined=readable(view.snapshot.count_quarantined) or 0,
        recommender_age_days=None if recommender is None else recommender["age_days"],
        recall_target=settings.index.recall,
        damage=damage,
    )


def _age_days(moment: str) -> float:
    age = datetime.now(UTC) - datetime.fromisoformat(moment)
    return max(age.total_seconds(), 0.0) / SECONDS_PER_DAY

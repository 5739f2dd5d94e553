"""Metrics of logged recommendations, at most a minute old.

Click-through, calibration, coverage, and how many users are at a cold start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from isthmus.data.recommendations import RecommendationStore
from isthmus.errors import IsthmusError
from isthmus.monitoring.log import LogSummary, summarize_log
from isthmus.schema import TIME, USER_ID
from isthmus.service.spaces import ServedSpaces
from isthmus.space import Space

DAYS: Final = 7
MAX_LISTS: Final = 20_000  # the newest
KEPT_S: Final = 60.0
FAMILIES: Final = {
    "isthmus_shown_items": (
        "Items that logged lists of the last 7 days showed, by scenario and position.",
        ("space", "scenario", "position"),
    ),
    "isthmus_clicked_items": (
        "Of these, those with a positive event that names the list.",
        ("space", "scenario", "position"),
    ),
    "isthmus_predicted_score": (
        "Mean score of each tenth of these places, from the lowest scores to the highest.",
        ("space", "bin"),
    ),
    "isthmus_observed_rate": ("Share of the places of a tenth with a click.", ("space", "bin")),
    "isthmus_logged_lists": ("Logged lists of the last 7 days.", ("space",)),
    "isthmus_cold_start_lists": (
        "Of these, those for users of whom no positive event was stored before.",
        ("space",),
    ),
    "isthmus_recommended_items": (
        "Different items in the logged lists of the last 7 days.",
        ("space",),
    ),
}


class LogMetrics(Collector):
    """Collects the metrics of logged recommendations.

    Parameters
    ----------
    spaces : ServedSpaces
        The spaces.
    """

    def __init__(self, spaces: ServedSpaces) -> None:
        self._spaces = spaces
        self._kept: dict[str, tuple[float, LogSummary]] = {}
        self._lock = threading.Lock()

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the families, which names are taken by."""
        return list(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics of spaces whose log can be read."""
        families = _families()
        for name in self._spaces.by_name:
            summary = self._summary(name)
            if summary is None:
                continue
            for place in summary.places:
                labels = [name, place.scenario, place.position]
                families["isthmus_shown_items"].add_metric(labels, place.shown)
                families["isthmus_clicked_items"].add_metric(labels, place.clicked)
            for one in summary.bins:
                labels = [name, str(one.number)]
                families["isthmus_predicted_score"].add_metric(labels, one.predicted)
                families["isthmus_observed_rate"].add_metric(labels, one.observed)
            families["isthmus_recommended_items"].add_metric([name], summary.items)
            families["isthmus_logged_lists"].add_metric([name], summary.lists)
            families["isthmus_cold_start_lists"].add_metric([name], summary.cold_lists)
        yield from families.values()

    def _summary(self, name: str) -> LogSummary | None:
        """Return the summary of a space, at most a minute old; None where it cannot be read."""
        with self._lock:
            known, now = self._kept.get(name), time.monotonic()
            if known is not None and now - known[0] < KEPT_S:
                return known[1]
            try:
                summary: LogSummary = self._spaces.by_name[name].answer(summarized, again=True)[0]
            except (IsthmusError, OSError):
                return None
            self._kept[name] = now, summary
            return summary


def summarized(space: Space) -> LogSummary:
    """Return what the newest lists of the last days came to."""
    since = datetime.now(UTC) - timedelta(days=DAYS)
    lists = RecommendationStore(space.path).table(
        f"{TIME} >= timestamp '{since:%Y-%m-%d %H:%M:%S}'"
    )
    lists = lists.slice(max(0, len(lists) - MAX_LISTS))
    users = lists.column(USER_ID).drop_null().unique().to_pylist()
    interactions = space.opened.interactions
    return summarize_log(lists, interactions.of_recommendations(), interactions.of_users(users))


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(name, text, labels=list(labels))
        for name, (text, labels) in FAMILIES.items()
    }

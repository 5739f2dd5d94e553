"""Monitoring: what is served now against its thresholds, measurements over time, requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response

from isthmus.index.settings import MonitoringSettings
from isthmus.monitoring.history import Measurements
from isthmus.monitoring.report import MonitorReport
from isthmus.service.metrics import Metrics
from isthmus.service.page.bars import Bar, bars_of
from isthmus.service.page.charts import Chart, Reading, line_chart
from isthmus.service.page.visit import Visit

MEASURE: Final = "monitor"
RUNNING: Final = "running"
MAX_STEPS: Final = 20
MIN_SCALE: Final = 0.1  # of the chart of shares
QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Gauge:
    """A number against what is allowed.

    Attributes
    ----------
    name, said : str
        What it is, and the number with its unit.
    share : float
        How much of the scale it fills, from 0 to 1.
    allowed : float or None
        Where on the scale the threshold stands.
    """

    name: str
    said: str
    share: float
    allowed: float | None

    @property
    def is_alarm(self) -> bool:
        """Whether more is reached than is allowed."""
        return self.allowed is not None and self.share > self.allowed


@dataclass(frozen=True)
class Operation:
    """Requests for one operation since the service began."""

    name: str
    requests: int
    failed: int
    refused: int
    quantiles: tuple[float | None, ...]
    bar: Bar


async def show(visit: Visit) -> Response:
    """Show what is known."""
    jobs = [job for job in await visit.ask("jobs") if job["operation"] == MEASURE]
    space = visit.space.space
    settings, reports = space.settings, Measurements(space.path).last(MAX_STEPS)
    thresholds = settings.monitoring
    status = await visit.ask("status") if visit.may("status") and not visit.key.is_bound else None
    latest: MonitorReport | None = reports[-1][1] if reports else None
    return visit.show(
        "monitoring.html",
        status=status,
        gauges=_gauges(status, latest, thresholds),
        latest=latest,
        measured_at=reports[-1][0] if reports else None,
        smallest=thresholds.smallest_recall(settings.index.recall),
        thresholds=thresholds,
        charts=_charts(reports, thresholds.smallest_recall(settings.index.recall)),
        failures=[job for job in jobs[:3] if job["state"] == "failed"],
        running=any(job["state"] == RUNNING for job in jobs),
        operations=_operations(visit) if visit.key.may_measure else None,
        started=visit.text("started"),
    )


async def measure(visit: Visit) -> Response:
    """Start a measurement; it rolls nothing back, whatever it finds."""
    job = await visit.ask(MEASURE, on_alarm="report")
    return visit.go("monitoring", started=job["job_id"])


def _gauges(
    status: Mapping[str, Any] | None,
    latest: MonitorReport | None,
    thresholds: MonitoringSettings,
) -> list[Gauge]:
    """Return the numbers of the state that have thresholds: of now, or of the last measurement."""
    state = None if latest is None else latest.state
    if status is not None:
        searchable, items = status["searchable"], status["items"]
        delta, quarantined = status["delta"], status["quarantined"] or 0
    elif state is not None:
        searchable, items = state.searchable, state.items
        delta, quarantined = state.delta, state.quarantined
    else:
        return []
    gauges = [
        Gauge(
            "newer than the release",
            f"{delta:,} of {searchable:,} items",
            delta / max(searchable, 1),
            thresholds.delta_share,
        ),
        Gauge(
            "in quarantine",
            f"{quarantined:,} contents, {items:,} items",
            quarantined / max(items, 1),
            thresholds.quarantined_share,
        ),
    ]
    if state is not None:
        gauges += [
            Gauge(name, f"{age:.1f} days", min(age / (2 * allowed), 1.0), 0.5)
            for name, age, allowed in (
                ("age of the release", state.release_age_days, thresholds.release_age_days),
                (
                    "age of the recommender",
                    state.recommender_age_days,
                    thresholds.recommender_age_days,
                ),
            )
            if age is not None and allowed is not None
        ]
    return gauges


def _charts(reports: Sequence[tuple[datetime, MonitorReport]], smallest: float) -> list[Chart]:
    """Return how measurements went: recall by domain, and how much is new."""
    if not reports:
        return []
    steps = [f"{when:%m-%d %H:%M}" for when, _ in reports]
    domains = list(dict.fromkeys(one.domain for _, report in reports for one in report.recall))
    recall = [(name, [_worst(report, name) for _, report in reports]) for name in domains]
    states = [report.state for _, report in reports]
    new = [Reading(one.delta / max(one.searchable, 1)) for one in states]
    held = [Reading(one.quarantined / max(one.items, 1)) for one in states]
    charts = []
    if recall:
        charts.append(
            line_chart(
                "Smallest recall@10 of each domain, with its interval",
                steps,
                recall,
                threshold=smallest,
                threshold_label="allowed",
                highest=1.0,
            )
        )
    growth = [("newer than the release", new), ("in quarantine", held)]
    most = max([MIN_SCALE, *(one.value or 0.0 for one in [*new, *held])])
    return [*charts, line_chart("Share of items", steps, growth, highest=most)]


def _worst(report: MonitorReport, domain: str) -> Reading:
    found = [one for one in report.recall if one.domain == domain]
    if not found:
        return Reading(None)
    worst = min(found, key=lambda one: one.recall)
    return Reading(worst.recall, worst.low, worst.high)


def _operations(visit: Visit) -> list[Operation]:
    """Return the requests for each operation on the space, the most frequent first."""
    observers = visit.pipeline.observers
    metrics = next((one for one in observers if isinstance(one, Metrics)), None)
    if metrics is None:
        return []
    counts: dict[str, dict[str, int]] = {}
    buckets: dict[str, dict[float, float]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.labels.get("space") != visit.space.name:
                continue
            name = sample.labels.get("operation", "")
            if sample.name == "isthmus_requests_total":
                of_name = counts.setdefault(name, {})
                status = sample.labels["status"]
                of_name[status] = of_name.get(status, 0) + int(sample.value)
            elif sample.name == "isthmus_request_seconds_bucket":
                of_buckets = buckets.setdefault(name, {})
                limit = float(sample.labels["le"])
                of_buckets[limit] = of_buckets.get(limit, 0.0) + sample.value
    counts.pop("other", None)  # the pages themselves
    totals = {name: sum(of_name.values()) for name, of_name in counts.items()}
    names = sorted(totals, key=lambda name: (-totals[name], name))
    bars = bars_of([(name, float(totals[name]), "", None) for name in names])
    return [
        Operation(
            name,
            totals[name],
            sum(n for status, n in counts[name].items() if status >= "500"),
            sum(n for status, n in counts[name].items() if "400" <= status < "500"),
            tuple(quantile(buckets.get(name, {}), share) for share in QUANTILES),
            bar,
        )
        for name, bar in zip(names, bars, strict=True)
    ]


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile in milliseconds, interpolated as Prometheus does; None without requests.

    Parameters
    ----------
    buckets : mapping of float to float
        Upper ends in seconds, and how many were at most as long.
    share : float
        Which quantile, from 0 to 1.

    Examples
    --------
    >>> quantile({0.01: 5, 0.02: 10, float("inf"): 10}, 0.75)
    15.0
    """
    total = max(buckets.values(), default=0.0)
    if not total:
        return None
    below, start = 0.0, 0.0
    for end, count in sorted(buckets.items()):
        if count >= share * total:
            if end == float("inf"):
                return 1e3 * start
            inside = (share * total - below) / (count - below)
            return round(1e3 * (start + (end - start) * inside), 6)
        below, start = count, end
    return None

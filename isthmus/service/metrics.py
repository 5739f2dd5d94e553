"""Metrics of requests, in the conventions of Prometheus.

Labels are names of operations, spaces and states, never text of a request. Where several processes
serve, they write into the folder that ``PROMETHEUS_MULTIPROC_DIR`` names, and whichever is asked
answers for all.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from isthmus.service.exchange import Exchange

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class Metrics:
    """The metrics of one process; an observer of exchanges."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("operation", "space")
        self.requests = Counter(
            "isthmus_requests",
            "Requests, by operation, space and status.",
            (*labels, "status"),
            registry=self.registry,
        )
        self.errors = Counter(
            "isthmus_errors",
            "Requests that were answered with an error, by its class.",
            (*labels, "error"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "isthmus_request_seconds",
            "Seconds from a request to the end of its answer.",
            labels,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.verb_seconds = Histogram(
            "isthmus_verb_seconds",
            "Seconds that the verb of a request took.",
            labels,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.running = Gauge(
            "isthmus_requests_running",
            "Requests that are worked on.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.release = Gauge(
            "isthmus_release",
            "Number of the release that the last answer came from.",
            ("space",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram, Histogram]] = {}

    def __call__(self, exchange: Exchange) -> None:
        """Count an exchange."""
        space = "-" if exchange.space is None else exchange.space.name
        key = (exchange.name, space, exchange.status)
        if key not in self._known:
            name = (exchange.name, space)
            self._known[key] = (
                self.requests.labels(*name, str(exchange.status)),
                self.seconds.labels(*name),
                self.verb_seconds.labels(*name),
            )
        count, seconds, verb_seconds = self._known[key]
        count.inc()
        seconds.observe(exchange.seconds)
        if exchange.verb_s:
            verb_seconds.observe(exchange.verb_s)
        if exchange.error is not None:
            self.errors.labels(exchange.name, space, exchange.error).inc()
        if exchange.release is not None:
            self.release.labels(space).set(exchange.release)

    def text(self) -> bytes:
        """Return all metrics, of all processes that serve."""
        if not os.environ.get(FOLDER_VARIABLE):
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

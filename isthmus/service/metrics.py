"""Metrics of requests, in the conventions of Prometheus.

Labels are names of operations, spaces and states, never text of a request. Where several processes
serve, they write into the folder that ``PROMETHEUS_MULTIPROC_DIR`` names, and whichever is asked
answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from isthmus.numerics.statistics import wilson_interval
from isthmus.service.exchange import Exchange

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
CANARY: Final = "isthmus_canary_"
CANARY_LABELS: Final = ("space", "release", "domain", "kind")
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
        self.queue_seconds = Histogram(
            "isthmus_queue_seconds",
            "Seconds that a request waited for a thread; writes of items wait for one another.",
            labels,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.encode_seconds = Histogram(
            "isthmus_encode_seconds",
            "Seconds that it took to encode the texts of queries of one moment.",
            ("space",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.encoded = Counter(
            "isthmus_encoded_texts",
            "Texts of queries that were encoded.",
            ("space",),
            registry=self.registry,
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
        if exchange.queue_s:
            self.queue_seconds.labels(exchange.name, space).observe(exchange.queue_s)
        if exchange.error is not None:
            self.errors.labels(exchange.name, space, exchange.error).inc()
        if exchange.release is not None:
            self.release.labels(space).set(exchange.release)

    def encoding(self, space: str, texts: int, seconds: float) -> None:
        """Count a batch of texts that was encoded."""
        self.encode_seconds.labels(space).observe(seconds)
        self.encoded.labels(space).inc(texts)

    def text(self) -> bytes:
        """Return all metrics, of all processes that serve."""
        registry: CollectorRegistry = self.registry
        if os.environ.get(FOLDER_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        derived = CollectorRegistry(auto_describe=False)
        derived.register(CanaryRecall(registry))
        return generate_latest(registry) + generate_latest(derived)


class CanaryRecall(Collector):
    """Recall@10 of the live canary with its interval, from what all processes counted.

    Parameters
    ----------
    registry : CollectorRegistry
        Has the counters.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the families, which names are taken by."""
        return list(self._families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield recall, and the ends of its 95 % interval, of each release, domain and kind."""
        counted: dict[tuple[str, ...], dict[str, float]] = {}
        for family in self._registry.collect():
            if family.name.startswith(CANARY):
                for sample in family.samples:
                    if sample.name.endswith("_total") and "kind" in sample.labels:
                        key = tuple(sample.labels[name] for name in CANARY_LABELS)
                        counted.setdefault(key, {})[family.name] = sample.value
        families = self._families()
        for key, values in counted.items():
            expected = values.get(f"{CANARY}expected", 0.0)
            if expected:
                share = values[f"{CANARY}found"] / expected
                ends = wilson_interval(share, values[f"{CANARY}queries"])
                for name, value in zip(families, (share, *ends), strict=True):
                    families[name].add_metric(list(key), value)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        texts = {
            "recall": "Recall@10 of real queries, from a sample that is answered exactly too.",
            "recall_low": "Lower end of its 95 % interval.",
            "recall_high": "Upper end of its 95 % interval.",
        }
        return {
            name: GaugeMetricFamily(f"{CANARY}{name}", text, labels=list(CANARY_LABELS))
            for name, text in texts.items()
        }

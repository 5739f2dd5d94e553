"""Metrics of the served spaces, measured when they are asked for.

Whichever process is asked reads them from its own view, which follows what others write. They need
no file that processes share. Labels are names of spaces and domains.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from isthmus.errors import IsthmusError
from isthmus.service.log_metrics import LogMetrics
from isthmus.service.spaces import ServedSpaces
from isthmus.space import Space

GAUGES: Final = {
    "isthmus_space_up": "Whether the space can be read, 0 or 1.",
    "isthmus_searchable_items": "Items that have a vector, by domain.",
    "isthmus_delta_items": "Searchable items that are newer than the release.",
    "isthmus_quarantined": "Items with a content in quarantine.",
    "isthmus_release_created_timestamp_seconds": "When the current release was made.",
}


class SpaceMetrics(Collector):
    """Collects the metrics of spaces.

    Parameters
    ----------
    spaces : ServedSpaces
        The spaces.
    """

    def __init__(self, spaces: ServedSpaces) -> None:
        self._spaces = spaces
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        self.registry.register(LogMetrics(spaces))

    def text(self) -> bytes:
        """Return the metrics as text."""
        return generate_latest(self.registry)

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the families, which names are taken by."""
        return list(self._families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics of now; of a space that cannot be read, only that it is not up."""
        families = self._families()
        for name, served in self._spaces.by_name.items():
            try:
                values = served.answer(measured, again=True)[0]
                up = 1.0
            except (IsthmusError, OSError):
                values, up = [], 0.0
            for metric, domain, value in [("isthmus_space_up", None, up), *values]:
                labels = [name] if domain is None else [name, domain]
                families[metric].add_metric(labels, value)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        domain = "isthmus_searchable_items"
        return {
            name: GaugeMetricFamily(
                name, text, labels=["space", "domain"] if name == domain else ["space"]
            )
            for name, text in GAUGES.items()
        }


def measured(space: Space) -> list[tuple[str, str | None, float]]:
    """Return the metrics of a space: name, domain where it has one, value."""
    view = space.opened.view()
    values: list[tuple[str, str | None, float]] = [
        ("isthmus_searchable_items", domain, float(n)) for domain, n in view.domains.items()
    ]
    values.append(("isthmus_delta_items", None, float(view.delta)))
    values.append(("isthmus_quarantined", None, float(view.snapshot.count_quarantined())))
    if view.release is not None:
        created = datetime.fromisoformat(view.release.manifest.created).timestamp()
        values.append(("isthmus_release_created_timestamp_seconds", None, created))
    return values

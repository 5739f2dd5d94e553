"""Releases: what each was promised and measured, how it was planned, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import InvalidInput
from isthmus.index.releases.manifest import Manifest
from isthmus.service.page.charts import Chart, Reading, line_chart
from isthmus.service.page.visit import Visit

OF_RELEASES: Final = ("publish", "train")
MAX_JOBS: Final = 8


@dataclass(frozen=True)
class Shown:
    """A release as the page shows it.

    Attributes
    ----------
    manifest : Manifest
        The release.
    is_current : bool
        Whether queries are answered from it.
    bytes : int
        Size of its files.
    """

    manifest: Manifest
    is_current: bool

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return sum(file.bytes for file in self.manifest.files.values())

    @property
    def brings(self) -> list[str]:
        """What it has beside indexes, such as a recommender."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.manifest.attached))

    @property
    def promises(self) -> dict[str, float]:
        """Smallest recall that the plan of each named vector measured for the chosen recipe."""
        return {
            name: min(row.sample.recall.values())
            for name, plan in self.manifest.plans.items()
            for row in plan.table
            if row.recipe == self.manifest.named_vectors[name].recipe and row.sample.recall
        }

    @property
    def measured(self) -> dict[str, float]:
        """Smallest recall that was measured of each named vector."""
        rows = self.manifest.recall
        return {
            name: min(row.recall for row in rows if row.vector_name == name)
            for name in self.manifest.named_vectors
            if any(row.vector_name == name for row in rows)
        }


async def show(visit: Visit) -> Response:
    """Show the releases, the newest first."""
    manifests: list[Manifest] = await visit.ask("releases")
    current = visit.space.space.current_release
    releases = [Shown(one, one.number == current) for one in manifests]
    jobs = [job for job in await visit.ask("jobs") if job["operation"] in OF_RELEASES][:MAX_JOBS]
    return visit.show(
        "releases.html",
        releases=sorted(releases, key=lambda one: -one.manifest.number),
        current=current,
        chart=_recall_chart(manifests) if manifests else None,
        jobs=jobs,
        running=any(job["state"] == "running" for job in jobs),
        done=visit.text("done"),
        started=visit.text("started"),
    )


async def roll_back(visit: Visit) -> Response:
    """Make another release current."""
    number = await visit.ask("rollback", number=visit.whole("number"))
    return visit.go("releases", done=number)


async def start(visit: Visit) -> Response:
    """Start to publish, or to train, as a job."""
    operation = visit.text("operation")
    if operation not in OF_RELEASES:
        raise InvalidInput(f"{operation[:20]!r} is not started here")
    job: dict[str, Any] = await visit.ask(operation)
    return visit.go("releases", started=job["job_id"])


def _recall_chart(manifests: Sequence[Manifest]) -> Chart:
    """Return how the recall of each named vector went from release to release."""
    ordered = sorted(manifests, key=lambda one: one.number)[-20:]
    names = list(dict.fromkeys(name for one in ordered for name in one.named_vectors))
    smallest = [Shown(one, is_current=False).measured for one in ordered]
    return line_chart(
        "Smallest recall@10 of each release",
        [str(one.number) for one in ordered],
        [(name, [Reading(of.get(name)) for of in smallest]) for name in names],
        threshold=ordered[-1].recall_target,
        threshold_label="promised",
        highest=1.0,
    )

"""What could not be encoded: why, what it looks like, and another try."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from isthmus.errors import ItemNotFound
from isthmus.index.catalog.ingest import AddReport
from isthmus.service.page.views.item import picture
from isthmus.service.page.visit import Visit

A_PAGE: Final = 50
IMAGE: Final = "image"
MAX_SOURCE: Final = 120


async def show(visit: Visit) -> Response:
    """Show the contents in quarantine, page by page."""
    rows: list[dict[str, Any]] = await visit.ask("quarantine")
    first = visit.whole("from")
    tried = None
    if visit.text("tried"):
        tried = {"searchable": visit.whole("tried"), "failed": visit.whole("failed")}
    return visit.show(
        "quarantine.html",
        rows=[{**row, "shown_source": _shown(row["source"])} for row in rows[first:][:A_PAGE]],
        total=len(rows),
        first=first,
        after=first + A_PAGE if first + A_PAGE < len(rows) else None,
        tried=tried,
        reasons=_counted(rows),
    )


async def retry(visit: Visit) -> Response:
    """Encode them again."""
    before = len(await visit.ask("quarantine"))
    report: AddReport = await visit.ask("retry_quarantine")
    return visit.go(
        "quarantine", tried=str(before - report.quarantined), failed=str(report.quarantined)
    )


async def thumbnail(visit: Visit) -> Response:
    """Answer with a picture that is in quarantine, as far as it can be decoded at all."""
    item_id = visit.fields.get("id", "")
    for row in await visit.ask("quarantine"):
        if row["item_id"] == item_id and row["modality"] == IMAGE:
            return await picture(visit, row["source"])
    raise ItemNotFound(f"no picture of an item {str(item_id)[:60]!r} is in quarantine")


def _counted(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return how often each reason occurs, the most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["reason"]] = counts.get(row["reason"], 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:5]


def _shown(source: str | None) -> str:
    """Return a reference to a content as far as it is for people: no stored bytes."""
    text = source or ""
    if text.startswith(("data:", "media:")):
        return f"{text.partition(':')[0]}: stored bytes"
    name = text if "://" in text else text.replace("\\", "/").rpartition("/")[2]
    return name if len(name) <= MAX_SOURCE else f"{name[: MAX_SOURCE - 1]}…"

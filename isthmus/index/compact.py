"""Compaction: fewer, larger files, and no more versions of the tables than are to be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from isthmus.columns import ITEM_ID
from isthmus.encoders.ledger import CONTENT
from isthmus.index import catalog, quarantine
from isthmus.index.lock import writing
from isthmus.progress import progress_bar
from isthmus.tables import compact_table, has_versions_older


@dataclass(frozen=True)
class CompactReport:
    """What compacting a table did.

    Attributes
    ----------
    table : str
        Its folder in the space.
    fragments_before, fragments : int
        Files of rows, before and after.
    versions_removed, bytes_freed : int
        Old versions dropped, and the bytes that only they used.
    """

    table: str
    fragments_before: int
    fragments: int
    versions_removed: int
    bytes_freed: int


def compact(space: Path, keep_days: float, *, progress: bool = False) -> list[CompactReport]:
    """Compact every table of a space; the caller holds the catalog's lock.

    Queries go on meanwhile: a reader keeps the version that it has open, as long as that is no
    older than what is kept.

    Parameters
    ----------
    space : Path
        Folder of the space.
    keep_days : float
        Versions younger than this stay.
    progress : bool, default False
        Whether to show a bar.
    """
    tables = list(_tables(space))
    reports = []
    with progress_bar("compacting", len(tables), show=progress) as advance:
        for path, key in tables:
            done = compact_table(path, key, timedelta(days=keep_days))
            reports.append(CompactReport(str(path.relative_to(space)), *done))
            advance(1)
    return reports


def compact_if_due(space: Path, keep_days: float) -> None:
    """Compact where the catalog holds versions past their time, unless somebody is writing.

    Old versions cost disk alone, so there is always a next time.
    """
    try:
        with writing(space, "catalog", 0):
            if has_versions_older(space / catalog.FOLDER, timedelta(days=keep_days)):
                compact(space, keep_days)
    except OSError:  # SpaceLocked is one
        return


def _tables(space: Path) -> Iterator[tuple[Path, str]]:
    yield space / catalog.FOLDER, ITEM_ID
    if (space / quarantine.FOLDER).exists():
        yield space / quarantine.FOLDER, ITEM_ID
    for path in sorted((space / "ledger").glob("*.lance")):
        yield path, CONTENT

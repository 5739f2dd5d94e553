"""Compaction: merge small files of the tables, and drop old versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from isthmus.data.lance_tables import DELETED_SHARE, compact_table, open_table, versions_older
from isthmus.encoders.embedding_cache import CONTENT
from isthmus.index.catalog.lock import write_lock
from isthmus.progress import progress_bar
from isthmus.schema import (
    CATALOG_TABLE,
    EMBEDDING_CACHE_FOLDER,
    INTERACTIONS_TABLE,
    ITEM_ID,
    USER_ID,
)


@dataclass(frozen=True)
class CompactReport:
    """The result of compacting a table.

    Attributes
    ----------
    table : str
        Its folder in the space.
    fragments_before, fragments : int
        Number of fragments, before and after.
    versions_removed, bytes_freed : int
        Number of versions dropped, and the bytes that only they used.
    """

    table: str
    fragments_before: int
    fragments: int
    versions_removed: int
    bytes_freed: int


def compact(space: Path, keep_days: float, *, progress: bool = False) -> list[CompactReport]:
    """Compact every table of a space; the caller holds the locks of catalog and interactions.

    Queries go on: a version that a reader is using stays, and the next call removes it. Fragments
    of interactions are rewritten without deleted rows. So a deleted user is gone from the disk when
    the older versions are.

    Parameters
    ----------
    space : Path
        Folder of the space.
    keep_days : float
        Age in days; younger versions stay.
    progress : bool, default False
        Whether to show a progress bar.
    """
    tables = list(_tables(space))
    reports = []
    with progress_bar("compacting", len(tables), show=progress) as advance:
        for path, key, deleted in tables:
            done = compact_table(path, key, timedelta(days=keep_days), deleted_share=deleted)
            reports.append(CompactReport(str(path.relative_to(space)), *done))
            advance(1)
    return reports


def compact_if_due(space: Path, keep_days: float) -> list[CompactReport]:
    """Compact if items or interactions have versions older than `keep_days`.

    Nothing is done, and no report returned, while another process writes: old versions only cost
    disk space, and the next call can drop them.
    """
    try:
        with write_lock(space, "catalog", 0), write_lock(space, "interactions", 0):
            tables = (space / folder for folder in (CATALOG_TABLE, INTERACTIONS_TABLE))
            keep = timedelta(days=keep_days)
            if any(versions_older(path, keep) for path in tables):
                return compact(space, keep_days)
    except OSError:  # SpaceLocked is one
        pass
    return []


def _tables(space: Path) -> Iterator[tuple[Path, str, float]]:
    """Yield each table, its key column, and the share of deleted rows that fragments can keep."""
    tables = [
        (space / CATALOG_TABLE, ITEM_ID, DELETED_SHARE),
        (space / INTERACTIONS_TABLE, USER_ID, 0.0),
        *(
            (path, CONTENT, DELETED_SHARE)
            for path in sorted((space / EMBEDDING_CACHE_FOLDER).glob("*.lance"))
        ),
    ]
    yield from (table for table in tables if open_table(table[0]) is not None)

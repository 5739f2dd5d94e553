"""Compaction: merge small files of the tables, and drop old versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from isthmus.data.lance_tables import DELETED_SHARE, compact_table, open_table, versions_older
from isthmus.encoders.embedding_cache import CONTENT
from isthmus.errors import SpaceLocked
from isthmus.index.catalog.left_overs import remove_left_over_files, remove_unused_embeddings
from isthmus.index.catalog.lock import SWITCHING_LOCK, write_lock
from isthmus.progress import progress_bar
from isthmus.schema import (
    CATALOG_TABLE,
    EMBEDDING_CACHE_FOLDER,
    INTERACTIONS_TABLE,
    ITEM_ID,
    USER_ID,
    USERS_TABLE,
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
        Number of versions dropped, and the bytes that were freed.
    unused_removed : int
        Of an embedding cache, the contents that no item has; of the catalog, the stored media that
        no item refers to, and files that killed writers left half-written.
    """

    table: str
    fragments_before: int
    fragments: int
    versions_removed: int
    bytes_freed: int
    unused_removed: int = 0


def compact(
    space: Path, keep_days: float, *, collect: bool = False, progress: bool = False
) -> list[CompactReport]:
    """Compact every table of a space; the caller holds the locks of catalog and interactions.

    Queries go on: a version that a reader is using stays, and the next call removes it. Fragments
    of interactions and users are rewritten without deleted rows. So a deleted user is gone from the
    disk when the older versions are.

    Parameters
    ----------
    space : Path
        Folder of the space.
    keep_days : float
        Age in days; younger versions stay.
    collect : bool, default False
        Whether to remove stored media and cached embeddings that no item has, too.
    progress : bool, default False
        Whether to show a progress bar.
    """
    tables, keep = list(_tables(space)), timedelta(days=keep_days)
    reports = []
    with (
        _encoding_alone(space) as alone,
        progress_bar("compacting", len(tables), show=progress) as advance,
    ):
        for path, key, deleted in tables:
            unused = freed = 0
            is_cache = path.parent.name == EMBEDDING_CACHE_FOLDER
            if collect and is_cache and alone:
                unused = remove_unused_embeddings(space, path)
            elif collect and path.name == CATALOG_TABLE:
                unused, freed = remove_left_over_files(space)
            before, after, versions, table_freed = compact_table(
                path, key, keep, deleted_share=deleted, alone=alone or not is_cache
            )
            name = str(path.relative_to(space))
            report = CompactReport(name, before, after, versions, freed + table_freed, unused)
            reports.append(report)
            advance(1)
    return reports


@contextmanager
def _encoding_alone(space: Path) -> Iterator[bool]:
    """Yield whether no migration writes to the embedding caches, which needs no other lock."""
    with ExitStack() as lock:
        try:
            lock.enter_context(write_lock(space, SWITCHING_LOCK, 0))
        except SpaceLocked:
            yield False
            return
        yield True


def compact_if_due(space: Path, keep_days: float) -> list[CompactReport]:
    """Compact if items or interactions have versions older than `keep_days`.

    Nothing is done, and no report returned, while another process writes: old versions only cost
    disk space, and the next call can drop them.
    """
    try:
        with write_lock(space, "catalog", 0), write_lock(space, "interactions", 0):
            names = (CATALOG_TABLE, INTERACTIONS_TABLE, USERS_TABLE)
            tables = (space / folder for folder in names)
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
        (space / USERS_TABLE, USER_ID, 0.0),
        *(
            (path, CONTENT, DELETED_SHARE)
            for path in sorted((space / EMBEDDING_CACHE_FOLDER).glob("*.lance"))
        ),
    ]
    yield from (table for table in tables if open_table(table[0]) is not None)

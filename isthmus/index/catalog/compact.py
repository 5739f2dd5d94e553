"""Compaction: merge small files of the tables; remove old versions and what nothing refers to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.store import InteractionStore
from isthmus.data.lance_tables import (
    DELETED_SHARE,
    compact_table,
    digest_predicates_in,
    open_table,
    tables_of,
    versions_older,
)
from isthmus.data.media import STORED
from isthmus.durable import PART
from isthmus.encoders.embedding_cache import CONTENT
from isthmus.errors import SpaceLocked
from isthmus.index.catalog.lock import SWITCHING_LOCK, write_lock
from isthmus.index.settings import SpaceSettings
from isthmus.progress import progress_bar
from isthmus.schema import (
    CATALOG_TABLE,
    CONTENT_HASH,
    EMBEDDING_CACHE_FOLDER,
    INTERACTIONS_TABLE,
    ITEM_ID,
    MEDIA,
    MEDIA_FOLDER,
    USER_ID,
    USER_TABLES,
    VECTORS_FILE,
)

SETTLED_S: Final = 3_600.0  # younger files may belong to a job that is running


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
    expired : int
        Of interactions, those that were older than they are kept.
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
    expired: int = 0


def compact(
    space: Path, keep_days: float, *, collect: bool = False, progress: bool = False
) -> list[CompactReport]:
    """Compact every table of a space; the caller holds the locks of catalog and interactions.

    Queries go on: a version that a reader is using stays, and the next call removes it. Fragments
    of interactions and users are rewritten without deleted rows. So a deleted user is gone from the
    disk when the older versions are. Interactions that are older than ``[retention]`` of
    ``space.toml`` says are deleted first.

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
    expired = _delete_expired(space)
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
                unused = _remove_unused_embeddings(space, path)
            elif collect and path.name == CATALOG_TABLE:
                unused, freed = _remove_left_over_files(space)
            before, after, versions, table_freed = compact_table(
                path, key, keep, deleted_share=deleted, alone=alone or not is_cache
            )
            name = str(path.relative_to(space))
            report = CompactReport(
                name,
                before,
                after,
                versions,
                freed + table_freed,
                unused,
                expired if name == INTERACTIONS_TABLE else 0,
            )
            reports.append(report)
            advance(1)
    return reports


def _delete_expired(space: Path) -> int:
    """Delete interactions that are older than they are kept, and return how many."""
    retention = SpaceSettings.read(space).retention
    return InteractionStore(space).delete_expired(retention.days, retention.events)


def _has_expired(space: Path) -> bool:
    retention = SpaceSettings.read(space).retention
    return InteractionStore(space).count_expired(retention.days, retention.events) > 0


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
    """Compact if tables have versions older than `keep_days`, or interactions have expired.

    Nothing is done, and no report returned, while another process writes: old versions only cost
    disk space, and the next call can drop them.
    """
    try:
        with write_lock(space, "catalog", 0), write_lock(space, "interactions", 0):
            tables = (space / folder for folder in (CATALOG_TABLE, *USER_TABLES))
            keep = timedelta(days=keep_days)
            if any(versions_older(path, keep) for path in tables) or _has_expired(space):
                return compact(space, keep_days)
    except OSError:  # SpaceLocked is one
        pass
    return []


def _tables(space: Path) -> Iterator[tuple[Path, str, float]]:
    """Yield each table, its key column, and the share of deleted rows that fragments can keep."""
    known = {
        CATALOG_TABLE: (ITEM_ID, DELETED_SHARE),
        **dict.fromkeys(USER_TABLES, (USER_ID, 0.0)),
    }
    for table in tables_of(space):
        if open_table(table) is not None:
            yield table, *known.get(table.name, (CONTENT, DELETED_SHARE))


def _remove_left_over_files(space: Path) -> tuple[int, int]:
    """Remove stored media that no item refers to, and files that killed writers left half-written.

    The caller holds the lock of the catalog.

    Returns
    -------
    tuple of int
        Files removed, bytes freed.
    """
    oldest_kept = time.time() - SETTLED_S
    files = freed = 0
    for path in [*_unreferenced_media(space), *space.rglob(f".*{PART}"), space / VECTORS_FILE]:
        try:
            stat = path.stat()
            if stat.st_mtime < oldest_kept:
                path.unlink()
                files, freed = files + 1, freed + stat.st_size
        except FileNotFoundError:
            continue
    return files, freed


def _remove_unused_embeddings(space: Path, cache: Path) -> int:
    """Remove cached embeddings of contents that no item has; return how many there were.

    The caller holds the lock of the catalog.
    """
    dataset: Any = open_table(cache)
    if dataset is None:
        return 0
    modality = cache.name.partition("-")[0]
    used = pa.chunked_array([], pa.binary())
    for known, column in CONTENT_HASH.items():
        if known == modality:
            used = _catalog_column(space, column)
    cached = dataset.to_table(columns=[CONTENT]).column(CONTENT)
    unused = cached.filter(
        pc.invert(pc.is_in(cached, value_set=used.combine_chunks().cast(cached.type)))
    )
    for predicate in digest_predicates_in(CONTENT, unused.to_pylist()):
        dataset.delete(predicate)
    return len(unused)


def _unreferenced_media(space: Path) -> Iterator[Path]:
    used: set[str] = set()
    for modality in MEDIA:
        for reference in _catalog_column(space, modality).to_pylist():
            if isinstance(reference, str) and reference.startswith(STORED):
                used.add(reference.removeprefix(STORED))
    for path in (space / MEDIA_FOLDER).glob("??/*"):
        if path.name not in used and not path.name.startswith("."):
            yield path


def _catalog_column(space: Path, name: str) -> pa.ChunkedArray:
    """Return a column of every item; empty where the catalog has none of that name."""
    dataset: Any = open_table(space / CATALOG_TABLE)
    if dataset is None or name not in dataset.schema.names:
        return pa.chunked_array([], pa.binary())
    return dataset.to_table(columns=[name]).column(name)

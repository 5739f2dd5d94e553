"""Commits of Lance tables that survive a loss of power.

Lance puts a version in place by renaming its manifest, and flushes nothing (as of Lance 14). So
after a loss of power a version may be there whose files are not. Lance lets a table have a lock
that is held from the moment at which all files of a version but its manifest are written until the
manifest is in place; `DurableCommits` is that lock and flushes both.

A flush takes milliseconds, so only what is new is flushed: the files that a commit wrote, the
folders that got a name, the manifest. The record of checksums that follows
(`isthmus.data.table_checksums`) is not: after a loss of power it may be missing or empty, and the
next process that opens the version reads its rows and records it again.

One gap is left: power lost between the rename and the flush of the manifest may leave an empty
manifest. That version was never acknowledged, so `drop_torn_version` removes it. The record of a
version is made after its manifest was flushed: with one, a manifest that is cut off is not torn but
damaged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus.data.lance_manifest import (
    DATA,
    DELETIONS,
    INDICES,
    TRANSACTIONS,
    manifest_name,
    versions_of,
)
from isthmus.data.table_checksums import is_whole, record_file, record_version
from isthmus.durable import sync_file, sync_folder, sync_tree

CLOCK_NS: Final = 1_000_000_000  # more than the resolution of the time stamps of any file system

# By folder: the modification time that each file had when it was flushed by this process, or was
# found to be older than the version before.
_flushed: dict[Path, dict[str, int]] = {}


class DurableCommits:
    """The commit lock of a table: everything of a version is on the disk before its manifest.

    Writers exclude each other by `isthmus.index.catalog.lock`; this lock orders the writes of one.

    Parameters
    ----------
    table : Path
        The table.
    """

    def __init__(self, table: Path) -> None:
        self._table = table

    @contextmanager
    def __call__(self, version: int) -> Iterator[None]:
        """Flush the files of a version, let Lance write its manifest, and flush that."""
        since = self._flush_former(version)
        for name in (DATA, DELETIONS, INDICES, TRANSACTIONS):
            _flush_new(self._table / name, since)
        if version == 1 or self._table.stat().st_mtime_ns >= since:  # a folder may be new
            sync_folder(self._table)
        if version == 1:
            sync_folder(self._table.parent)
        yield
        if (self._table / manifest_name(version)).exists():  # not if the commit was refused
            flush_manifest(self._table, version)
            record_version(self._table, version)

    def _flush_former(self, version: int) -> int:
        """Flush the manifest of the version before, if its writer was killed before it did.

        Returns
        -------
        int
            Time in nanoseconds; files that were changed before are on the disk.
        """
        former = self._table / manifest_name(version - 1)
        try:
            written = former.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        if not record_file(self._table, version - 1).exists():
            flush_manifest(self._table, version - 1)
        # Where the clock was set back, times tell nothing: everything is flushed.
        return written - CLOCK_NS if written <= time.time_ns() else 0


def flush_manifest(table: Path, version: int) -> None:
    """Flush the manifest of a version and its name to the disk."""
    manifest = table / manifest_name(version)
    sync_file(manifest)
    sync_folder(manifest.parent)


def _flush_new(folder: Path, since: int) -> None:
    """Flush what is new in a folder of a table, and the folder if there is anything."""
    known, now = _flushed.get(folder, {}), dict[str, int]()
    settled = time.time_ns() - 2 * CLOCK_NS  # what was older when it was flushed stays as it is
    new = False
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        before = known.get(entry.name)
        if before is not None and before < settled:
            now[entry.name] = before
            continue
        try:
            changed = entry.stat().st_mtime_ns
            if changed != before and (before is not None or changed >= since):
                new = True
                (sync_tree if entry.is_dir() else sync_file)(Path(entry.path))
        except FileNotFoundError:  # renamed, or removed as left over
            continue
        now[entry.name] = changed
    if new:
        sync_folder(folder)
    _flushed[folder] = now


def drop_torn_version(table: Path) -> bool:
    """Remove the newest version if a loss of power tore it before it was acknowledged.

    Returns
    -------
    bool
        Whether there was such a version.
    """
    newest = max(versions_of(table), default=0)
    manifest = table / manifest_name(newest)
    if not newest or record_file(table, newest).exists() or is_whole(table, newest):
        return False
    manifest.unlink()
    sync_folder(manifest.parent)
    return True

"""Commits of Lance tables that survive a loss of power.

Lance puts a version in place by renaming its manifest, and flushes nothing (as of Lance 14). So
after a loss of power a version may be there whose files are not. Lance lets a table have a lock
that is held from the moment at which all files of a version but its manifest are written until the
manifest is in place; `DurableCommits` is that lock and flushes both.

One gap is left: power lost between the rename and the flush of the manifest may leave an empty
manifest. That version was never acknowledged, so `drop_torn_version` removes it. A version that was
flushed has a record of its checksums (`isthmus.data.table_checksums`): with one, a manifest that is
cut off is not torn but damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from isthmus.data.lance_manifest import MAGIC, manifest_name, versions_of
from isthmus.data.table_checksums import record_file, record_version
from isthmus.durable import sync_file, sync_folder, sync_tree

CLOCK_S: Final = 1.0  # more than the resolution of the time stamps of any file system


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
        self._sync_files(version)
        yield
        manifest = self._table / manifest_name(version)
        if manifest.exists():  # not if the commit was refused
            sync_file(manifest)
            sync_folder(manifest.parent)
            record_version(self._table, version)

    def _sync_files(self, version: int) -> None:
        """Flush what was written since the version before, and that version's manifest."""
        former = self._table / manifest_name(version - 1)
        since = 0.0
        if former.exists():
            since = former.stat().st_mtime - CLOCK_S
            sync_file(former)
        for folder in sorted(p for p in self._table.iterdir() if p.is_dir()):
            for path in folder.iterdir():
                with suppress(FileNotFoundError):  # renamed, or removed as left over
                    if path.stat().st_mtime >= since:
                        (sync_tree if path.is_dir() else sync_file)(path)
            sync_folder(folder)
        sync_folder(self._table)
        if version == 1:
            sync_folder(self._table.parent)


def drop_torn_version(table: Path) -> bool:
    """Remove the newest version if a loss of power tore it before it was acknowledged.

    Returns
    -------
    bool
        Whether there was such a version.
    """
    newest = max(versions_of(table), default=0)
    manifest = table / manifest_name(newest)
    if not newest or record_file(table, newest).exists() or _is_whole(manifest):
        return False
    manifest.unlink()
    sync_folder(manifest.parent)
    return True


def _is_whole(manifest: Path) -> bool:
    """Return whether a manifest ends as every manifest does."""
    with manifest.open("rb") as file:
        file.seek(max(0, manifest.stat().st_size - len(MAGIC)))
        return file.read() == MAGIC

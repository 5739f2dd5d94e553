"""The files of a space at one moment, though others write to it meanwhile.

The files are listed in the opposite of the order in which they are written: what points to others
first, then what it points to. So whatever a listed file refers to is listed too, and the listing is
a state that a crash could have left, from which every verb goes on (see `isthmus.durable`).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from isthmus.data.lance_manifest import HINT, VERSIONS, manifest_name, versions_of
from isthmus.data.lance_tables import tables_of
from isthmus.data.leases import READERS
from isthmus.data.media import DOWNLOADS
from isthmus.data.table_checksums import CHECKSUMS, record_file
from isthmus.durable import PART, REMOVING
from isthmus.index.catalog.lock import HOLDER, LOCK
from isthmus.index.releases.release import BUILDING
from isthmus.schema import (
    CURRENT_COPY,
    CURRENT_FILE,
    FUSION_WEIGHTS_FILE,
    PRIVACY_BUDGET_FILE,
    RELEASES_FOLDER,
    SECOND_STAGE_FILE,
    SPACE_FILE,
    SPACE_FILE_COPY,
    VECTORS_FILE,
)

# Replaced as a whole, so their content is read when they are listed. In this order: CURRENT may
# lag behind space.toml, and never the other way round.
REPLACED: Final = (
    CURRENT_FILE,
    f"{RELEASES_FOLDER}/{CURRENT_COPY}",
    SPACE_FILE,
    SPACE_FILE_COPY,
    FUSION_WEIGHTS_FILE,
    SECOND_STAGE_FILE,
    PRIVACY_BUDGET_FILE,
)
# What is locked, half-written or being removed, and no part of what a space holds.
_SUFFIXES_LEFT_OUT: Final = (PART, LOCK, HOLDER)
_NAMES_LEFT_OUT: Final = (READERS, VECTORS_FILE, HINT)
_FOLDERS_LEFT_OUT: Final = (REMOVING, BUILDING, DOWNLOADS)  # prefixes


@dataclass(frozen=True)
class SnapshotFile:
    """A file of a snapshot.

    Attributes
    ----------
    name : str
        Its path in the space, with ``/``.
    size : int
        In bytes.
    modified, inode : int
        When it was modified, in nanoseconds, and its inode: where the file was replaced, one of
        them or the size differs.
    content : bytes or None
        Of a file that others may replace at any moment; None for the rest.
    """

    name: str
    size: int
    modified: int = 0
    inode: int = 0
    content: bytes | None = None

    @classmethod
    def of(cls, path: Path, name: str) -> Self:
        """Return a file that is there now.

        Raises
        ------
        FileNotFoundError
            If it is not.
        """
        stat = path.stat()
        return cls(name, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def list_files(space: Path) -> list[SnapshotFile]:
    """Return the files of a space at one moment; locks and half-written files are left out."""
    tables = list(tables_of(space))
    hints = [f"{table.relative_to(space).as_posix()}/{VERSIONS}/{HINT}" for table in tables]
    listed = {name: file for name in (*REPLACED, *hints) if (file := _read(space, name))}
    listed |= _below(space, space / RELEASES_FOLDER)
    for table in tables:
        listed |= _versions(space, table)
    for name, file in _below(space, space).items():
        if not _came_later(name, listed):
            listed.setdefault(name, file)
    return [listed[name] for name in sorted(listed)]


def _versions(space: Path, table: Path) -> dict[str, SnapshotFile]:
    """Return the manifests of the versions of a table, but for one that has no record yet."""
    manifests = _below(space, table / VERSIONS)
    prefix = table.relative_to(space).as_posix()
    for version in versions_of(table):
        if not record_file(table, version).exists():
            manifests.pop(f"{prefix}/{manifest_name(version)}", None)
    return manifests


def _read(space: Path, name: str) -> SnapshotFile | None:
    try:
        content = (space / name).read_bytes()
    except FileNotFoundError:
        return None
    return SnapshotFile(name, len(content), content=content)


def _below(space: Path, folder: Path) -> dict[str, SnapshotFile]:
    """Return the files of a folder and below it, by name; those that are replaced left out."""
    files = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(_FOLDERS_LEFT_OUT)]
        for file in names:
            whole = Path(path) / file
            name = whole.relative_to(space).as_posix()
            if name in REPLACED or file in _NAMES_LEFT_OUT or file.endswith(_SUFFIXES_LEFT_OUT):
                continue
            with suppress(FileNotFoundError):  # removed since
                files[name] = SnapshotFile.of(whole, name)
    return files


def _came_later(name: str, listed: Collection[str]) -> bool:
    """Return whether a file is of a release, or of a version of a table, that is not listed."""
    if name.startswith(f"{RELEASES_FOLDER}/") or f"/{VERSIONS}/" in name:
        return name not in listed
    table, record, version = name.rpartition(f"/{CHECKSUMS}/")
    if not record or not version.isdecimal():
        return False
    return f"{table}/{manifest_name(int(version))}" not in listed

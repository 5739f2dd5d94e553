"""Backups of a space: incremental, verified, consistent though others write meanwhile.

A place of backups holds every content once, under its digest, and for each backup a list of files
with their digests. The list is written last, so a backup that is there is whole.
"""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from isthmus.data.file_store import FileStore
from isthmus.errors import BackupNotFound, CorruptBackup, CorruptTable, SpaceLocked
from isthmus.files import with_checksum, without_checksum
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import BackupRequest, VerifyRequest
from isthmus.operations.snapshot import SnapshotFile, list_files
from isthmus.operations.verify import verify
from isthmus.progress import progress_bar

CONTENTS: Final = "contents"
LISTS: Final = "backups"
VERSION: Final = 1
ATTEMPTS: Final = 5  # while others remove what was listed


@dataclass(frozen=True)
class BackedUpFile:
    """A file of a backup: its path in the space, its size, and the digest of its content."""

    name: str
    size: int
    digest: str
    modified: int = 0
    inode: int = 0


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds, and what it cost.

    Attributes
    ----------
    backup : str
        Its name, the time in UTC.
    files, bytes : int
        What it holds.
    new_files, new_bytes : int
        Contents that were copied; the rest was there from earlier backups, or under another name.
    removed : int
        Earlier backups that were removed.
    seconds : float
        Duration.
    """

    backup: str
    files: int
    bytes: int
    new_files: int
    new_bytes: int
    removed: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def back_up(space: OpenSpace, request: BackupRequest, *, progress: bool = False) -> BackupReport:
    """Copy what a place of backups lacks of a space, and verify it there.

    Raises
    ------
    CorruptTable
        If a file of the space is damaged; nothing is written then.
    """
    started = time.monotonic()
    _require_sound(space)
    store = FileStore(request.to)
    store.remove_left_overs()
    names = list_backups(store)
    former = {file.name: file for file in read_backup(store, names[-1])} if names else {}
    writer = _Writer(space.path, store, former)
    files = _copied(space, writer, show=progress)
    name = _new_name(names)
    lines = {"version": VERSION, "space": space.path.name, "files": [asdict(f) for f in files]}
    store.write(_list_of(name), with_checksum(json.dumps(lines)))
    removed = 0 if request.keep is None else _prune(store, [*names, name], request.keep)
    return BackupReport(
        backup=name,
        files=len(files),
        bytes=sum(file.size for file in files),
        new_files=writer.new_files,
        new_bytes=writer.new_bytes,
        removed=removed,
        seconds=round(time.monotonic() - started, 3),
    )


def _copied(space: OpenSpace, writer: _Writer, *, show: bool) -> list[BackedUpFile]:
    """List and copy the files of a space, again where some were removed meanwhile."""
    for _ in range(ATTEMPTS):
        files = writer.copied(list_files(space.path), show=show)
        if files is not None:
            return files
    raise SpaceLocked(
        f"files of {space.path} were removed or replaced each time they were copied; back it up "
        "while no other process compacts it, publishes or trains"
    )


def list_backups(store: FileStore) -> list[str]:
    """Return the names of the backups, the oldest first."""
    return [Path(name).stem for name in store.names(LISTS) if name.endswith(".json")]


def read_backup(store: FileStore, name: str) -> list[BackedUpFile]:
    """Return the files of a backup.

    Raises
    ------
    BackupNotFound
        If there is none of the name.
    CorruptBackup
        If its list is damaged.
    """
    if _list_of(name) not in store:
        there = ", ".join(list_backups(store)) or "none"
        raise BackupNotFound(f"no backup {name!r} in {store.place}; there are: {there}")
    try:
        values = without_checksum(store.read(_list_of(name)))
        return [BackedUpFile(**file) for file in values["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptBackup(
            f"the list of the backup {name!r} in {store.place} is damaged: {error}; take another "
            f"one, see: {backups_command(store)}"
        ) from error


def backups_command(store: FileStore) -> str:
    """Return the command that lists the backups of a place."""
    return f"isthmus backups {shlex.quote(store.place)}"


def content_name(digest: str) -> str:
    """Return under which name a content is stored."""
    return f"{CONTENTS}/{digest[:2]}/{digest}"


class _Writer:
    """Copies files, each content once."""

    def __init__(self, space: Path, store: FileStore, former: dict[str, BackedUpFile]) -> None:
        self._space, self._store, self._former = space, store, former
        self._stored = {Path(name).name for name in store.names(CONTENTS)}
        self.new_files = self.new_bytes = 0

    def copied(self, files: Sequence[SnapshotFile], *, show: bool) -> list[BackedUpFile] | None:
        """Return the files once they are copied; None if one was removed or replaced meanwhile."""
        out = []
        with progress_bar("backing up", len(files), show=show) as advance:
            for file in files:
                try:
                    known = self._copy(file)
                except FileNotFoundError:
                    return None
                if known is None:
                    return None
                out.append(known)
                advance(1)
        return out

    def _copy(self, file: SnapshotFile) -> BackedUpFile | None:
        former = self._former.get(file.name)
        if former is not None and _is_same(file, former) and former.digest in self._stored:
            return former
        path = self._space / file.name
        opened: IO[bytes] = path.open("rb") if file.content is None else io.BytesIO(file.content)
        with opened as content:
            content_digest = self._put(file, content)
        if file.content is None and SnapshotFile.of(path, file.name) != file:
            return None
        stat = {} if file.content is not None else {"modified": file.modified, "inode": file.inode}
        found = BackedUpFile(file.name, file.size, content_digest, **stat)
        self._former[file.name] = found  # not read again where the listing is repeated
        return found

    def _put(self, file: SnapshotFile, content: IO[bytes]) -> str:
        try:
            content_digest, is_new = self._store.add(content, content_name)
        except CorruptBackup as error:
            raise CorruptBackup(
                f"{file.name}: {error}, and run it again; nothing of this backup counts"
            ) from error
        self._stored.add(content_digest)
        if is_new:
            self.new_files, self.new_bytes = self.new_files + 1, self.new_bytes + file.size
        return content_digest


def _is_same(file: SnapshotFile, former: BackedUpFile) -> bool:
    now = (file.size, file.modified, file.inode)
    return file.content is None and now == (former.size, former.modified, former.inode)


def _require_sound(space: OpenSpace) -> None:
    report = verify(space, VerifyRequest())
    if not report.sound:
        first = next(damage for damage in report.damages if not damage.repaired)
        raise CorruptTable(
            f"{first.file} {first.cause}, so nothing was backed up; mend it with: {first.remedy}"
        )


def _new_name(names: Sequence[str]) -> str:
    """Return the time as a name that comes after all others."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%fZ")
    return name if not names or name > names[-1] else f"{names[-1]}-next"


def _list_of(name: str) -> str:
    return f"{LISTS}/{name}.json"


def _prune(store: FileStore, names: Sequence[str], keep: int) -> int:
    """Remove all but the last backups, and the contents that no other has; return how many."""
    kept = {file.digest for name in names[-keep:] for file in read_backup(store, name)}
    for name in names[:-keep]:
        store.remove(_list_of(name))
    for content in _unreferenced(store, kept):
        store.remove(content)
    return len(names[:-keep])


def _unreferenced(store: FileStore, kept: set[str]) -> list[str]:
    return [name for name in store.names(CONTENTS) if Path(name).name not in kept]

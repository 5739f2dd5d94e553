"""Restoring of a space from a place of backups."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from isthmus.data.file_store import FileStore
from isthmus.digests import digest_file
from isthmus.durable import make_folder, put_folder
from isthmus.errors import BackupNotFound, CorruptBackup, SpaceExists, command_in
from isthmus.operations.backup import (
    BackedUpFile,
    backups_command,
    content_name,
    list_backups,
    read_backup,
)
from isthmus.progress import progress_bar

RESTORING: Final = ".restoring-"


@dataclass(frozen=True)
class RestoreReport:
    """What was restored.

    Attributes
    ----------
    backup : str
        Name of the backup.
    files, bytes : int
        What it holds.
    seconds : float
        Duration.
    """

    backup: str
    files: int
    bytes: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def backups(place: str | Path) -> list[str]:
    """Return the names of the backups in a place, the oldest first.

    Parameters
    ----------
    place : str or Path
        Where `Space.backup` wrote: a folder, or an address of object storage.
    """
    return list_backups(FileStore(place))


def restore(
    place: str | Path, space: str | Path, *, backup: str | None = None, progress: bool = False
) -> RestoreReport:
    """Make a space of a backup; each content is compared with its digest.

    The space is there when all of it is: a restore that is killed leaves no space, and starts anew
    when it is run again.

    Parameters
    ----------
    place : str or Path
        Where `Space.backup` wrote: a folder, or an address of object storage.
    space : str or Path
        Folder to create.
    backup : str, optional
        Name of the backup, of `backups`; by default the last.
    progress : bool, default False
        Whether to show a progress bar.

    Raises
    ------
    SpaceExists
        If there is something under that name.
    BackupNotFound
        If there is no such backup.
    CorruptBackup
        If a content is missing or damaged; the message names the file of the space.
    """
    started = time.monotonic()
    folder = Path(space)
    if folder.exists():
        raise SpaceExists(f"{folder} exists; restore to another folder, or move it away")
    store = FileStore(place)
    names = list_backups(store)
    if backup is None and not names:
        command = command_in(None, "backup", str(place))
        raise BackupNotFound(f"no backup in {store.place}; make one with: {command}")
    name = names[-1] if backup is None else backup
    files = read_backup(store, name)
    make_folder(folder.absolute().parent)
    building = folder.with_name(f"{RESTORING}{folder.name}")
    shutil.rmtree(building, ignore_errors=True)  # of a restore that was killed
    with progress_bar("restoring", len(files), show=progress) as advance:
        for file in files:
            _fetch(store, file, building / file.name)
            advance(1)
    put_folder(building, folder)
    size = sum(file.size for file in files)
    return RestoreReport(name, len(files), size, round(time.monotonic() - started, 3))


def _fetch(store: FileStore, file: BackedUpFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as out:
            for block in store.blocks(content_name(file.digest)):
                out.write(block)
    except FileNotFoundError as error:
        raise _corrupt(store, file, "is missing") from error
    if digest_file(path).hex() != file.digest:
        raise _corrupt(store, file, "is damaged")


def _corrupt(store: FileStore, file: BackedUpFile, what: str) -> CorruptBackup:
    return CorruptBackup(
        f"the content of {file.name} {what} in {store.place} ({content_name(file.digest)}); "
        f"restore another backup with --backup, see: {backups_command(store)}"
    )

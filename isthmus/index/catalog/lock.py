"""Write locks of a space; the operating system releases the lock of a killed writer."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from isthmus.data.lance_tables import tables_of
from isthmus.data.table_checksums import CHECKSUMS
from isthmus.durable import remove_left_folders, remove_stale_parts
from isthmus.errors import SpaceLocked
from isthmus.schema import (
    CATALOG_TABLE,
    FORMER_SETTINGS_FOLDER,
    MEDIA_FOLDER,
    RECOMMENDER_FOLDER,
    RELEASES_FOLDER,
    TRAINING_FOLDER,
    USER_TABLES,
    VECTORS_FILE,
)

DEFAULT_WAIT_S = 30.0
SWITCHING_LOCK = "switching"  # of who encodes without the lock of the catalog

LOCK: Final = ".lock"  # suffix of the file that is locked
HOLDER: Final = ".writer"  # suffix of the file that says who holds the lock

# The locks under which each table is written; any other table is one of the embedding caches.
WRITERS = {
    CATALOG_TABLE: ("catalog",),
    **dict.fromkeys(USER_TABLES, ("interactions",)),
}
ENCODING = ("catalog", SWITCHING_LOCK)


@contextmanager
def write_lock(folder: Path, what: str, wait_s: float = DEFAULT_WAIT_S) -> Iterator[None]:
    """Hold a space's write lock.

    Parameters
    ----------
    folder : Path
        The space.
    what : str
        What is written: ``catalog``, ``releases``, ``interactions`` or another name. Locks of
        different names do not exclude each other.
    wait_s : float
        Longest wait for another writer, in seconds.

    Raises
    ------
    SpaceLocked
        If another writer holds the lock after the wait; the message names it.
    PermissionError
        If this user may not write the space.
    """
    path = folder / f".{what}{LOCK}"
    holder = folder / f".{what}{HOLDER}"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise SpaceLocked(
            f"{folder} is being written by {_describe(holder)}; waited {wait_s:g} s. "
            "Try again when it has finished"
        ) from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PermissionError(
                f"{folder} cannot be written by this user ({error.strerror}); its items can be "
                "read and searched"
            ) from error
        raise
    try:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
        _remove_leftovers(folder, what)
        holder.write_text(json.dumps({"pid": os.getpid(), "command": command}))
        yield
    finally:
        lock.release()


def is_being_written(folder: Path, table: Path) -> bool:
    """Return whether another process, or another part of this one, is writing a table."""
    for what in WRITERS.get(table.name, ENCODING):
        lock = FileLock(folder / f".{what}{LOCK}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # this user may not write the space
            return False
        lock.release()
    return False


def _remove_leftovers(space: Path, what: str) -> None:
    """Remove what killed writers were writing; the caller holds the lock of this name."""
    tables = [table for table in tables_of(space) if what in WRITERS.get(table.name, ENCODING)]
    folders = [space, *(table / CHECKSUMS for table in tables)]
    if what == "catalog":
        (space / VECTORS_FILE).unlink(missing_ok=True)
        folders += [space / MEDIA_FOLDER, *(space / FORMER_SETTINGS_FOLDER).glob("*")]
    if what == "releases":
        folders.append(space / RELEASES_FOLDER)
        remove_left_folders(space / RELEASES_FOLDER)
    if what == "training":
        folders.append(space / TRAINING_FOLDER / RECOMMENDER_FOLDER)
    for folder in folders:
        remove_stale_parts(folder)


def _describe(holder: Path) -> str:
    try:
        writer = json.loads(holder.read_text())
    except (OSError, ValueError):
        return "another process"
    return f"process {writer['pid']} ({writer['command']})"

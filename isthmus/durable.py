"""Durable files: whole or not at all after a crash, and on the disk before what points to them.

A process may be killed, and a machine may lose power, between any two system calls. After a loss
of power a file has what was flushed (fsync) of it, and a folder may have lost the entries that
were not flushed. So each function here flushes what it writes before it puts a name in place, and
the folder of the name afterwards.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PART: Final = ".part"  # suffix of a file that is being written
REMOVING: Final = ".removing-"  # prefix of a folder that is being removed


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old or the new content, never a part."""
    partial = partial_name(path)
    partial.write_bytes(data)
    put_file(partial, path)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also for a killed process, but flush nothing.

    After a loss of power it may be there without content.
    """
    partial = partial_name(path)
    partial.write_bytes(data)
    partial.replace(path)


def remove_stale_parts(folder: Path) -> None:
    """Remove the files of a folder that a process was writing when it was killed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.endswith(PART) and not _is_running(folder / name):
            (folder / name).unlink(missing_ok=True)


def _is_running(part: Path) -> bool:
    """Return whether the process runs that writes a part, see `partial_name`."""
    process = part.name.removesuffix(PART).rpartition(".")[2].partition("-")[0]
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # it runs for somebody else
        return True
    return True


def put_file(partial: Path, path: Path) -> None:
    """Rename a finished file into place; all of it is on the disk before."""
    sync_file(partial)
    partial.replace(path)
    sync_folder(path.parent)


def partial_name(path: Path) -> Path:
    """Return the name that a file has while this thread writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{PART}")


def make_folder(folder: Path) -> Path:
    """Create a folder and its parents where they are missing, durably; return it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    return folder


def put_folder(building: Path, folder: Path) -> None:
    """Rename a finished folder into place; all of it is on the disk before."""
    sync_tree(building)
    building.replace(folder)
    sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder; under its name it is whole or gone. Return silently if it is not there."""
    removing = folder.with_name(f"{REMOVING}{folder.name}")
    shutil.rmtree(removing, ignore_errors=True)  # of a removal that was killed
    try:
        folder.replace(removing)
    except FileNotFoundError:
        return
    sync_folder(folder.parent)
    shutil.rmtree(removing, ignore_errors=True)


def remove_left_folders(folder: Path) -> None:
    """Remove what is left in a folder of folders whose removal was killed."""
    for removing in folder.glob(f"{REMOVING}*"):
        shutil.rmtree(removing, ignore_errors=True)


def sync_file(path: Path) -> None:
    """Flush the content of a file to the disk."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to the disk."""
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below a folder, and the folder itself, to the disk."""
    for path in _below(folder):
        _sync(path)
    _sync(folder)


def _below(folder: Path) -> Iterator[Path]:
    """Yield what a folder holds, the content of each folder before the folder."""
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path)
        yield path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

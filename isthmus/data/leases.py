"""Leases: the versions of tables and releases that readers are using, which nobody removes.

A reader holds a lock of the operating system on one byte of the file ``.readers`` in the folder of
a table: the byte whose position is the version. The locks go with the process, so a killed reader
leaves nothing behind. They belong to an open file ("open file description locks", Linux 3.15), so
that threads and forked processes do not release each other's. Where the system has none, or the
folder cannot be written, there are no leases.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from pathlib import Path
from typing import Final

from isthmus.errors import IsthmusError

READERS: Final = ".readers"

_FLOCK: Final = struct.Struct("hhqqi0q")  # type, whence, start, length, process
_SET: Final = getattr(fcntl, "F_OFD_SETLK", None)
_SET_AND_WAIT: Final = getattr(fcntl, "F_OFD_SETLKW", None)


class VersionGone(IsthmusError, OSError):
    """A version of a table, or a release, was removed before it was read; there is a newer one."""


class LeaseScope:
    """The leases that one reader took; released together."""

    __slots__ = ("_files", "_held")

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._held: set[tuple[Path, int]] = set()

    def hold(self, folder: Path, version: int) -> bool:
        """Take a lease; wait for a remover that is at work; return whether it is a new one."""
        if (folder, version) in self._held or _SET_AND_WAIT is None:
            return False
        with contextlib.suppress(OSError):
            if folder not in self._files:
                self._files[folder] = _open(folder, os.O_RDONLY)
            fcntl.fcntl(self._files[folder], _SET_AND_WAIT, _lock(fcntl.F_RDLCK, version))
            self._held.add((folder, version))
        return True

    def release(self, folder: Path) -> None:
        """Release the leases of one folder."""
        if folder in self._files:
            os.close(self._files.pop(folder))
        self._held = {held for held in self._held if held[0] != folder}

    def close(self) -> None:
        """Release everything."""
        while self._files:
            os.close(self._files.popitem()[1])
        self._held.clear()

    def __del__(self) -> None:  # of a stream that nobody began to read
        self.close()


_scope: ContextVar[LeaseScope | None] = ContextVar("lease_scope", default=None)


class lease_scope:  # noqa: N801  # a context manager; every query enters one
    """Keep every version that is used inside, until the end; a scope in a scope is part of it.

    Parameters
    ----------
    scope : LeaseScope, optional
        Takes the leases, and is not closed at the end.
    """

    __slots__ = ("_opened", "_scope", "_token")

    def __init__(self, scope: LeaseScope | None = None) -> None:
        self._scope = scope
        self._opened: LeaseScope | None = None
        self._token: Token[LeaseScope | None] | None = None

    def __enter__(self) -> None:
        scope = self._scope
        if scope is None:
            if _scope.get() is not None:
                return
            scope = self._opened = LeaseScope()
        self._token = _scope.set(scope)

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _scope.reset(self._token)
        if self._opened is not None:
            self._opened.close()


def hold(folder: Path, version: int) -> bool:
    """Keep a version until the end of the scope; without a scope nothing is kept.

    The version may have been removed before: whoever holds it has to look whether it is there.

    Parameters
    ----------
    folder : Path
        Folder of a table, or of the releases.
    version : int
        Version of the table, or number of the release.

    Returns
    -------
    bool
        Whether it was not kept before.
    """
    scope = _scope.get()
    return scope is not None and scope.hold(folder, version)


@contextmanager
def removing(folder: Path, versions: Iterable[int]) -> Iterator[list[int]]:
    """Yield those versions that no reader holds; nobody can hold them meanwhile.

    Whoever removes has finished reading: the leases of its own scope are released first.
    """
    scope = _scope.get()
    if scope is not None:
        scope.release(folder)
    if _SET is None:
        yield list(versions)
        return
    descriptor = _open(folder, os.O_RDWR)
    free = []
    try:
        for version in versions:
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.fcntl(descriptor, _SET, _lock(fcntl.F_WRLCK, version))
                free.append(version)
        yield free
    finally:
        os.close(descriptor)


def _open(folder: Path, mode: int) -> int:
    file = f"{folder}/{READERS}"  # every query comes here, and a join of paths takes longer
    try:
        return os.open(file, mode | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(file, mode | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(kind: int, version: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, version, 1, 0)

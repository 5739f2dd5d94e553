"""Checksums of Lance tables: a record of each version, so that no damaged file is read as sound.

The file formats of Lance have no checksums. So each commit is followed by a record of its version,
``_checksums/VERSION``: size and CRC-32 of every file of the version, and a copy of its manifest.
Files of a table never change, so a process checks each of them once, when it opens a version that
consists of it. A record that is there says that the version was committed; where a kill came
between a commit and its record, the files without a record are read unchecked, and recorded when
the next writer has read them.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from isthmus.data.lance_manifest import TableManifest, manifest_name, versions_of
from isthmus.data.leases import VersionGone
from isthmus.durable import make_folder, write_whole
from isthmus.errors import CorruptTable, command_in
from isthmus.files import Crc, crc_of, crc_of_file
from isthmus.schema import SPACE_FILE

CHECKSUMS: Final = "_checksums"

SETTLED_NS: Final = 100_000_000  # longer than a tick of the clock of a local file system

Stamp = tuple[str, int, int, int]  # path, size, modification time, inode

_verified: set[Stamp] = set()  # files that this process found sound


@dataclass(frozen=True)
class VersionRecord:
    """The checksums of one version of a table.

    Attributes
    ----------
    version : int
        The version.
    table : str
        Identifies the table: one that is put in the place of another has another.
    files : dict of str to Crc
        By path relative to the table; the manifest is among them.
    manifest : bytes
        Copy of the manifest.
    """

    version: int
    table: str
    files: dict[str, Crc]
    manifest: bytes

    def encode(self) -> bytes:
        """Return the content of the file, with a checksum of its own."""
        listed = {name: list(crc) for name, crc in self.files.items()}
        head = json.dumps({"version": self.version, "table": self.table, "files": listed}).encode()
        body = head + b"\n" + self.manifest
        return f"{crc_of(body).crc:08x}\n".encode() + body

    @classmethod
    def decode(cls, content: bytes) -> VersionRecord:
        """Return the record in a file.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        crc, _, body = content.partition(b"\n")
        if crc != f"{crc_of(body).crc:08x}".encode():
            raise ValueError("the record is damaged")
        head, _, manifest = body.partition(b"\n")
        try:
            values = json.loads(head)
            files = {name: Crc(*crc) for name, crc in values["files"].items()}
            return cls(values["version"], values["table"], files, manifest)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the record is of another format") from error


def record_file(table: Path, version: int) -> Path:
    """Return the file of a version's record."""
    return table / CHECKSUMS / str(version)


def recorded_versions(table: Path) -> list[int]:
    """Return the versions that have a record, ascending."""
    try:
        names = [path.name for path in (table / CHECKSUMS).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if name.isdecimal())


def read_record(table: Path, version: int) -> VersionRecord | None:
    """Return the record of a version; None where there is none, or it is damaged."""
    try:
        return VersionRecord.decode(record_file(table, version).read_bytes())
    except (OSError, ValueError):
        return None


def record_version(table: Path, version: int) -> VersionRecord:
    """Record the checksums of a version that was just committed.

    Checksums of files that earlier versions consist of are taken from their record, and never
    computed again: a file that was damaged since would otherwise pass for sound. The record is not
    flushed: it can be made again, and a loss of power that takes it takes no acknowledged version.

    Parameters
    ----------
    table : Path
        Folder of the table.
    version : int
        The version; its manifest was flushed.
    """
    manifest = (table / manifest_name(version)).read_bytes()
    former = _former_record(table, version)
    known = {} if former is None else former.files
    files = {manifest_name(version): crc_of(manifest)}
    for name in _files_of(table, TableManifest.parse(manifest)):
        crc = known.get(name)
        if crc is None:
            crc = crc_of_file(table / name)
            _remember(_stamp(table / name))
        files[name] = crc
    make_folder(table / CHECKSUMS)
    identity = uuid4().hex if former is None else former.table
    record = VersionRecord(version, identity, files, manifest)
    write_whole(record_file(table, version), record.encode())
    return record


def is_recorded(table: Path, version: int) -> bool:
    """Return whether a version has a record; an empty one lost its content with the power."""
    try:
        return record_file(table, version).stat().st_size > 0
    except FileNotFoundError:
        return False


def forget_records(table: Path, versions: Iterable[int]) -> None:
    """Remove the records of versions that have no manifest any more."""
    for version in versions:
        record_file(table, version).unlink(missing_ok=True)


def newest_version(table: Path) -> int | None:
    """Return the newest version of a table; None where there is no table.

    A version without a record whose manifest was not written whole does not count: power was lost
    while it was committed, and it was not acknowledged.

    Raises
    ------
    CorruptTable
        If the newest version that was recorded is not there, or no manifest can be read.
    """
    recorded = recorded_versions(table)  # before the manifests: a commit in between adds one
    versions = versions_of(table)
    if recorded and (not versions or versions[-1] < recorded[-1]):
        raise corrupt(table, manifest_name(recorded[-1]))
    if not versions:
        return None
    newest = versions[-1]
    if newest in recorded or is_whole(table, newest):
        return newest
    if newest == 1:
        return None
    if recorded:
        return recorded[-1]
    raise corrupt(table, manifest_name(newest))


def table_identity(table: Path) -> str | None:
    """Return what identifies a table among those that stood at its path; None if not recorded."""
    record = _former_record(table, (newest_version(table) or 0) + 1)
    return None if record is None else record.table


class TableStamp(NamedTuple):
    """Identifies a version of a table among all that were there before or will be.

    Attributes
    ----------
    version : int
        The version.
    manifest, next_manifest : str
        Paths of its manifest, and of that of the next version.
    modified_ns, inode : int
        Of its manifest.
    """

    version: int
    manifest: str
    next_manifest: str
    modified_ns: int
    inode: int

    def is_there(self) -> bool:
        """Return whether the version was neither removed nor replaced."""
        try:
            stat = os.stat(self.manifest)  # noqa: PTH116  # every query comes here
        except FileNotFoundError:
            return False
        return stat.st_mtime_ns == self.modified_ns and stat.st_ino == self.inode

    def is_newest(self) -> bool:
        """Return whether the version is there and is the newest; some 5 µs, however many are."""
        return self.is_there() and not os.access(self.next_manifest, os.F_OK)


def stamp_of(table: Path, version: int) -> TableStamp:
    """Return the stamp of a version.

    Raises
    ------
    VersionGone
        If it was removed.
    """
    manifest, following = (table / manifest_name(number) for number in (version, version + 1))
    try:
        stat = manifest.stat()
    except FileNotFoundError as error:
        raise VersionGone(f"{table} has no version {version} any more; try again") from error
    return TableStamp(version, str(manifest), str(following), stat.st_mtime_ns, stat.st_ino)


def require_intact(table: Path, version: int, *, besides: str | None = None) -> None:
    """Check the files of a version that this process has not checked yet.

    Parameters
    ----------
    table : Path
        Folder of the table.
    version : int
        The version.
    besides : str, optional
        Name of an index that is not checked, see `require_index_intact`.

    Raises
    ------
    CorruptTable
        If one is missing, cut off or changed; the message names it.
    VersionGone
        If the version was removed meanwhile.
    """
    checksums = checksums_of(table, version)
    for part, files in checksums.items():
        if part != besides:
            for name, expected in files.items():
                if not is_intact(table / name, expected):
                    stamp_of(table, version)
                    raise corrupt(table, name)


def require_index_intact(table: Path, version: int, index: str, remedy: str) -> None:
    """Check the files of one index that this process has not checked yet.

    Parameters
    ----------
    table, version
        As in `require_intact`.
    index : str
        Name of the index; one that is not there is intact.
    remedy : str
        The words of the command that mends it, such as ``publish``.

    Raises
    ------
    CorruptTable
        If a file is missing, cut off or changed.
    """
    for name, expected in checksums_of(table, version).get(index, {}).items():
        if not is_intact(table / name, expected):
            stamp_of(table, version)
            raise CorruptTable(
                f"{table / name} is missing or damaged, a file of an index, which can be built "
                f"anew with: {command_in(space_of(table), remedy)}"
            )


def damaged_files(table: Path, version: int) -> list[str]:
    """Return the recorded files of a version, rows and indexes, that are damaged; reads them all.

    Raises
    ------
    VersionGone
        If the version was removed meanwhile.
    """
    listed = {n: crc for files in checksums_of(table, version).values() for n, crc in files.items()}
    damaged = [n for n, crc in listed.items() if not is_intact(table / n, crc, again=True)]
    if damaged:
        stamp_of(table, version)
    return damaged


def is_intact(path: Path, expected: Crc, *, again: bool = False) -> bool:
    """Return whether a file has its checksum.

    Parameters
    ----------
    path : Path
        The file.
    expected : Crc
        Its size and checksum.
    again : bool, default False
        Whether to read a file that this process has read before.
    """
    try:
        stamp = _stamp(path)
        if stamp in _verified and not again:
            return True
        if stamp[1] != expected.bytes or crc_of_file(path) != expected:
            return False
    except OSError:
        return False
    _remember(stamp)
    return True


def corrupt(table: Path, name: str) -> CorruptTable:
    """Return the error of a damaged file of a table."""
    remedy = command_in(space_of(table), "verify --repair")
    return CorruptTable(
        f"{table / name} is missing or damaged; see what is lost, and mend it, with: {remedy}"
    )


def space_of(table: Path) -> Path:
    """Return the folder of the space that a table is part of."""
    return next((f for f in table.parents if (f / SPACE_FILE).exists()), table.parent)


def unrecorded_files(table: Path, manifest: TableManifest) -> list[str]:
    """Return the files of a version that no record lists."""
    known = _former_files(table, manifest.version + 1)
    return [name for name in _files_of(table, manifest) if name not in known]


def checksums_of(table: Path, version: int) -> dict[str, dict[str, Crc]]:
    """Return the checksums of the files of a version, as far as they were recorded.

    Returns
    -------
    dict of str to dict
        The files of the rows under ``""``, and those of each index under its name.

    Raises
    ------
    CorruptTable
        If the manifest is damaged.
    VersionGone
        If the version was removed.
    """
    record = read_record(table, version)
    if record is not None:
        manifest, listed = TableManifest.parse(record.manifest), record.files
    else:
        manifest = read_manifest(table, version)
        former = _former_files(table, version)
        listed = {name: former[name] for name in _files_of(table, manifest) if name in former}
    index_of = {folder: name for name, folder in manifest.indexes}
    parts: dict[str, dict[str, Crc]] = {"": {}}
    for name, crc in listed.items():
        parts.setdefault(index_of.get(name.rpartition("/")[0], ""), {})[name] = crc
    return parts


def read_manifest(table: Path, version: int) -> TableManifest:
    """Return what the manifest of a version says.

    Raises
    ------
    CorruptTable
        If it is damaged.
    VersionGone
        If it is not there.
    """
    try:
        return TableManifest.parse((table / manifest_name(version)).read_bytes())
    except FileNotFoundError as error:
        raise VersionGone(f"{table} has no version {version} any more; try again") from error
    except ValueError as error:
        raise corrupt(table, manifest_name(version)) from error


def _former_record(table: Path, version: int) -> VersionRecord | None:
    """Return the newest record before a version that is sound."""
    previous = read_record(table, version - 1)
    if previous is not None:
        return previous
    earlier = (v for v in reversed(recorded_versions(table)) if v < version - 1)
    records = (read_record(table, v) for v in earlier)
    return next((record for record in records if record is not None), None)


def _former_files(table: Path, version: int) -> Mapping[str, Crc]:
    """Return the checksums in the newest record before a version."""
    record = _former_record(table, version)
    return {} if record is None else record.files


def _files_of(table: Path, manifest: TableManifest) -> Iterator[str]:
    """Yield the files of a version: of its rows, then of its indexes."""
    yield from manifest.files
    for _, folder in manifest.indexes:
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((table / folder).iterdir()):
                yield f"{folder}/{path.name}"


def _remember(stamp: Stamp) -> None:
    """Note that a file is sound, unless a change just now would leave its stamp the same."""
    if time.time_ns() - stamp[2] > SETTLED_NS:
        _verified.add(stamp)


def is_whole(table: Path, version: int) -> bool:
    """Return whether a manifest was written whole; also if it is not there any more."""
    try:
        TableManifest.parse((table / manifest_name(version)).read_bytes())
    except FileNotFoundError:
        return True  # it was removed just now, so a newer one is there
    except ValueError:
        return False
    return True


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino

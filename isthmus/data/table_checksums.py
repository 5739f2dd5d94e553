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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.data.lance_manifest import INDICES, TableManifest, manifest_name
from isthmus.durable import make_folder, write_atomically
from isthmus.errors import CorruptTable
from isthmus.files import Crc, crc_of, crc_of_file

CHECKSUMS: Final = "_checksums"
REMEDY: Final = "restore it from a backup"

Stamp = tuple[str, int, int, int]  # path, size, modification time, inode

_verified: set[Stamp] = set()  # files that this process found sound


class VersionGone(Exception):
    """A version of a table was removed while it was being opened."""


@dataclass(frozen=True)
class VersionRecord:
    """The checksums of one version of a table.

    Attributes
    ----------
    version : int
        The version.
    files : dict of str to Crc
        By path relative to the table; the manifest is among them.
    manifest : bytes
        Copy of the manifest.
    """

    version: int
    files: dict[str, Crc]
    manifest: bytes

    def encode(self) -> bytes:
        """Return the content of the file, with a checksum of its own."""
        listed = {name: list(crc) for name, crc in self.files.items()}
        head = json.dumps({"version": self.version, "files": listed}).encode()
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
        values = json.loads(head)
        files = {name: Crc(*crc) for name, crc in values["files"].items()}
        return cls(values["version"], files, manifest)


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
    computed again: a file that was damaged since would otherwise pass for sound.

    Parameters
    ----------
    table : Path
        Folder of the table.
    version : int
        The version; its manifest is on the disk.
    """
    manifest = (table / manifest_name(version)).read_bytes()
    known = _known_checksums(table, version)
    files = {manifest_name(version): crc_of(manifest)}
    for name in _files_of(table, TableManifest.parse(manifest)):
        crc = known.get(name)
        if crc is None:
            crc = crc_of_file(table / name)
            _verified.add(_stamp(table / name))
        files[name] = crc
    make_folder(table / CHECKSUMS)
    record = VersionRecord(version, files, manifest)
    write_atomically(record_file(table, version), record.encode())
    return record


def forget_records(table: Path, versions: Iterable[int]) -> None:
    """Remove the records of versions that have no manifest any more."""
    for version in versions:
        record_file(table, version).unlink(missing_ok=True)


def require_intact(table: Path, version: int, *, indexes: bool = False) -> None:
    """Check the files of a version that this process has not checked yet.

    Parameters
    ----------
    table : Path
        Folder of the table.
    version : int
        The version.
    indexes : bool, default False
        Whether to check the files of its indexes instead of those of its rows.

    Raises
    ------
    CorruptTable
        If one is missing, cut off or changed; the message names it.
    VersionGone
        If the version was removed meanwhile.
    """
    for name, expected in _listed(table, version).items():
        of_index = name.startswith(f"{INDICES}/")
        if of_index == indexes and not is_intact(table / name, expected):
            if not (table / manifest_name(version)).exists():
                raise VersionGone
            raise corrupt(table, name)


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
    _verified.add(stamp)
    return True


def corrupt(table: Path, name: str) -> CorruptTable:
    """Return the error of a damaged file of a table."""
    return CorruptTable(f"{table / name} is missing or damaged; {REMEDY}")


def unrecorded_files(table: Path, manifest: TableManifest) -> list[str]:
    """Return the files of a version that no record lists."""
    known = _known_checksums(table, manifest.version + 1)
    return [name for name in _files_of(table, manifest) if name not in known]


def _listed(table: Path, version: int) -> Mapping[str, Crc]:
    """Return the checksums of the files of a version, as far as they were recorded."""
    record = read_record(table, version)
    if record is not None:
        return record.files
    try:
        manifest = TableManifest.parse((table / manifest_name(version)).read_bytes())
    except FileNotFoundError as error:
        raise VersionGone from error
    except ValueError as error:
        raise corrupt(table, manifest_name(version)) from error
    known = _known_checksums(table, version)
    return {name: known[name] for name in _files_of(table, manifest) if name in known}


def _known_checksums(table: Path, version: int) -> Mapping[str, Crc]:
    """Return the checksums in the newest record before a version."""
    previous = read_record(table, version - 1)
    if previous is not None:
        return previous.files
    earlier = (v for v in reversed(recorded_versions(table)) if v < version - 1)
    records = (read_record(table, v) for v in earlier)
    return next((record.files for record in records if record is not None), {})


def _files_of(table: Path, manifest: TableManifest) -> Iterator[str]:
    """Yield the files of a version: of its rows, then of its indexes."""
    yield from manifest.files
    for _, folder in manifest.indexes:
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((table / folder).iterdir()):
                yield f"{folder}/{path.name}"


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino

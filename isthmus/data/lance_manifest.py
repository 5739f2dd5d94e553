"""The manifest of a version of a Lance table: which files the version consists of.

A manifest is a Protocol Buffers message (``lance.table.Manifest``, protos/table.proto of Lance)
between its index section and a footer. It is read here without Lance, because a damaged table must
be recognised before Lance opens it, and because Lance cannot be called while it commits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

VERSIONS: Final = "_versions"
HINT: Final = "latest_version_hint.json"  # in the folder of versions; replaced as a whole
DATA: Final = "data"
DELETIONS: Final = "_deletions"
INDICES: Final = "_indices"
TRANSACTIONS: Final = "_transactions"

FOOTER: Final = struct.Struct("<QHH4s")  # position of the message, format, "LANC"
LENGTH: Final = struct.Struct("<I")
MAGIC: Final = b"LANC"
NEWEST_FIRST: Final = 2**64 - 1  # the file of version v is named after this number less v
SUFFIX: Final = ".manifest"
DELETION_SUFFIXES: Final = ("arrow", "bin")

FRAGMENT, VERSION, INDEX_SECTION = 2, 3, 6  # fields of Manifest
FRAGMENT_ID, DATA_FILE, DELETION_FILE, PHYSICAL_ROWS = 1, 2, 3, 4  # of DataFragment
FILE_TYPE, READ_VERSION, DELETION_ID, DELETED_ROWS = 1, 2, 3, 4  # of DeletionFile
PATH, INDEX, INDEX_UUID, INDEX_NAME = 1, 1, 1, 3  # of DataFile, IndexSection, IndexMetadata

Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class Fragment:
    """A part of a table.

    Attributes
    ----------
    number : int
        Its number.
    files : tuple of str
        Its data files, and the list of its deleted rows if it has one, relative to the table.
    rows : int
        Rows that are not deleted.
    """

    number: int
    files: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class TableManifest:
    """What a version of a table consists of.

    Attributes
    ----------
    version : int
        The version.
    fragments : tuple of Fragment
        Its rows.
    indexes : tuple of (str, str)
        Name, and folder relative to the table, of each index.
    """

    version: int
    fragments: tuple[Fragment, ...]
    indexes: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, content: bytes) -> TableManifest:
        """Return what the content of a manifest file says.

        Raises
        ------
        ValueError
            If it is no manifest.
        """
        try:
            position, _, _, magic = FOOTER.unpack(content[-FOOTER.size :])
            if magic != MAGIC:
                raise ValueError("no manifest")
            manifest = _fields(_message(content, position))
            indexes: list[tuple[str, str]] = []
            for start in manifest.get(INDEX_SECTION, []):
                section = _fields(_message(content, _int(start)))
                indexes += [_index(_fields(_bytes(part))) for part in section.get(INDEX, [])]
            return cls(
                version=_one(manifest, VERSION),
                fragments=tuple(_fragment(_fields(_bytes(f))) for f in manifest.get(FRAGMENT, [])),
                indexes=tuple(indexes),
            )
        except (struct.error, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"no manifest: {error}") from error

    @property
    def files(self) -> list[str]:
        """The files of the rows, relative to the table."""
        return [name for fragment in self.fragments for name in fragment.files]


def manifest_name(version: int) -> str:
    """Return the file of a version's manifest, relative to the table.

    Examples
    --------
    >>> manifest_name(1)
    '_versions/18446744073709551614.manifest'
    """
    return f"{VERSIONS}/{NEWEST_FIRST - version}{SUFFIX}"


def versions_of(table: Path) -> list[int]:
    """Return the versions that have a manifest, ascending; empty where there is no table."""
    try:
        names = [path.name for path in (table / VERSIONS).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbers = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(NEWEST_FIRST - int(number) for number in numbers if number.isdecimal())


def _fragment(fields: Fields) -> Fragment:
    number = _one(fields, FRAGMENT_ID)
    files = [
        f"{DATA}/{_bytes(_fields(_bytes(file))[PATH][0]).decode()}" for file in fields[DATA_FILE]
    ]
    rows = _one(fields, PHYSICAL_ROWS)
    for part in fields.get(DELETION_FILE, []):
        deletion = _fields(_bytes(part))
        suffix = DELETION_SUFFIXES[_one(deletion, FILE_TYPE)]
        name = f"{number}-{_one(deletion, READ_VERSION)}-{_one(deletion, DELETION_ID)}.{suffix}"
        files.append(f"{DELETIONS}/{name}")
        rows -= _one(deletion, DELETED_ROWS)
    return Fragment(number, tuple(files), rows)


def _index(fields: Fields) -> tuple[str, str]:
    uuid = UUID(bytes=_bytes(_fields(_bytes(fields[INDEX_UUID][0]))[1][0]))
    return _bytes(fields[INDEX_NAME][0]).decode(), f"{INDICES}/{uuid}"


def _message(content: bytes, position: int) -> bytes:
    """Return the message at a position: its length, then its bytes."""
    (length,) = LENGTH.unpack_from(content, position)
    start = position + LENGTH.size
    if start + length > len(content):
        raise ValueError("no manifest: it is cut off")
    return content[start : start + length]


def _fields(message: bytes) -> Fields:
    """Return the values of each field of a message: numbers, or bytes."""
    fields: Fields = {}
    for number, value in _values(message):
        fields.setdefault(number, []).append(value)
    return fields


def _values(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise ValueError(f"no manifest: a field of kind {kind}")
            size, at = _varint(message, at)
        if at + size > len(message):
            raise ValueError("no manifest: a field is cut off")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _one(fields: Fields, number: int) -> int:
    """Return a number field; 0, the default of the format, where it is absent."""
    return _int(fields.get(number, [0])[-1])


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise TypeError("a number was expected")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("bytes were expected")
    return value

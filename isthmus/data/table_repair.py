"""Check every file of a Lance table, and mend what can be mended without inventing anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from isthmus.data.lance_commits import drop_torn_version
from isthmus.data.lance_library import lance_library
from isthmus.data.lance_manifest import Fragment, TableManifest, manifest_name, versions_of
from isthmus.data.lance_tables import commit, open_unchecked, read_unrecorded
from isthmus.data.table_checksums import (
    CHECKSUMS,
    checksums_of,
    is_intact,
    is_whole,
    read_manifest,
    read_record,
    record_file,
    record_version,
    recorded_versions,
    unrecorded_files,
)
from isthmus.durable import write_atomically
from isthmus.errors import CorruptTable
from isthmus.files import crc_of

READ_SECONDS: Final = 60.0  # for what can be read of a damaged file
MAX_NAMED: Final = 1_000
MAX_TRIES: Final = 10
READ_COLUMN: Final = """
import json, sys, lance
table, version, fragment, column = sys.argv[1:]
fragment = lance.dataset(table, version=int(version)).get_fragment(int(fragment))
print(json.dumps(fragment.to_table(columns=[column]).column(0).to_pylist()))
"""

Kind = Literal["manifest", "record", "rows", "index"]


@dataclass(frozen=True)
class TableDamage:
    """A damaged file of a table.

    Attributes
    ----------
    kind : {"manifest", "record", "rows", "index"}
        What the file holds. Manifest, record and index can be mended.
    file : str
        Its path, relative to the table.
    cause : str
        What is wrong with it.
    fragment : Fragment or None
        The rows that are lost with it.
    index : str
        Name of the index.
    """

    kind: Kind
    file: str
    cause: str
    fragment: Fragment | None = None
    index: str = ""


def check_table(table: Path) -> tuple[list[TableDamage], int, int]:
    """Read every file of the newest version of a table.

    Returns
    -------
    damages : list of TableDamage
        What is wrong.
    n_files, n_bytes : int
        What was read.
    """
    for _ in range(MAX_TRIES):
        version = _last_version(table)
        if version is None:
            break
        checked = _check_version(table, version)
        if not checked[0] or _last_version(table) == version:  # not compacted meanwhile
            return checked
    return [], 0, 0


def _check_version(table: Path, version: int) -> tuple[list[TableDamage], int, int]:
    damages: list[TableDamage] = []
    record = read_record(table, version)
    if record is None:
        known = record_file(table, version).exists()
        cause = "is damaged" if known else "is missing: a writer was killed after its commit"
        damages.append(TableDamage("record", f"{CHECKSUMS}/{version}", cause))
    try:
        content = (table / manifest_name(version)).read_bytes()
        if record is not None and crc_of(content) != record.files[manifest_name(version)]:
            damages.append(TableDamage("manifest", manifest_name(version), "is damaged"))
    except OSError:
        damages.append(TableDamage("manifest", manifest_name(version), "is missing"))
    if record is None and any(damage.kind == "manifest" for damage in damages):
        return damages, 0, 0
    try:
        manifest = (
            read_manifest(table, version)
            if record is None
            else TableManifest.parse(record.manifest)
        )
    except CorruptTable:
        return [*damages, TableDamage("manifest", manifest_name(version), "is damaged")], 0, 0
    fragment_of = {name: f for f in manifest.fragments for name in f.files}
    n_files = n_bytes = 0
    for index, files in checksums_of(table, version).items():
        for name, crc in files.items():
            n_files, n_bytes = n_files + 1, n_bytes + crc.bytes
            if name == manifest_name(version) or is_intact(table / name, crc, again=True):
                continue
            cause = "is damaged" if (table / name).exists() else "is missing"
            fragment = fragment_of.get(name)
            kind: Kind = "rows" if fragment is not None else "index"
            damages.append(TableDamage(kind, name, cause, fragment, index))
    if record is None and not any(damage.kind == "rows" for damage in damages):
        damages += _unreadable(table, manifest)
    return damages, n_files, n_bytes


def repair_table(table: Path, damages: Sequence[TableDamage]) -> None:
    """Mend manifests, records and indexes of a table; the caller holds its write lock.

    A damaged index is dropped; whoever needs it builds it anew.
    """
    kinds = {damage.kind for damage in damages}
    drop_torn_version(table)  # a commit would read it
    version = _last_version(table)
    if version is None:
        return
    if "manifest" in kinds:
        record = read_record(table, version)
        if record is None:
            return
        write_atomically(table / manifest_name(version), record.manifest)
    if "record" in kinds and "rows" not in kinds:
        record_file(table, version).unlink(missing_ok=True)
        record_version(table, version)
    for index in {damage.index for damage in damages if damage.kind == "index"}:
        open_unchecked(table, _last_version(table)).drop_index(index)


def drop_damaged_rows(table: Path, damages: Sequence[TableDamage]) -> None:
    """Drop the rows of damaged files, so that the others can be read again."""
    lost = sorted({d.fragment.number for d in damages if d.fragment is not None})
    if lost:
        drop_torn_version(table)  # the commit would read it
        dataset = open_unchecked(table, _last_version(table))
        deletion = lance_library().LanceOperation.Delete([], lost, "damaged")
        commit(dataset, deletion, int(dataset.version))


def readable_values(table: Path, fragment: Fragment, column: str) -> list[str]:
    """Return what can be read of a column of damaged rows; it need not be true.

    Another process reads them, because reading a damaged file may end or hang it.
    """
    command = [sys.executable, "-c", READ_COLUMN]
    command += [str(table), str(_last_version(table)), str(fragment.number), column]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=READ_SECONDS, stdin=subprocess.DEVNULL
        )
        values = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return []
    return [value for value in values if isinstance(value, str) and value.isprintable()]


def values_besides(table: Path, fragments: Collection[int], column: str) -> list[str]:
    """Return a column of all rows but those of some fragments."""
    dataset = open_unchecked(table, _last_version(table))
    others = [f for f in dataset.get_fragments() if f.fragment_id not in fragments]
    tables = [fragment.to_table(columns=[column]) for fragment in others]
    return [value for table in tables for value in table.column(0).to_pylist()]


def _last_version(table: Path) -> int | None:
    """Return the newest version that was committed, whether its manifest is there or not."""
    recorded, versions = recorded_versions(table), versions_of(table)
    if versions and (not recorded or versions[-1] > recorded[-1]):
        torn = recorded and not is_whole(table, versions[-1])
        return recorded[-1] if torn else versions[-1]
    return recorded[-1] if recorded else None


def _unreadable(table: Path, manifest: TableManifest) -> list[TableDamage]:
    """Return the files without a checksum whose rows cannot be read."""
    unrecorded, damages = set(unrecorded_files(table, manifest)), []
    for fragment in manifest.fragments:
        names = [name for name in fragment.files if name in unrecorded]
        if names:
            try:
                read_unrecorded(open_unchecked(table, manifest.version), fragment.number)
            except CorruptTable:
                damages.append(TableDamage("rows", names[0], "cannot be read", fragment))
    return damages

"""Which file of a space's tables is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus.data.lance_tables import open_table
from isthmus.data.table_checksums import VersionGone, corrupt, damaged_files, newest_version
from isthmus.errors import CorruptTable
from isthmus.schema import (
    CATALOG_TABLE,
    EMBEDDING_CACHE_FOLDER,
    INTERACTIONS_TABLE,
)


def tables_of(space: Path) -> Iterator[Path]:
    """Yield the folder of each table of a space that there is."""
    tables = (space / name for name in (CATALOG_TABLE, INTERACTIONS_TABLE))
    yield from (table for table in tables if table.is_dir())
    yield from sorted((space / EMBEDDING_CACHE_FOLDER).glob("*.lance"))


def damage_in_tables(space: Path) -> CorruptTable | None:
    """Read all tables; return the error of the first damaged file, None where all are sound."""
    for table in tables_of(space):
        try:
            version = newest_version(table)
            if version is not None:
                for name in damaged_files(table, version):
                    return corrupt(table, name)
                read_all(table)
        except CorruptTable as error:
            return error
        except VersionGone:  # it is being compacted, so a writer can read it
            continue
    return None


def read_all(table: Path) -> None:
    """Read every value of a table.

    Raises
    ------
    CorruptTable
        If Lance cannot.
    """
    dataset: Any = open_table(table)
    for fragment in [] if dataset is None else dataset.get_fragments():
        try:
            for _ in fragment.to_batches():
                pass
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise corrupt(table, f"data/{fragment.data_files()[0].path}") from error

"""Damaged files of a space, and which file of its tables is damaged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isthmus.data.lance_tables import open_table, tables_of
from isthmus.data.leases import VersionGone
from isthmus.data.table_checksums import corrupt, damaged_files, newest_version
from isthmus.errors import CorruptTable


@dataclass(frozen=True)
class Damage:
    """A damaged file of a space.

    Attributes
    ----------
    file : str
        Its path in the space.
    cause : str
        What is wrong with it.
    lost : str
        What is lost with it, in words.
    remedy : str
        The command that mends it, or helps to add again what is lost.
    names : tuple of str
        Items or users of what is lost, as far as they are known.
    repaired : bool
        Whether it was mended.
    """

    file: str
    cause: str
    lost: str
    remedy: str
    names: tuple[str, ...] = ()
    repaired: bool = False


def damage_in_tables(space: Path) -> CorruptTable | None:
    """Read all tables; return the error of the first damaged file, None where all are sound."""
    for table in tables_of(space):
        try:
            version = newest_version(table)
            if version is not None:
                for name in damaged_files(table, version):
                    return corrupt(table, name)
                open_table(table)
        except CorruptTable as error:
            return error
        except VersionGone:  # it is being compacted, so a writer can read it
            continue
    return None

"""A source: rows that can be read several times, in chunks, before the types of columns are known.

An input is read to find out the types, once to validate it and once to store it. So each source
can be read again. What kind of values a column has is not decided here: that follows from its role
and from what the space knows (`isthmus.data.type_inference`, `isthmus.data.convert`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.convert import Values, plain
from isthmus.data.types import storage_type
from isthmus.errors import InvalidInput, first_line

BATCH_ROWS = 16_384
Row = Mapping[str, Any]
PANDAS_INDEX = ("__index_level_", "__null_dask_index__")


@dataclass(frozen=True)
class Chunk:
    """Some rows of a source, in order.

    Attributes
    ----------
    columns : dict of str to Values
        A column of each name of the source: an Arrow array or a list of objects, shape (rows,).
    rows : int
        Number of rows.
    absent : mapping of str to list
        Of a column, the rows that do not have it at all, as mappings without that key; their
        values are null.
    """

    columns: dict[str, Values]
    rows: int
    absent: Mapping[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.rows

    def take(self, rows: Sequence[int]) -> Chunk:
        """Return some rows."""
        indices = pa.array(rows, pa.int64())
        place = {row: at for at, row in enumerate(rows)} if self.absent else {}
        absent = {n: [place[r] for r in rs if r in place] for n, rs in self.absent.items()}
        return Chunk(
            {
                name: [values[row] for row in rows]
                if isinstance(values, list)
                else plain(values).take(indices)
                for name, values in self.columns.items()
            },
            len(rows),
            absent,
        )


Chunks = Iterator[Chunk]


@dataclass(frozen=True)
class Source:
    """Rows that can be read several times.

    Attributes
    ----------
    name : str
        Its name in messages.
    columns : tuple of str
        The names of its columns, all different.
    chunks : callable
        Returns a new iterator over the rows.
    types : mapping of str to pyarrow.DataType
        The types of columns that the source itself declares, such as a Parquet file.
    spelled : frozenset of str
        Columns whose values are texts that stand for anything, as in a CSV.
    folder : Path or None
        Folder that paths of images and audio are relative to; None means the working folder.
    rows : int or None
        Number of rows, where it is known without reading.
    faults : mapping of int to str
        Rows that could not be read, and why; their values are null.
    place : callable
        Returns where a row stands, for messages: ``row 3``, ``line 7``.
    notes : tuple of str
        What was found out about the source, such as its encoding.
    """

    name: str
    columns: tuple[str, ...]
    chunks: Callable[[], Chunks]
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    spelled: frozenset[str] = frozenset()
    folder: Path | None = None
    rows: int | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    place: Callable[[int], str] = "row {}".format
    notes: tuple[str, ...] = ()

    def read(self) -> Chunks:
        """Iterate over the rows.

        Raises
        ------
        InvalidInput
            If the source cannot be read to its end.
        """
        try:
            yield from self.chunks()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {self.name}: {first_line(error)}") from error


def joint_name(sources: Sequence[Source]) -> str:
    """Return the name of one or more sources in messages."""
    return sources[0].name if len(sources) == 1 else f"{len(sources)} files"


def total_rows(sources: Sequence[Source]) -> int | None:
    """Return the number of rows of all sources; None where one must be read to know it."""
    counts = [source.rows for source in sources]
    return sum(c for c in counts if c is not None) if None not in counts else None


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, times in Counter(names).items() if times > 1]


def check_names(name: str, columns: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of columns.

    Raises
    ------
    InvalidInput
        If two columns have one name, or a name is no text.
    """
    names = tuple(columns)
    for column in names:
        if not isinstance(column, str):
            raise InvalidInput(
                f"{name}: a column is called {column!r} ({type(column).__name__}); give it a name "
                "that is text"
            )
        if not column.isprintable():
            raise InvalidInput(f"{name}: column {column!r} has a name with control characters")
    if twice := repeated(names):
        raise InvalidInput(
            f"{name} has two columns called {twice[0]!r}; rename one of them, or leave it out"
        )
    return names


def arrow_source(
    name: str,
    schema: pa.Schema,
    batches: Callable[[], Iterable[pa.RecordBatch]],
    folder: Path | None = None,
    rows: int | None = None,
) -> Source:
    """Return a source of Arrow batches; the index that pandas adds to a file is left out.

    Raises
    ------
    InvalidInput
        If two columns have one name.
    """
    columns = check_names(name, schema.names)
    index = [column for column in columns if column.startswith(PANDAS_INDEX)]
    columns = tuple(column for column in columns if column not in index)

    def chunks() -> Chunks:
        for batch in batches():
            for start in range(0, len(batch), BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield Chunk({column: part.column(column) for column in columns}, len(part))

    types = {column: schema.field(column).type for column in columns}
    notes = tuple(f"column {column!r}, an index of pandas, is left out" for column in index)
    return Source(name, columns, chunks, types, folder=folder, rows=rows, notes=notes)


def object_source(
    name: str,
    rows: Callable[[], Iterator[Row | Fault]],
    folder: Path | None = None,
    place: Callable[[int], str] = "row {}".format,
) -> Source:
    """Return a source of mappings; a first pass collects the names of their columns.

    Parameters
    ----------
    name : str
        Its name in messages.
    rows : callable
        Returns a new iterator over the rows; a row that could not be read is a `Fault`.
    folder : Path or None
        Folder that paths of images and audio are relative to.
    place : callable
        Returns where a row stands.
    """
    columns: dict[Any, None] = {}
    faults: dict[int, str] = {}
    count = 0
    for number, row in enumerate(rows()):
        count += 1
        if isinstance(row, Fault):
            faults[number] = row.reason
        else:
            columns |= dict.fromkeys(row)
    names = check_names(name, columns)

    def chunks() -> Chunks:
        iterator = rows()
        nothing: Row = {}
        while part := list(islice(iterator, BATCH_ROWS)):
            read = [nothing if isinstance(row, Fault) else row for row in part]
            absent = {
                column: lacking
                for column in names
                if (lacking := [at for at, row in enumerate(read) if column not in row])
            }
            columns = {column: [row.get(column) for row in read] for column in names}
            yield Chunk(columns, len(part), absent)

    return Source(name, names, chunks, folder=folder, rows=count, faults=faults, place=place)


@dataclass(frozen=True)
class Fault:
    """A row that could not be read.

    Attributes
    ----------
    reason : str
        Why.
    """

    reason: str


def with_constants(source: Source, values: Mapping[str, str | None]) -> Source:
    """Return a source with columns of one value each, such as those of the folders of a table.

    A column that the source has already stays.
    """
    added = {name: value for name, value in values.items() if name not in source.columns}
    if not added:
        return source

    def chunks() -> Chunks:
        for chunk in source.chunks():
            constants: dict[str, Values] = {
                name: pa.repeat(pa.scalar(value, pa.string()), len(chunk))
                for name, value in added.items()
            }
            yield Chunk(chunk.columns | constants, len(chunk), chunk.absent)

    return Source(
        source.name,
        (*source.columns, *added),
        chunks,
        source.types,
        source.spelled | frozenset(added),
        source.folder,
        source.rows,
        source.faults,
        source.place,
        source.notes,
    )


def is_storable(type_: pa.DataType) -> bool:
    """Return whether an attribute can have this type."""
    return storage_type(type_) is not None

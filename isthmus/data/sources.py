"""A source: a table that can be read several times, as Arrow batches.

An input is read once to validate it and once to store it, so each source can be read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.media import to_data_uri
from isthmus.errors import InvalidInput, InvalidRows, first_line

BATCH_ROWS = 16_384
Batches = Iterator[pa.RecordBatch]
Row = Mapping[str, Any]

_CONVERSION_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True)
class Source:
    """A table that can be read several times.

    Attributes
    ----------
    name : str
        Its name in error messages.
    schema : pyarrow.Schema
        Its columns.
    read : callable
        Returns a new iterator over record batches.
    folder : Path or None
        Folder that paths of images and audio are relative to; None means the working folder.
    rows : int or None
        Number of rows, where it is known without reading.
    """

    name: str
    schema: pa.Schema
    read: Callable[[], Batches]
    folder: Path | None = None
    rows: int | None = None

    def batches(self) -> Batches:
        """Iterate over the rows.

        Raises
        ------
        InvalidInput
            If the source cannot be read to its end.
        """
        try:
            yield from self.read()
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {self.name}: {first_line(error)}") from error


def joint_name(sources: Sequence[Source]) -> str:
    """Return the name of one or more sources in error messages."""
    return sources[0].name if len(sources) == 1 else f"{len(sources)} files"


def total_rows(sources: Sequence[Source]) -> int | None:
    """Return the number of rows of all sources; None where one must be read to know it."""
    counts = [source.rows for source in sources]
    return sum(c for c in counts if c is not None) if None not in counts else None


def rows_source(name: str, rows: Callable[[], Iterator[Row]], folder: Path | None) -> Source:
    """Return a source of dicts; a first pass infers the columns and their types.

    Parameters
    ----------
    name : str
        Its name in error messages.
    rows : callable
        Returns a new iterator over the rows.
    folder : Path or None
        Folder that paths of images and audio are relative to.

    Raises
    ------
    InvalidRows
        If a row cannot be converted to the type of the rows before it.
    InvalidInput
        If two parts of the input give one column types that cannot be unified.
    """
    schema, n_rows = pa.schema([]), 0
    for chunk in _chunks(rows()):
        schema = _unify(name, schema, _to_table(name, n_rows, chunk, None).schema)
        n_rows += len(chunk)

    def read() -> Batches:
        start = 0
        for chunk in _chunks(rows()):
            yield from _to_table(name, start, chunk, schema).to_batches()
            start += len(chunk)

    return Source(name, schema, read, folder, n_rows)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, BATCH_ROWS)):
        yield chunk


def _unify(name: str, schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    try:
        return pa.unify_schemas([schema, other], promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise InvalidInput(f"{name} mixes types in one column: {first_line(error)}") from error


def _to_table(name: str, start: int, rows: Sequence[Row], schema: pa.Schema | None) -> pa.Table:
    columns = schema.names if schema else list(dict.fromkeys(key for row in rows for key in row))
    types = [schema.field(column).type if schema else None for column in columns]
    return pa.table(
        {
            column: _to_array(name, start, column, rows, type_)
            for column, type_ in zip(columns, types, strict=True)
        }
    )


def _to_array(
    name: str, start: int, column: str, rows: Sequence[Row], type_: pa.DataType | None
) -> pa.Array:
    values = [row.get(column) for row in rows]
    if {bytes, str} <= set(map(type, values)):  # media: paths in some rows, bytes in others
        values = [to_data_uri(value) if isinstance(value, bytes) else value for value in values]
    try:
        return pa.array(values, type_)
    except _CONVERSION_ERRORS as error:
        row, value = _first_misfit(values, type_)
        kind = type(value).__name__
        problem = f"column {column!r} holds {value!r} ({kind}), not the type of the rows before it"
        if isinstance(error, UnicodeEncodeError):
            problem = f"column {column!r} holds {value!r}, which is no valid Unicode"
        raise InvalidRows([(start + row, problem)], name) from error


def _first_misfit(values: Sequence[Any], type_: pa.DataType | None) -> tuple[int, Any]:
    """Return the first value that does not convert together with those before it (bisection)."""
    low, high = 0, len(values)
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle], type_)
            low = middle
        except _CONVERSION_ERRORS:
            high = middle
    return low, values[low]

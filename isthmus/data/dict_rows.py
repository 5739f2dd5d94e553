"""Rows given as dicts, in memory or in a file: what columns they make, of which types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.media import to_data_uri
from isthmus.data.source import READ_ROWS, Batches, Source
from isthmus.errors import InvalidInput, InvalidItems, first_line

_NO_ARRAY = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


def rows_source(
    name: str, rows: Callable[[], Iterator[Mapping[str, Any]]], folder: Path | None
) -> Source:
    """Make a source of dicts: one pass finds the columns and their types, the next reads."""
    schema, count = pa.schema([]), 0
    for chunk in _chunks(rows()):
        found = _rows_to_table(name, count, chunk, None).schema
        schema = _unify(name, schema, found)
        count += len(chunk)

    def read() -> Batches:
        start = 0
        for chunk in _chunks(rows()):
            yield from _rows_to_table(name, start, chunk, schema).to_batches()
            start += len(chunk)

    return Source(name, schema, read, folder, count)


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while chunk := list(islice(rows, READ_ROWS)):
        yield chunk


def _unify(name: str, known: pa.Schema, found: pa.Schema) -> pa.Schema:
    try:
        return pa.unify_schemas([known, found], promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise InvalidInput(f"{name} mixes types in one column: {first_line(error)}") from error


def _rows_to_table(
    name: str, start: int, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None
) -> pa.Table:
    columns = schema.names if schema else list(dict.fromkeys(key for row in rows for key in row))
    return pa.table(
        {
            column: _column(
                name, start, column, rows, schema.field(column).type if schema else None
            )
            for column in columns
        }
    )


def _column(
    name: str, start: int, column: str, rows: Sequence[Mapping[str, Any]], type_: pa.DataType | None
) -> pa.Array:
    values = [row.get(column) for row in rows]
    if {bytes, str} <= set(map(type, values)):
        values = [to_data_uri(value) if isinstance(value, bytes) else value for value in values]
    try:
        return pa.array(values, type_)
    except _NO_ARRAY as error:
        row, value = _odd_one(values, type_)
        kind = type(value).__name__
        problem = f"column {column!r} holds {value!r} ({kind}), not the type of the rows before it"
        if isinstance(error, UnicodeEncodeError):
            problem = f"column {column!r} holds {value!r}, which is no valid Unicode"
        raise InvalidItems([(start + row, problem)], name) from error


def _odd_one(values: Sequence[Any], type_: pa.DataType | None) -> tuple[int, Any]:
    """Find the first value that no longer fits with those before it."""
    low, high = 0, len(values)
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle], type_)
            low = middle
        except _NO_ARRAY:
            high = middle
    return low, values[low]

"""What is wrong with an input of items: columns that cannot be used, and rows, by number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.column_types import (
    as_text,
    can_be_stored,
    cast,
    is_blank,
    is_bytes,
    is_file_struct,
    is_text,
)
from isthmus.data.mapping import ResolvedMapping
from isthmus.data.source import Source
from isthmus.errors import InvalidMapping

_WHAT = {"image": "an image", "audio": "audio"}


def refuse_wrong_types(source: Source, mapping: ResolvedMapping) -> None:
    """Refuse columns that cannot be what the mapping makes of them.

    Raises
    ------
    InvalidMapping
        The message names the column.
    """
    for name in mapping.id.fields:
        type_ = source.schema.field(name).type
        if not (is_text(type_) or pa.types.is_integer(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; an item id is text or an integer"
            )
    for name in mapping.attributes(source.schema.names):
        type_ = source.schema.field(name).type
        if not can_be_stored(type_):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}, which no attribute can be; leave it "
                "out, or make it text or a struct"
            )
    for modality, name in mapping.media.items():
        type_ = source.schema.field(name).type
        if not (is_text(type_) or is_bytes(type_) or is_file_struct(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; {_WHAT[modality]} is a path, bytes "
                "or a data URI"
            )


def find_problems(
    table: pa.Table, ids: pa.Array, mapping: ResolvedMapping, modalities: frozenset[str]
) -> Iterator[tuple[int, str]]:
    """Find rows without an id, a domain or content, and numbers that are none."""
    yield from _flag(pc.is_null(ids), f"no item id in {mapping.id.template!r}")
    if mapping.domain_column:
        domains = as_text(table.column(mapping.domain_column))
        yield from _flag(is_blank(domains), f"no domain in {mapping.domain_column!r}")
    yield from _not_numbers(table)
    what = f"has no {' and no '.join(sorted(modalities, reverse=True))}"
    yield from _flag(_without_content(table, mapping, modalities), what)


def _flag(mask: Any, what: str) -> Iterator[tuple[int, str]]:
    for row in pc.indices_nonzero(mask).to_pylist():
        yield row, what


def _not_numbers(table: pa.Table) -> Iterator[tuple[int, str]]:
    for name in table.schema.names:
        column = table.column(name)
        if pa.types.is_floating(column.type):
            finite = pc.fill_null(pc.is_finite(column.cast(pa.float64())), True)
            yield from _flag(pc.invert(finite), f"column {name!r} is NaN or infinite")


def misfits(table: pa.Table, mapping: ResolvedMapping, types: pa.Schema) -> list[tuple[int, str]]:
    """Find values that cannot be cast to the type their attribute has."""
    problems = []
    for name in mapping.attributes(table.schema.names):
        if name in types.names and not _casts(table.column(name), types.field(name).type):
            type_ = types.field(name).type
            problems += [
                (row, f"column {name!r} holds {value!r}, which is no {type_} as in the space")
                for row, value in enumerate(table.column(name).to_pylist())
                if not _casts(pa.array([value], table.column(name).type), type_)
            ]
    return problems


def _casts(column: Any, type_: pa.DataType) -> bool:
    try:
        cast(column, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _without_content(table: pa.Table, mapping: ResolvedMapping, modalities: frozenset[str]) -> Any:
    empty = pa.array([True] * len(table), pa.bool_())
    if mapping.text and "text" in modalities:
        empty = pc.is_null(mapping.text.render_table(table))
    for modality, name in mapping.media.items():
        if modality in modalities:
            empty = pc.and_(empty, _lacks_file(table.column(name)))
    return empty


def _lacks_file(column: pa.ChunkedArray) -> Any:
    if is_text(column.type):
        return is_blank(as_text(column))
    if is_file_struct(column.type):
        return pc.and_(pc.is_null(pc.struct_field(column, "bytes")), _struct_path_missing(column))
    return pc.fill_null(pc.equal(pc.binary_length(column), 0), True)


def _struct_path_missing(column: pa.ChunkedArray) -> Any:
    if column.type.get_field_index("path") < 0:
        return pc.is_null(pc.struct_field(column, "bytes"))
    return pc.is_null(pc.struct_field(column, "path"))


def find_duplicates(ids: pa.ChunkedArray) -> Iterator[tuple[int, str]]:
    """Find rows whose item id stands in a row before them."""
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1)).field("values")
    repeated = repeated.drop_null()
    if len(repeated) == 0:
        return
    first: dict[str, int] = {}
    for row in pc.indices_nonzero(pc.is_in(ids, repeated)).to_pylist():
        name = ids[row].as_py()
        if name in first:
            yield row, f"item id {name!r} stands in row {first[name]} already"
        first.setdefault(name, row)

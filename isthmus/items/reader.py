"""The item reader: any input, checked first, then given as plain item tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.columns import DOMAIN, ITEM_ID, TEXT, inline_column, media_columns
from isthmus.errors import InvalidInput, InvalidItems, InvalidMapping
from isthmus.items.mapping import FieldMapping, ResolvedMapping
from isthmus.items.media import DATA_URI, STORED
from isthmus.items.sources import Source, count_together, name_together, open_sources
from isthmus.progress import Advance, ignore_progress

_WHAT = {"image": "an image", "audio": "audio"}
Inspect = Callable[[pa.Array, Any], list[tuple[int, str]]]


@dataclass
class ItemReader:
    """Items of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    items : object
        Anything `isthmus.items.sources.open_sources` takes.
    mapping : FieldMapping
        Which columns are what.
    modalities : frozenset of str
        What can be encoded; an item needs one of them.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows, by row number over the whole input, found by `check`.
    """

    items: Any
    mapping: FieldMapping = field(default_factory=FieldMapping)
    modalities: frozenset[str] = frozenset({"text", "image"})
    problems: dict[int, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        verbatim = [self.mapping.id, self.mapping.domain_column or DOMAIN]
        columns = {"image": self.mapping.image, "audio": self.mapping.audio}
        verbatim += [columns[m] or m for m in media_columns(self.modalities)]
        try:
            self._sources = [
                (source, self.mapping.resolve(source.schema.names, source.name, self.modalities))
                for source in open_sources(self.items, verbatim)
            ]
            for source, mapping in self._sources:
                _refuse_wrong_types(source, mapping)
        except pa.ArrowException as error:
            raise InvalidInput(f"cannot read the input: {str(error).splitlines()[0]}") from error

    @property
    def name(self) -> str:
        """What messages call the input."""
        return name_together([source for source, _ in self._sources])

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading."""
        return count_together([source for source, _ in self._sources])

    @property
    def attributes(self) -> pa.Schema:
        """The attribute columns and their plain types, over all files; all-null ones left out.

        Raises
        ------
        InvalidMapping
            If two files give one attribute different types.
        """
        schema = pa.schema([])
        for source, mapping in self._sources:
            fields = [
                pa.field(name, plain_type(source.schema.field(name).type))
                for name in mapping.attributes(source.schema.names)
            ]
            try:
                schema = pa.unify_schemas([schema, pa.schema(fields)], promote_options="permissive")
            except pa.ArrowTypeError as error:
                raise InvalidMapping(f"{source.name}: {error}") from error
        return pa.schema([f for f in schema if not _is_untyped(f.type)])

    def check(
        self,
        types: pa.Schema | None = None,
        inspect: Inspect | None = None,
        advance: Advance = ignore_progress,
    ) -> int:
        """Read the whole input once and find every invalid row.

        Parameters
        ----------
        types : pyarrow.Schema, optional
            Types that some attributes must be cast to.
        inspect : callable, optional
            Given item ids and domains (Arrow arrays), gives further problems by row.
        advance : callable, optional
            Told how many rows were checked since it was last called.

        Returns
        -------
        int
            Number of rows.
        """
        start, ids = 0, []
        for source, mapping in self._sources:
            for batch in source.batches():
                table = pa.Table.from_batches([batch])
                names = _render(table, mapping.id.fields, mapping.id.render_columns)
                ids.append(names)
                found = list(_find_problems(table, names, mapping, self.modalities))
                found += _misfits(table, mapping, types or pa.schema([]))
                if inspect:
                    found += inspect(names, _domains(table, mapping))
                for row, what in found:
                    self.problems.setdefault(start + row, what)
                start += len(table)
                advance(len(table))
        for row, what in _find_duplicates(pa.chunked_array(ids, pa.string())):
            self.problems.setdefault(row, what)
        return start

    def refuse(self) -> None:
        """Raise `InvalidItems` if `check` found any invalid row."""
        if self.problems:
            raise InvalidItems(sorted(self.problems.items()), self.name)

    def batches(self, rows: int, types: pa.Schema) -> Iterator[pa.Table]:
        """Give valid items as tables of about `rows` rows.

        Parameters
        ----------
        rows : int
            Rows a table.
        types : pyarrow.Schema
            The attributes, with the types to cast them to.

        Yields
        ------
        pyarrow.Table
            Columns item_id, domain, text and the attributes; and image and ``_image_bytes``, and
            the same of audio where that is encoded.
        """
        start, waiting, held = 0, [], 0
        for source, mapping in self._sources:
            for batch in source.batches():
                table = pa.Table.from_batches([batch])
                keep = [i for i in range(len(table)) if start + i not in self.problems]
                start += len(table)
                if len(keep) < len(table):
                    table = table.take(pa.array(keep, pa.int64()))
                waiting.append(_to_items(table, mapping, types, source, self.modalities))
                held += len(waiting[-1])
                while held >= rows:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, rows)
                    waiting, held = [whole.slice(rows)], held - rows
        if held:
            yield pa.concat_tables(waiting)


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Give the plain type of an attribute: one spelling for each kind of value.

    Examples
    --------
    >>> plain_type(pa.dictionary(pa.int32(), pa.large_string()))
    DataType(string)
    >>> plain_type(pa.large_list(pa.int64()))
    ListType(list<item: int64>)
    """
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or type_ == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(type_) or type_ == pa.binary_view():
        return pa.binary()
    if pa.types.is_large_list(type_) or pa.types.is_list(type_):
        return pa.list_(plain_type(type_.value_type))
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", type_.tz)
    return pa.date32() if pa.types.is_date(type_) else type_


def _render(table: pa.Table, fields: tuple[str, ...], render: Any) -> pa.Array:
    columns = {name: table.column(name).to_pylist() for name in fields}
    return pa.array(render(columns), pa.string())


def _find_problems(
    table: pa.Table, ids: pa.Array, mapping: ResolvedMapping, modalities: frozenset[str]
) -> Iterator[tuple[int, str]]:
    yield from _flag(pc.is_null(ids), f"no item id in {mapping.id.template!r}")
    if mapping.domain_column:
        domains = _as_text(table.column(mapping.domain_column))
        yield from _flag(_is_blank(domains), f"no domain in {mapping.domain_column!r}")
    yield from _not_numbers(table)
    what = f"has no {' and no '.join(sorted(modalities, reverse=True))}"
    yield from _flag(_without_content(table, mapping, modalities), what)


def _flag(mask: Any, what: str) -> Iterator[tuple[int, str]]:
    for row in pc.indices_nonzero(mask).to_pylist():
        yield row, what


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _is_blank(text: Any) -> Any:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True)


def _refuse_wrong_types(source: Source, mapping: ResolvedMapping) -> None:
    for name in mapping.id.fields:
        type_ = source.schema.field(name).type
        if not (_is_text(type_) or pa.types.is_integer(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; an item id is text or an integer"
            )
    for name in mapping.attributes(source.schema.names):
        type_ = source.schema.field(name).type
        if not _can_be_stored(type_):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}, which no attribute can be; leave it "
                "out, or make it text or a struct"
            )
    for modality, name in mapping.media.items():
        type_ = source.schema.field(name).type
        if not (_is_text(type_) or _is_bytes(type_) or _is_file_struct(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; {_WHAT[modality]} is a path, bytes "
                "or a data URI"
            )


def _is_untyped(type_: pa.DataType) -> bool:
    """Tell whether a column holds no value, or only lists without one."""
    return bool(pa.types.is_null(type_) or type_ == pa.list_(pa.null()))


def _can_be_stored(type_: pa.DataType) -> bool:
    if pa.types.is_map(type_) or pa.types.is_union(type_) or pa.types.is_interval(type_):
        return False
    nested = range(type_.num_fields)
    return all(_can_be_stored(type_.field(i).type) for i in nested)


def _is_text(type_: pa.DataType) -> bool:
    return bool(plain_type(type_) == pa.string() or pa.types.is_null(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(plain_type(type_) == pa.binary() or pa.types.is_fixed_size_binary(type_))


def _is_file_struct(type_: pa.DataType) -> bool:
    """Tell whether a column is the ``{bytes, path}`` of Hugging Face data sets."""
    return bool(pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0)


def _not_numbers(table: pa.Table) -> Iterator[tuple[int, str]]:
    for name in table.schema.names:
        column = table.column(name)
        if pa.types.is_floating(column.type):
            finite = pc.fill_null(pc.is_finite(column.cast(pa.float64())), True)
            yield from _flag(pc.invert(finite), f"column {name!r} is NaN or infinite")


def _misfits(table: pa.Table, mapping: ResolvedMapping, types: pa.Schema) -> list[tuple[int, str]]:
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
        _cast(column, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _cast(column: Any, type_: pa.DataType) -> Any:
    """Cast without loss, but for what a time has below the microsecond."""
    return pc.cast(column, options=pc.CastOptions(type_, allow_time_truncate=True))


def _without_content(table: pa.Table, mapping: ResolvedMapping, modalities: frozenset[str]) -> Any:
    empty = pa.array([True] * len(table), pa.bool_())
    if mapping.text and "text" in modalities:
        empty = pc.is_null(_render(table, mapping.text.fields, mapping.text.render_columns))
    for modality, name in mapping.media.items():
        if modality in modalities:
            empty = pc.and_(empty, _lacks_file(table.column(name)))
    return empty


def _lacks_file(column: pa.ChunkedArray) -> Any:
    if _is_text(column.type):
        return _is_blank(_as_text(column))
    if _is_file_struct(column.type):
        return pc.and_(pc.is_null(pc.struct_field(column, "bytes")), _struct_path_missing(column))
    return pc.fill_null(pc.equal(pc.binary_length(column), 0), True)


def _struct_path_missing(column: pa.ChunkedArray) -> Any:
    if column.type.get_field_index("path") < 0:
        return pc.is_null(pc.struct_field(column, "bytes"))
    return pc.is_null(pc.struct_field(column, "path"))


def _find_duplicates(ids: pa.ChunkedArray) -> Iterator[tuple[int, str]]:
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


def _to_items(
    table: pa.Table,
    mapping: ResolvedMapping,
    attributes: pa.Schema,
    source: Source,
    modalities: frozenset[str],
) -> pa.Table:
    empty = pa.nulls(len(table), pa.string())
    columns = {
        ITEM_ID: _render(table, mapping.id.fields, mapping.id.render_columns),
        DOMAIN: _domains(table, mapping),
        TEXT: (
            _render(table, mapping.text.fields, mapping.text.render_columns)
            if mapping.text
            else empty
        ),
    }
    for modality in media_columns(modalities):
        columns |= _file_columns(table, modality, mapping.media.get(modality), source.folder)
    own = mapping.attributes(table.schema.names)
    for name in attributes.names:
        type_ = attributes.field(name).type
        columns[name] = (
            _cast(table.column(name), type_) if name in own else pa.nulls(len(table), type_)
        )
    return pa.table(columns)


def _domains(table: pa.Table, mapping: ResolvedMapping) -> Any:
    if mapping.domain_column is None:
        return pa.array([mapping.domain] * len(table), pa.string())
    return pc.utf8_trim_whitespace(_as_text(table.column(mapping.domain_column)))


def _file_columns(
    table: pa.Table, modality: str, name: str | None, folder: Path | None
) -> dict[str, Any]:
    paths: list[str | None] = [None] * len(table)
    inline: list[bytes | None] = [None] * len(table)
    values = table.column(name).to_pylist() if name else []
    for i, value in enumerate(values):
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            inline[i] = value or None
        elif value and value.strip():
            paths[i] = _reference(value.strip(), folder)
    references, contents = pa.array(paths, pa.string()), pa.array(inline, pa.binary())
    return {modality: references, inline_column(modality): contents}


def _reference(value: str, folder: Path | None) -> str:
    if value.startswith((DATA_URI, STORED, "http://", "https://")):
        return value
    return str((folder or Path()).absolute() / value.removeprefix("file://"))

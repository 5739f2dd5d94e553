"""The item reader: any input, validated, as plain item tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import (
    Problems,
    as_text,
    can_cast,
    cast,
    is_blank,
    is_bytes,
    is_file_struct,
    is_storable,
    is_text,
    is_untyped,
    plain_type,
)
from isthmus.data.item_mapping import FieldMapping, ResolvedMapping
from isthmus.data.media import is_reference
from isthmus.data.sources import Source
from isthmus.data.table_reader import TableReader
from isthmus.errors import InvalidItems, InvalidMapping, InvalidRows
from isthmus.numerics.arrays import Mask
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import DOMAIN, ITEM_ID, TEXT, inline_column, media_columns

# Given item ids and domains (Arrow arrays), returns further problems by row.
CheckIds = Callable[[pa.Array, Any], Problems]
# Given item ids (an Arrow array), returns a mask of those that the space has.
IsKnown = Callable[[pa.Array], Mask]

_MEDIA_KINDS = {"image": "an image", "audio": "audio"}


class ItemReader(TableReader[ResolvedMapping]):
    """Items of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    items : object
        Anything that `isthmus.data.table_reader.open_sources` takes.
    mapping : FieldMapping, optional
        Which columns are what.
    modalities : frozenset of str, default {"text", "image"}
        Modalities that can be encoded; an item needs one of them.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows found by `check`, by row number over the whole input.
    """

    error: ClassVar[type[InvalidRows]] = InvalidItems

    def __init__(
        self,
        items: Any,
        mapping: FieldMapping | None = None,
        modalities: frozenset[str] = frozenset({"text", "image"}),
    ) -> None:
        mapping = mapping or FieldMapping()
        self.modalities = modalities

        def resolve(source: Source) -> ResolvedMapping:
            resolved = mapping.resolve(source.schema.names, source.name, modalities)
            check_column_types(source, resolved)
            return resolved

        super().__init__(items, mapping.text_columns(modalities), resolve)

    @property
    def attributes(self) -> pa.Schema:
        """The attribute columns and their plain types, over all files; all-null ones left out.

        Raises
        ------
        InvalidMapping
            If two files give one attribute types that cannot be unified.
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
        return pa.schema([f for f in schema if not is_untyped(f.type)])

    def check(
        self,
        types: pa.Schema | None = None,
        check_ids: CheckIds | None = None,
        is_known: IsKnown | None = None,
        advance: Advance = ignore_progress,
    ) -> int:
        """Read the whole input once and note every invalid row in `problems`.

        Parameters
        ----------
        types : pyarrow.Schema, optional
            Types that some attributes must be cast to: those they have in the space.
        check_ids : callable, optional
            Given item ids and domains (Arrow arrays), returns further problems by row.
        is_known : callable, optional
            Given item ids, returns a mask of items that keep the contents of which the input has
            no column.
        advance : callable, optional
            Called with the number of rows checked since its last call.

        Returns
        -------
        int
            Number of rows.
        """
        stored_types = types or pa.schema([])
        ids: list[pa.Array] = []

        def problems_of(batch: pa.RecordBatch, mapping: ResolvedMapping) -> Problems:
            table = pa.Table.from_batches([batch])
            ids.append(mapping.id.render_table(table))
            problems = list(_find_problems(table, ids[-1], mapping))
            lacking = _lacks_content(table, mapping, self.modalities)
            if is_known and not self.modalities <= mapping.contents:
                lacking = pc.and_not(lacking, pa.array(is_known(ids[-1])))
            problems += _flag(lacking, f"has no {' and no '.join(self._contents)}")
            problems += _find_misfits(table, mapping, stored_types)
            return problems + (check_ids(ids[-1], mapping.domains(table)) if check_ids else [])

        rows = self._scan(problems_of, advance)
        for row, problem in _find_duplicates(pa.chunked_array(ids, pa.string())):
            self.problems.setdefault(row, problem)
        return rows

    @property
    def _contents(self) -> list[str]:
        return sorted(self.modalities, reverse=True)

    def batches(self, rows: int, types: pa.Schema) -> Iterator[pa.Table]:
        """Yield the valid items as tables of `rows` rows.

        Parameters
        ----------
        rows : int
            Rows per table.
        types : pyarrow.Schema
            The attributes, with the types to cast them to.

        Yields
        ------
        pyarrow.Table
            Columns item_id and domain; and, as far as the input has them, text, the attributes,
            image and ``_image_bytes``, and the same of audio where that is encoded.
        """

        def convert(batch: pa.RecordBatch, mapping: ResolvedMapping, source: Source) -> pa.Table:
            table = pa.Table.from_batches([batch])
            return _to_items(table, mapping, types, source, self.modalities)

        return self._convert(convert, rows)

    def media_references(self) -> Iterator[str]:
        """Yield the paths, addresses and data URIs of all rows."""
        for source, mapping in self._sources:
            names = [name for m, name in mapping.media.items() if m in self.modalities]
            for batch in source.batches() if names else ():
                for name in names:
                    yield from filter(None, map(_reference_of, batch.column(name).to_pylist()))


def _reference_of(value: Any) -> str | None:
    """Return the reference to a file that is not given as bytes."""
    if isinstance(value, dict):
        value = None if value.get("bytes") else value.get("path")
    return value.strip() if isinstance(value, str) else None


def check_column_types(source: Source, mapping: ResolvedMapping) -> None:
    """Raise if a column has a type that its role does not allow.

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
        if not is_storable(type_):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}, which no attribute can be; leave it "
                "out, or make it text or a struct"
            )
    for modality, name in mapping.media.items():
        type_ = source.schema.field(name).type
        if not (is_text(type_) or is_bytes(type_) or is_file_struct(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; {_MEDIA_KINDS[modality]} is a path, "
                "bytes or a data URI"
            )


def _find_problems(
    table: pa.Table, ids: pa.Array, mapping: ResolvedMapping
) -> Iterator[tuple[int, str]]:
    """Yield rows without an id or a domain, and numbers that are not finite."""
    yield from _flag(pc.is_null(ids), f"no item id in {mapping.id.template!r}")
    if mapping.domain_column:
        domains = as_text(table.column(mapping.domain_column))
        yield from _flag(is_blank(domains), f"no domain in {mapping.domain_column!r}")
    for name in table.schema.names:
        column = table.column(name)
        if pa.types.is_floating(column.type):
            finite = pc.fill_null(pc.is_finite(column.cast(pa.float64())), True)
            yield from _flag(pc.invert(finite), f"column {name!r} is NaN or infinite")


def _flag(mask: Any, problem: str) -> Iterator[tuple[int, str]]:
    for row in pc.indices_nonzero(mask).to_pylist():
        yield row, problem


def _lacks_content(table: pa.Table, mapping: ResolvedMapping, modalities: frozenset[str]) -> Any:
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
        no_bytes = pc.is_null(pc.struct_field(column, "bytes"))
        if column.type.get_field_index("path") < 0:
            return no_bytes
        return pc.and_(no_bytes, pc.is_null(pc.struct_field(column, "path")))
    return pc.fill_null(pc.equal(pc.binary_length(column), 0), True)


def _find_misfits(table: pa.Table, mapping: ResolvedMapping, types: pa.Schema) -> Problems:
    """Return values that cannot be cast to the type that their attribute has in the space."""
    problems = []
    for name in mapping.attributes(table.schema.names):
        if name in types.names and not can_cast(table.column(name), types.field(name).type):
            type_ = types.field(name).type
            problems += [
                (row, f"column {name!r} holds {value!r}, which is no {type_} as in the space")
                for row, value in enumerate(table.column(name).to_pylist())
                if not can_cast(pa.array([value], table.column(name).type), type_)
            ]
    return problems


def _find_duplicates(ids: pa.ChunkedArray) -> Iterator[tuple[int, str]]:
    """Yield rows whose item id an earlier row has."""
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1)).field("values")
    repeated = repeated.drop_null()
    if len(repeated) == 0:
        return
    first_row: dict[str, int] = {}
    for row in pc.indices_nonzero(pc.is_in(ids, repeated)).to_pylist():
        item_id = ids[row].as_py()
        if item_id in first_row:
            yield row, f"item id {item_id!r} stands in row {first_row[item_id]} already"
        first_row.setdefault(item_id, row)


def _to_items(
    table: pa.Table,
    mapping: ResolvedMapping,
    attributes: pa.Schema,
    source: Source,
    modalities: frozenset[str],
) -> pa.Table:
    columns = {ITEM_ID: mapping.id.render_table(table), DOMAIN: mapping.domains(table)}
    if mapping.text:
        columns[TEXT] = mapping.text.render_table(table)
    for modality in media_columns(modalities):
        if modality in mapping.media:
            columns |= _file_columns(table, modality, mapping.media[modality], source.folder)
    for name in mapping.attributes(table.schema.names):
        if name in attributes.names:
            columns[name] = cast(table.column(name), attributes.field(name).type)
    return pa.table(columns)


def _file_columns(table: pa.Table, modality: str, name: str, folder: Path | None) -> dict[str, Any]:
    """Return a column of references and one of bytes, each null where the other has the file."""
    paths: list[str | None] = [None] * len(table)
    inline: list[bytes | None] = [None] * len(table)
    for i, value in enumerate(table.column(name).to_pylist()):
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            inline[i] = value or None
        elif value and value.strip():
            paths[i] = _resolve_path(value.strip(), folder)
    references, contents = pa.array(paths, pa.string()), pa.array(inline, pa.binary())
    return {modality: references, inline_column(modality): contents}


def _resolve_path(value: str, folder: Path | None) -> str:
    if is_reference(value):
        return value
    return str((folder or Path()).absolute() / value.removeprefix("file://"))

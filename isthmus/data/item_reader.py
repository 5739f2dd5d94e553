"""The item reader: any input, checked first, then given as plain item tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.column_types import cast, is_untyped, plain_type
from isthmus.data.mapping import FieldMapping, ResolvedMapping
from isthmus.data.media import DATA_URI, STORED
from isthmus.data.source import Source, count_together, name_together
from isthmus.data.sources import open_sources
from isthmus.data.validation import (
    find_duplicates,
    find_problems,
    misfits,
    refuse_wrong_types,
)
from isthmus.errors import InvalidInput, InvalidItems, InvalidMapping, first_line
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import DOMAIN, ITEM_ID, TEXT, inline_column, media_columns

Inspect = Callable[[pa.Array, Any], list[tuple[int, str]]]


@dataclass
class ItemReader:
    """Items of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    items : object
        Anything `isthmus.data.sources.open_sources` takes.
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
                refuse_wrong_types(source, mapping)
        except pa.ArrowException as error:
            raise InvalidInput(f"cannot read the input: {first_line(error)}") from error

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
        return pa.schema([f for f in schema if not is_untyped(f.type)])

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
                names = mapping.id.render_table(table)
                ids.append(names)
                found = list(find_problems(table, names, mapping, self.modalities))
                found += misfits(table, mapping, types or pa.schema([]))
                if inspect:
                    found += inspect(names, mapping.domains(table))
                for row, what in found:
                    self.problems.setdefault(start + row, what)
                start += len(table)
                advance(len(table))
        for row, what in find_duplicates(pa.chunked_array(ids, pa.string())):
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


def _to_items(
    table: pa.Table,
    mapping: ResolvedMapping,
    attributes: pa.Schema,
    source: Source,
    modalities: frozenset[str],
) -> pa.Table:
    empty = pa.nulls(len(table), pa.string())
    columns = {
        ITEM_ID: mapping.id.render_table(table),
        DOMAIN: mapping.domains(table),
        TEXT: (mapping.text.render_table(table) if mapping.text else empty),
    }
    for modality in media_columns(modalities):
        columns |= _file_columns(table, modality, mapping.media.get(modality), source.folder)
    own = mapping.attributes(table.schema.names)
    for name in attributes.names:
        type_ = attributes.field(name).type
        columns[name] = (
            cast(table.column(name), type_) if name in own else pa.nulls(len(table), type_)
        )
    return pa.table(columns)


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

"""The item reader: any input, validated, as plain item tables.

Three passes: the types of the attributes, from all values of each domain; the problems of every
row; and the valid rows. Where rows are invalid, the types are found again without them, so that
what is not stored has no say. An attribute has the type that it has in the domain of the item
already, or a wider one; a new attribute that of its values. An attribute without any value has no
type yet, and is not stored.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import Problems
from isthmus.data.convert import (
    Misfit,
    Misfits,
    Values,
    convert,
    plain,
    type_of,
)
from isthmus.data.domain_mapping import DomainMapping, option_of
from isthmus.data.given_vectors import described, first_vectors, read_vectors, require_vectors
from isthmus.data.item_files import file_columns, not_unicode, read_files
from isthmus.data.item_mapping import FieldMapping, ResolvedMapping
from isthmus.data.request import TableOptions
from isthmus.data.sources import Chunk, Source, is_storable
from isthmus.data.table_reader import TableReader
from isthmus.data.type_inference import TypeInference
from isthmus.data.type_remedies import CastRemedy, OtherRows
from isthmus.data.types import is_bytes, is_file_struct, is_text, type_name
from isthmus.errors import InvalidItems, InvalidMapping, InvalidRows, listed
from isthmus.numerics.arrays import Mask
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import (
    DOMAIN,
    ITEM_ID,
    KEPT,
    MEDIA,
    TEXT,
    WHOLE_TEXT,
    media_columns,
    vector_column,
)

# Given item ids and domains (Arrow arrays), returns further problems by row.
CheckIds = Callable[[pa.Array, Any], Problems]
# Given item ids (an Arrow array), returns a mask of those that the space has.
DomainOf = Callable[[pa.Array], pa.Array]  # given item ids, returns domains
IsKnown = Callable[[pa.Array], Mask]

Types = Mapping[str, pa.DataType]  # of attributes, by name
RowMisfits = dict[int, dict[str, str]]  # by row and attribute, what is wrong with a value
Placement = Mapping[str, Mapping[str, pa.Field]]  # by domain and attribute: the column it goes to

MAX_SWAPS = 4  # rounds in which a row that misfits may fit again

_MEDIA_KINDS = {"image": "an image", "audio": "audio"}
_ANY_TEXT = pa.string()


class ItemReader(TableReader[ResolvedMapping]):
    """Items of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    items : object
        Anything that `isthmus.data.inputs.open_sources` takes.
    mapping : FieldMapping, optional
        Which columns are what.
    modalities : frozenset of str, default {"text", "image"}
        Modalities that can be encoded; an item needs one of them.
    options : TableOptions, optional
        How a CSV is written, and what numbers count in attributes that are dates or times.
    space : Path, optional
        The space that the items are for, for the commands in messages.
    vector_dims : mapping of str to int, optional
        By name, the length of vectors that come with the items.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows found by `check`, by row number over the whole input.
    types : dict of str to dict
        By domain and name, the type of each attribute that has a value; found by `check`.
    used : dict of str to DomainMapping
        What makes the items of each domain; found by `check`.
    ids : pyarrow.ChunkedArray
        The id of every row, null where it has none; found by `check`.
    unknown : dict of int to str
        The rows of an update, by row number, whose items are not known; found by `check`.
    """

    error: ClassVar[type[InvalidRows]] = InvalidItems

    def __init__(
        self,
        items: Any,
        mapping: FieldMapping | None = None,
        modalities: frozenset[str] = frozenset({"text", "image"}),
        options: TableOptions | None = None,
        space: Path | None = None,
        vector_dims: Mapping[str, int] | None = None,
    ) -> None:
        mapping, options = mapping or FieldMapping(), options or TableOptions()
        self._vector_dims = dict(vector_dims or {})
        self._space = space
        self.modalities = modalities
        self.used: dict[str, DomainMapping] = {}
        self.ids = pa.chunked_array([], pa.string())
        self.unknown: dict[int, str] = {}
        self._domain_of: DomainOf | None = None
        self._update = mapping.update
        self.types: dict[str, dict[str, pa.DataType]] = {}
        self._mixed: set[tuple[str, str]] = set()
        self._known: Mapping[str, Types] = {}
        self._time_unit = options.time_unit
        self._decimal = options.decimal

        def resolve(source: Source) -> ResolvedMapping:
            names = self._vector_dims
            resolved = mapping.resolve(source.columns, source.name, modalities, names)
            check_column_types(source, resolved)
            return resolved

        super().__init__(items, resolve, options, mapping.id_columns)
        self._source_notes = tuple(self.notes)
        self._require_columns((*(mapping.columns or ()), *mapping.exclude))

    def _require_columns(self, named: Sequence[str]) -> None:
        """Refuse names of columns to keep or to leave out that no source has."""
        present = list(dict.fromkeys(name for s, _ in self._sources for name in s.columns))
        for name in named:
            if name not in present:
                raise InvalidMapping(
                    f"{self.name} has no column {name!r}; its columns are: {listed(present, name)}"
                )

    def check(
        self,
        declared: Mapping[str, Types] | None = None,
        check_ids: CheckIds | None = None,
        is_known: IsKnown | None = None,
        domain_of: DomainOf | None = None,
        advance: Advance = ignore_progress,
    ) -> int:
        """Read the whole input: find the types of the attributes, and note every invalid row.

        Parameters
        ----------
        declared : mapping of str to mapping, optional
            By domain and name, the types that attributes have in the space.
        check_ids : callable, optional
            Given item ids and domains (Arrow arrays), returns further problems by row.
        is_known : callable, optional
            Given item ids, returns a mask of items that keep the contents of which the input has
            no column.
        domain_of : callable, optional
            Given item ids, returns the domain of each item, null for unknown items; for updates.
        advance : callable, optional
            Called with the number of rows checked since its last call.

        Returns
        -------
        int
            Number of rows.
        """
        self.problems = {}
        self._domain_of = domain_of
        self._known = declared or {}
        self._find_types()
        self.used, self.unknown = {}, {}
        ids: list[pa.Array] = []
        misfits: RowMisfits = {}

        def problems_of(chunk: Chunk, mapping: ResolvedMapping) -> Problems:
            chunk_ids, problems = mapping.id.ids(chunk.columns)
            domains, without = self._domains(chunk, mapping)
            problems += without
            self._note_mapping(mapping, domains)
            known = is_known(chunk_ids) if is_known else np.zeros(len(chunk), bool)
            start = sum(map(len, ids))
            if self._update:
                self._note_unknown(start, chunk_ids, known)
            ids.append(chunk_ids)
            problems += self._content_problems(chunk, mapping, domains, known)
            self._add_misfits(misfits, start, chunk, mapping, domains)
            return problems + (check_ids(chunk_ids, domains) if check_ids else [])

        rows = self._scan(problems_of, advance)
        self.ids = pa.chunked_array(ids, pa.string())
        self._find_duplicates(self.ids)
        for row, by_name in self._final_misfits(misfits).items():
            name, why = next(iter(by_name.items()))
            self.problems.setdefault(row, f"column {name!r} {why}")
        return rows

    def _final_misfits(self, misfits: RowMisfits) -> RowMisfits:
        """Find the types again without the rows that are invalid, until types and rows agree.

        A row that misfits at first may fit other types; then its values count for those. Types and
        rows may swap for ever, so after some rounds what was a misfit stays one.
        """
        for number in count():
            before = self.types
            if number or self.problems or misfits:
                self._find_types(misfits)
            if self.types == before:
                break
            found = self._find_misfits()
            misfits = found if number < MAX_SWAPS else _joined(misfits, found)
        return misfits

    def _find_misfits(self) -> RowMisfits:
        found: RowMisfits = {}
        start = 0
        for source, mapping in self._sources:
            for chunk in source.read():
                domains, _ = self._domains(chunk, mapping)
                self._add_misfits(found, start, chunk, mapping, domains)
                start += len(chunk)
        return found

    def _add_misfits(
        self,
        misfits: RowMisfits,
        start: int,
        chunk: Chunk,
        mapping: ResolvedMapping,
        domains: pa.Array,
    ) -> None:
        for row, name, why in self._attribute_misfits(chunk, mapping, domains):
            misfits.setdefault(start + row, {}).setdefault(name, why)

    def _domains(self, chunk: Chunk, mapping: ResolvedMapping) -> tuple[pa.Array, Misfits]:
        """Return the domain of each row: that of the known item where the input has none."""
        if mapping.domain is not None or mapping.domain_column is not None or not self._domain_of:
            return mapping.domains(chunk)
        ids, _ = mapping.id.ids(chunk.columns)
        return self._domain_of(ids), []

    def _note_unknown(self, start: int, ids: pa.Array, known: Mask) -> None:
        for row in np.flatnonzero(~known).tolist():
            if ids[row].is_valid:
                self.unknown[start + row] = ids[row].as_py()

    def _note_mapping(self, mapping: ResolvedMapping, domains: pa.Array) -> None:
        """Note what makes the items of each domain.

        Raises
        ------
        InvalidMapping
            If two files make the items of one domain differently.
        """
        for domain in pc.unique(domains).drop_null().to_pylist():
            used = mapping.used(domain)
            before = self.used.setdefault(domain, used)
            for role in before.contradicted_by(used):
                raise InvalidMapping(
                    f"{self.name}: the {role} of {domain} is made of {before.roles[role]!r} in one "
                    f"file and of {used.roles[role]!r} in another; give {option_of(role)}"
                )
            self.used[domain] = before.joined(used)

    def batches(self, rows: int, placement: Placement) -> Iterator[pa.Table]:
        """Yield the valid items as tables of at most `rows` rows.

        Parameters
        ----------
        rows : int
            Rows per table.
        placement : mapping of str to mapping
            By domain and attribute, the column of the table that holds it, and its type there.
            Attributes that it lacks are left out.

        Yields
        ------
        pyarrow.Table
            Columns item_id and domain; and, as far as the input has them, text and
            ``_whole_text`` (whether the row has all columns that the text is made of), the
            attributes, image and ``_image_bytes``, the same of audio where that is encoded, and
            the columns of given vectors, ``_kept`` (the columns of the table that the row, unlike
            others, does not have).
        """

        def convert_chunk(chunk: Chunk, mapping: ResolvedMapping, source: Source) -> pa.Table:
            return self._to_items(chunk, mapping, placement, source)

        return self._convert(convert_chunk, rows, np.array(sorted(self.unknown), np.int64))

    @property
    def has_contents(self) -> bool:
        """Whether the input may change a content, which would have to be encoded."""
        return any(m.gives_text or m.media or m.vectors for _, m in self._sources)

    def media_references(self) -> Iterator[str]:
        """Yield the paths, addresses and data URIs of all rows."""
        for source, mapping in self._sources:
            names = [name for m, name in mapping.media.items() if m in self.modalities]
            for chunk in source.read() if names else ():
                for name in names:
                    files, _ = read_files(chunk.columns[name], name)
                    yield from (file for file in files if isinstance(file, str))

    def _find_types(self, misfits: RowMisfits | None = None) -> None:
        """Find the types of the attributes, from the rows without a problem.

        A row does not count where its id, contents or another attribute are invalid.
        """
        inferred: dict[tuple[str, str], TypeInference] = {}
        invalid = np.array(sorted({*self.problems, *(misfits or {})}), np.int64)
        start = 0
        for source, mapping in self._sources:
            names = mapping.attributes(source.columns)
            texts = mapping.text_columns
            for chunk in source.read():
                domains, _ = self._domains(chunk, mapping)
                first, end = np.searchsorted(invalid, [start, start + len(chunk)])
                bad = (invalid[first:end] - start).tolist()
                for domain, rows, part in _grouped(chunk, domains, names):
                    places = range(len(chunk)) if rows is None else rows
                    for name in names:
                        counts = inferred.setdefault(
                            (domain, name),
                            TypeInference(text=name in texts, decimal=self._decimal),
                        )
                        values = part[name]
                        out = {row for row in bad if self._is_left_out(start + row, name, misfits)}
                        if out:
                            kept = [at for at, row in enumerate(places) if row not in out]
                            values = _taken(values, kept)
                        counts.add(values, spelled=name in source.spelled)
                start += len(chunk)
        self.types, self.notes = {}, list(self._source_notes)
        self._mixed = {key for key, counts in inferred.items() if counts.is_mixed}
        for (domain, name), counts in inferred.items():
            known = self._known.get(domain, {}).get(name)
            type_ = counts.type(known)
            if type_ is not None:
                self.types.setdefault(domain, {})[name] = type_
                self._note_type(domain, name, known, type_)
            note = counts.note(known)
            if note is not None:
                self.notes.append(f"column {name!r} of {domain} {note}")

    def _is_left_out(self, row: int, name: str, misfits: RowMisfits | None) -> bool:
        others = (misfits or {}).get(row, {}).keys() - {name}
        return row in self.problems or bool(others)

    def _note_type(
        self, domain: str, name: str, known: pa.DataType | None, type_: pa.DataType
    ) -> None:
        if known is not None and known != type_:
            self.notes.append(
                f"attribute {name!r} of {domain} was {type_name(known)} and becomes "
                f"{type_name(type_)}, which holds both"
            )

    def _attribute_misfits(
        self, chunk: Chunk, mapping: ResolvedMapping, domains: Any
    ) -> Iterator[tuple[int, str, str]]:
        """Yield values that the type of their attribute does not hold: row, name, and why."""
        names = mapping.attributes(tuple(chunk.columns))
        for domain, rows, part in _grouped(chunk, domains, names):
            types = self.types.get(domain, {})
            known = self._known.get(domain, {})
            for name in names:
                values = part[name]
                if name in types:
                    spells = name in known and (domain, name) not in self._mixed
                    _, misfits = convert(
                        values,
                        types[name],
                        time_unit=self._time_unit,
                        spell=spells or name in mapping.text_columns,
                        decimal=self._decimal,
                    )
                    remedy = (
                        CastRemedy(self._space, domain, name, types[name], values)
                        if name in known
                        else OtherRows()
                    )
                    found = [(row, why + remedy.of(row, why)) for row, why in misfits]
                else:
                    found = _unstorable(values)
                for row, why in found:
                    yield row if rows is None else rows[row], name, why

    def _content_problems(
        self, chunk: Chunk, mapping: ResolvedMapping, domains: pa.Array, known: Mask
    ) -> Problems:
        """Return rows without content, and contents that cannot be one.

        Known items keep the contents that the input has no columns for.
        """
        problems: Problems = []
        empty = [True] * len(chunk)
        keeps = known & (not {*MEDIA}.intersection(self.modalities) <= set(mapping.media))
        for name in mapping.media.values():
            absent = chunk.absent.get(name, [])
            keeps[absent] |= known[absent]
        if mapping.gives_text:
            for name in sorted(mapping.text_columns & set(chunk.columns) - set(mapping.id.fields)):
                problems += not_unicode(name, chunk.columns[name])
        if "text" in self.modalities:
            texts, whole = mapping.render_texts(chunk, domains)
            empty = [text is None for text in texts]
            keeps |= known & ~np.array(whole, bool)
        for modality, name in mapping.media.items():
            files, found = read_files(chunk.columns[name], _MEDIA_KINDS[modality])
            problems += [(row, f"column {name!r} {why}") for row, why in found]
            if modality in self.modalities:
                empty = [e and file is None for e, file in zip(empty, files, strict=True)]
        for vector_name, dim in self._vector_dims.items():
            if vector_name not in mapping.vectors:
                keeps |= known
                continue
            name = mapping.vectors[vector_name]
            keeps[chunk.absent.get(name, [])] |= known[chunk.absent.get(name, [])]
            read = read_vectors(chunk.columns[name], dim)
            problems += [
                (row, f"{described(name)} {why}, as vector {vector_name!r} has")
                if why.endswith(f"not {dim}")
                else (row, f"{described(name)} {why}")
                for row, why in read.misfits
            ]
            refused = {row for row, _ in read.misfits}
            empty = [
                e and not there and row not in refused
                for row, (e, there) in enumerate(zip(empty, read.present.tolist(), strict=True))
            ]
        empty = (np.array(empty, bool) & ~keeps).tolist()
        if self._update:
            empty = (np.array(empty, bool) & known).tolist()
        lacking = self._lacking()
        return problems + [(row, lacking) for row, is_empty in enumerate(empty) if is_empty]

    def _lacking(self) -> str:
        """Return what is wrong with an item that nothing can be found by."""
        contents = [*(["vector"] if self._vector_dims else []), *self.modalities]
        if contents:
            return f"has no {' and no '.join(sorted(contents, reverse=True))}"
        return f"has no vector, and the space encodes nothing; {first_vectors(self._space)}"

    def _find_duplicates(self, ids: pa.ChunkedArray) -> None:
        """Note rows whose item id an earlier row has."""
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1)).field("values")
        repeated = repeated.drop_null()
        if len(repeated) == 0:
            return
        first_row: dict[str, int] = {}
        for row in pc.indices_nonzero(pc.is_in(ids, repeated)).to_pylist():
            item_id = ids[row].as_py()
            if item_id in first_row:
                place = self.place(first_row[item_id])
                self.problems.setdefault(row, f"item id {item_id!r} stands in {place} already")
            first_row.setdefault(item_id, row)

    def _to_items(
        self, chunk: Chunk, mapping: ResolvedMapping, placement: Placement, source: Source
    ) -> pa.Table:
        ids, _ = mapping.id.ids(chunk.columns)
        domains, _ = self._domains(chunk, mapping)
        columns = {ITEM_ID: ids, DOMAIN: domains}
        if mapping.gives_text:
            texts, whole = mapping.render_texts(chunk, domains)
            columns[TEXT] = pa.array(texts, pa.string())
            columns[WHOLE_TEXT] = pa.array(whole, pa.bool_())
        for modality in media_columns(self.modalities):
            if modality in mapping.media:
                values = chunk.columns[mapping.media[modality]]
                columns |= file_columns(values, modality, source.folder)
        for vector_name, name in mapping.vectors.items():
            read = read_vectors(chunk.columns[name], self._vector_dims[vector_name])
            columns[vector_column(vector_name)] = read.as_column()
        columns |= self._place_attributes(chunk, mapping, domains, placement)
        if chunk.absent:
            columns[KEPT] = _kept_columns(chunk, mapping, domains.to_pylist(), placement)
        return pa.table(columns)

    def _place_attributes(
        self, chunk: Chunk, mapping: ResolvedMapping, domains: Any, placement: Placement
    ) -> dict[str, pa.Array]:
        """Return the columns of the attributes; each domain may have its own for a name."""
        names = mapping.attributes(tuple(chunk.columns))
        fields = {
            field.name: field
            for placed in placement.values()
            for name, field in placed.items()
            if name in names
        }
        tables: list[pa.Table] = []
        order: list[int] = []
        for domain, rows, part in _grouped(chunk, domains, names):
            size = len(chunk) if rows is None else len(rows)
            made = {name: pa.nulls(size, field.type) for name, field in fields.items()}
            for name, field in placement.get(domain, {}).items():
                if name in part:
                    made[field.name], _ = convert(
                        part[name], field.type, time_unit=self._time_unit, decimal=self._decimal
                    )
            tables.append(pa.table(made, schema=pa.schema(list(fields.values()))))
            order += range(len(chunk)) if rows is None else rows
        if not tables or not fields:
            return {name: pa.nulls(len(chunk), field.type) for name, field in fields.items()}
        table = pa.concat_tables(tables).combine_chunks()
        if len(tables) > 1:
            table = table.take(pc.sort_indices(pa.array(order)))
        return {name: plain(table.column(name)) for name in fields}


def _kept_columns(
    chunk: Chunk, mapping: ResolvedMapping, domains: Sequence[str | None], placement: Placement
) -> pa.ListArray:
    """Return for each row the columns of the table for which it has nothing to say."""
    kept: list[list[str]] = [[] for _ in domains]
    media = {name: str(modality) for modality, name in mapping.media.items()}
    media |= {name: vector_column(vector) for vector, name in mapping.vectors.items()}
    for name, rows in chunk.absent.items():
        for row in rows:
            field = placement.get(domains[row] or "", {}).get(name)
            if name in media:
                kept[row].append(media[name])
            elif field is not None:
                kept[row].append(field.name)
    return pa.array(kept, pa.list_(pa.string()))


def check_column_types(source: Source, mapping: ResolvedMapping) -> None:
    """Raise if a column has a type that its role does not allow.

    Raises
    ------
    InvalidMapping
        The message names the column.
    """
    for name in (*mapping.id.fields, *([mapping.domain_column] if mapping.domain_column else [])):
        type_ = source.types.get(name, _ANY_TEXT)
        if not (is_text(type_) or pa.types.is_integer(_decoded(type_))):
            role = "a domain" if name == mapping.domain_column else "an item id"
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; {role} is text or an integer"
            )
    for name in mapping.attributes(source.columns):
        type_ = source.types.get(name, _ANY_TEXT)
        if not is_storable(type_):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}, which no attribute can be; make it "
                f"text or a struct, or leave it out: --exclude {shlex.quote(name)}"
            )
    for name in mapping.vectors.values():
        require_vectors(source, name)
    for modality, name in mapping.media.items():
        type_ = source.types.get(name, _ANY_TEXT)
        if not (is_text(type_) or is_bytes(type_) or is_file_struct(type_)):
            raise InvalidMapping(
                f"{source.name}: column {name!r} is {type_}; {_MEDIA_KINDS[modality]} is a path, "
                "bytes or a data URI"
            )


def _decoded(type_: pa.DataType) -> pa.DataType:
    encoded = pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_)
    return _decoded(type_.value_type) if encoded else type_


def _taken(values: Values, rows: Sequence[int]) -> Values:
    """Return the values of some rows."""
    return Chunk({"": values}, len(values)).take(rows).columns[""]


def _grouped(
    chunk: Chunk, domains: pa.Array, names: Sequence[str]
) -> Iterator[tuple[str, list[int] | None, dict[str, Values]]]:
    """Yield each domain of a chunk, its rows (None for all), and their values of some columns."""
    columns = {name: chunk.columns[name] for name in names}
    coded = domains.dictionary_encode()
    present = coded.dictionary.to_pylist()
    if len(present) == 1 and not coded.null_count:
        yield present[0], None, columns
        return
    codes = coded.indices.fill_null(len(present)).to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], range(len(present)), side="right")
    for domain, group in zip(present, np.split(order, ends), strict=False):
        rows = group.tolist()
        yield domain, rows, Chunk(columns, len(chunk)).take(rows).columns


def _joined(before: RowMisfits, found: RowMisfits) -> RowMisfits:
    """Return all misfits of both; where both have one, the former."""
    return {row: found.get(row, {}) | before.get(row, {}) for row in {**before, **found}}


def _unstorable(values: Values) -> Problems:
    """Return the values that no attribute can be."""
    problems: Problems = []
    if isinstance(values, list):
        for row, value in enumerate(values):
            try:
                type_of(value)
            except Misfit as misfit:
                problems.append((row, str(misfit)))
    return problems

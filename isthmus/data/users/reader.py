"""The user reader: any input, validated, as tables of typed attributes.

Three passes, as for items: the types of the attributes, from all their values; the problems of
every row; and the valid rows. An attribute has the type that it has in the space already, or a
wider one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import Problems
from isthmus.data.convert import convert
from isthmus.data.ids import IdTemplate
from isthmus.data.item_mapping import why_no_attribute
from isthmus.data.request import DEFAULTS, CsvOptions, UserColumns
from isthmus.data.sources import Chunk, Source, is_storable
from isthmus.data.table_reader import TableReader
from isthmus.data.type_inference import TypeInference
from isthmus.data.types import type_name
from isthmus.errors import InvalidMapping, InvalidRows, InvalidUsers, listed
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import USER_ID

Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class UserMapping:
    """Of one input: what makes the user id, and the attributes."""

    user: IdTemplate
    attributes: tuple[str, ...]


def parse_user_mapping(columns: UserColumns, source: Source) -> UserMapping:
    """Return what the columns of an input are.

    Raises
    ------
    InvalidMapping
        If a named column is absent, or cannot be what it is named for.
    """
    user = IdTemplate(columns.user, "user id")
    for name in (*user.fields, *(columns.columns or ()), *columns.exclude):
        if name not in source.columns:
            raise InvalidMapping(
                f"{source.name} has no column {name!r}; its columns are: "
                f"{listed(source.columns, name)}"
            )
    taken = {columns.user, USER_ID, *columns.exclude}
    names = [name for name in source.columns if name not in taken]
    if columns.columns is not None:
        names = [name for name in names if name in columns.columns]
    for name in names:
        why = why_no_attribute(name)
        if why is None and not is_storable(source.types.get(name, pa.string())):
            why = f"since it is {source.types[name]}"
        if why is not None:
            raise InvalidMapping(
                f"{source.name}: column {name!r} cannot be an attribute, {why}; change it, or "
                f"leave it out: --exclude {shlex.quote(name)}"
            )
    return UserMapping(user, tuple(names))


class UserReader(TableReader[UserMapping]):
    """Users of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    users : object
        Anything that `isthmus.data.inputs.open_sources` takes.
    columns : UserColumns, optional
        Which columns are what.
    options : CsvOptions, optional
        How a CSV is written, where that is known.
    time_unit : str, optional
        What numbers count in attributes that are dates or times, see `isthmus.data.times`.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows found by `check`, by row number over the whole input.
    types : dict of str to pyarrow.DataType
        The type of each attribute that has a value; found by `check`.
    """

    error: ClassVar[type[InvalidRows]] = InvalidUsers

    def __init__(
        self,
        users: Any,
        columns: UserColumns | None = None,
        options: CsvOptions = DEFAULTS,
        time_unit: str | None = None,
    ) -> None:
        given = columns or UserColumns()
        resolve = partial(parse_user_mapping, given)
        super().__init__(users, resolve, options, IdTemplate(given.user, "user id").fields)
        self.types: dict[str, pa.DataType] = {}
        self._as_type = partial(convert, time_unit=time_unit, decimal=options.decimal)
        self._decimal = options.decimal

    def check(self, declared: Types | None = None, advance: Advance = ignore_progress) -> int:
        """Read the whole input: find the types of the attributes, and note every invalid row.

        Parameters
        ----------
        declared : mapping of str to pyarrow.DataType, optional
            The types that attributes have in the space.
        advance : callable, optional
            Called with the number of rows checked since its last call.

        Returns
        -------
        int
            Number of rows.
        """
        self.problems = {}
        self._find_types(declared or {})
        ids: list[pa.Array] = []

        def problems_of(chunk: Chunk, mapping: UserMapping) -> Problems:
            of_chunk, problems = mapping.user.ids(chunk.columns)
            ids.append(of_chunk)
            return problems + self._misfits(chunk, mapping)

        rows = self._scan(problems_of, advance)
        self._find_duplicates(pa.chunked_array(ids, pa.string()))
        return rows

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Yield the valid users as tables of at most `rows` rows: user_id and the attributes."""
        return self._convert(self._to_users, rows)

    def _find_types(self, declared: Types) -> None:
        inferred: dict[str, TypeInference] = {}
        for source, mapping in self._sources:
            for chunk in source.read() if mapping.attributes else ():
                for name in mapping.attributes:
                    counts = inferred.setdefault(name, TypeInference(decimal=self._decimal))
                    counts.add(chunk.columns[name], spelled=name in source.spelled)
        self.types = {}
        for name, counts in inferred.items():
            known = declared.get(name)
            type_ = counts.type(known)
            if type_ is not None:
                self.types[name] = type_
            if known is not None and type_ != known:
                self.notes.append(
                    f"attribute {name!r} of users was {type_name(known)} and becomes "
                    f"{type_name(type_)}, which holds both"
                )
            note = counts.note(known)
            if note is not None:
                self.notes.append(f"column {name!r} {note}")

    def _misfits(self, chunk: Chunk, mapping: UserMapping) -> Problems:
        problems: Problems = []
        for name in mapping.attributes:
            if name in self.types:
                _, found = self._as_type(chunk.columns[name], self.types[name])
                problems += [(row, f"column {name!r} {why}") for row, why in found]
        return problems

    def _find_duplicates(self, ids: pa.ChunkedArray) -> None:
        """Note rows whose user an earlier row has."""
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1)).field("values")
        first_row: dict[str, int] = {}
        for row in pc.indices_nonzero(pc.is_in(ids, repeated.drop_null())).to_pylist():
            user_id = ids[row].as_py()
            if user_id in first_row:
                place = self.place(first_row[user_id])
                self.problems.setdefault(row, f"user id {user_id!r} stands in {place} already")
            first_row.setdefault(user_id, row)

    def _to_users(self, chunk: Chunk, mapping: UserMapping, source: Source) -> pa.Table:
        del source
        columns = {USER_ID: mapping.user.ids(chunk.columns)[0]}
        for name in mapping.attributes:
            if name in self.types:
                values = chunk.columns[name]
                columns[name], _ = self._as_type(values, self.types[name])
        return pa.table(columns)

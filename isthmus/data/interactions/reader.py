"""The interaction reader: any input, validated, as tables of one schema.

A log is taken as it is: every kind of event, repeats, and events without a value. Only a row that
repeats another one exactly, in user, item, event, value, weight and time, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import (
    TIME_TYPE,
    Problems,
    parse_numbers,
    parse_times,
)
from isthmus.data.ids import IdTemplate
from isthmus.data.interactions.store import event_keys
from isthmus.data.request import DecimalMark, InteractionColumns, TableOptions
from isthmus.data.sources import Chunk, Source
from isthmus.data.table_reader import RowNumbers, TableReader
from isthmus.data.times import TimeUnit
from isthmus.data.types import storage_type
from isthmus.errors import InvalidInteractions, InvalidMapping, InvalidRows, listed
from isthmus.ids import to_id
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import (
    EVENT,
    INTERACTIONS,
    ITEM_ID,
    TIME,
    USER_ID,
    VALUE,
    WEIGHT,
)

DEFAULT_EVENT = "interaction"
VALUE_COLUMNS = (VALUE, "rating")
TIME_COLUMNS = (TIME, "timestamp")

_ALLOWED_TYPES = {
    "id": "an id of a user or an item is text or an integer",
    "event": "a kind of event is text or an integer",
    "number": "a value or a weight is a number",
    "time": "a time is a timestamp, a date, ISO 8601 text, or seconds or milliseconds since 1970",
}


@dataclass(frozen=True)
class InteractionMapping:
    """The columns of one source by their role, with the defaults filled in."""

    user: IdTemplate
    item: IdTemplate
    value: str | None
    time: str | None
    weight: str | None
    event: str
    event_column: str | None
    time_unit: TimeUnit | None = None
    decimal: DecimalMark = "."

    @classmethod
    def resolve(
        cls,
        columns: InteractionColumns,
        source: Source,
        time_unit: TimeUnit | None = None,
        decimal: DecimalMark = ".",
    ) -> InteractionMapping:
        """Return the mapping of a source.

        Raises
        ------
        InvalidMapping
            If a named column is absent, or its type does not fit its role; the message lists the
            columns.
        """
        if columns.event is not None and not columns.event.strip():
            raise InvalidMapping("the kind of event is empty; give a name such as view")
        kind = to_id((columns.event or DEFAULT_EVENT).strip(), "event")
        names = source.columns
        resolved = cls(
            user=IdTemplate(columns.user, "user id"),
            item=IdTemplate(columns.item, "item id"),
            value=columns.value or _first(VALUE_COLUMNS, names),
            time=columns.time or _first(TIME_COLUMNS, names),
            weight=columns.weight or _first([WEIGHT], names),
            event=kind,
            event_column=None if columns.event else columns.event_column or _first([EVENT], names),
            time_unit=time_unit,
            decimal=decimal,
        )
        for column, role in resolved.columns_read():
            if column not in names:
                raise InvalidMapping(
                    f"{source.name} has no column {column!r}; its columns are: "
                    f"{listed(names, column)}"
                )
            type_ = source.types.get(column)
            if type_ is not None and not _fits_role(role, storage_type(type_)):
                raise InvalidMapping(
                    f"{source.name}: column {column!r} is {type_}; {_ALLOWED_TYPES[role]}"
                )
        return resolved

    def columns_read(self) -> Iterator[tuple[str, str]]:
        """Yield each column that the mapping reads, and its role: id, event, number or time."""
        for name in (*self.user.fields, *self.item.fields):
            yield name, "id"
        optional = (
            (self.event_column, "event"),
            (self.value, "number"),
            (self.time, "time"),
            (self.weight, "number"),
        )
        for column, role in optional:
            if column is not None:
                yield column, role


def _first(candidates: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in candidates if name in names), None)


def _fits_role(role: str, type_: pa.DataType | None) -> bool:
    if type_ is None:
        return False
    if type_ == pa.string() or pa.types.is_null(type_) or pa.types.is_integer(type_):
        return True
    is_number = pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    if role == "number":
        return bool(is_number or pa.types.is_boolean(type_))
    if role == "time":
        return bool(is_number or pa.types.is_timestamp(type_) or pa.types.is_date(type_))
    return False


class InteractionReader(TableReader[InteractionMapping]):
    """Interactions of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    interactions : object
        Anything that `isthmus.data.inputs.open_sources` takes.
    columns : InteractionColumns, optional
        Which columns are what.
    options : TableOptions, optional
        How a CSV is written, and what numbers count that are times.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows found by `check`, by row number over the whole input.
    repeated : numpy.ndarray
        int64: numbers of the rows that `check` found to repeat another row of the input exactly.
    """

    error: ClassVar[type[InvalidRows]] = InvalidInteractions

    def __init__(
        self,
        interactions: Any,
        columns: InteractionColumns | None = None,
        options: TableOptions | None = None,
    ) -> None:
        named, options = columns or InteractionColumns(), options or TableOptions()
        time_unit, decimal = options.time_unit, options.decimal
        # Every text of a column of ids but the empty one is a value.
        ids = (*IdTemplate(named.user).fields, *IdTemplate(named.item).fields)
        self.repeated: RowNumbers = np.zeros(0, np.int64)

        def resolve(source: Source) -> InteractionMapping:
            return InteractionMapping.resolve(named, source, time_unit, decimal)

        super().__init__(interactions, resolve, options, ids)

    def check(self, advance: Advance = ignore_progress) -> int:
        """Read the whole input once; note every invalid row and every repeated one.

        Parameters
        ----------
        advance : callable, optional
            Called with the number of rows checked since its last call.

        Returns
        -------
        int
            Number of rows.
        """
        deduplicator = Deduplicator()

        def problems_of(chunk: Chunk, mapping: InteractionMapping) -> Problems:
            rows, problems = _to_interactions(chunk, mapping)
            deduplicator.add(rows)
            return problems

        n_rows = self._scan(problems_of, advance)
        self.repeated = deduplicator.repeated(np.array(sorted(self.problems), np.int64))
        return n_rows

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Yield the rows that are neither invalid nor repeated, in tables of `rows` rows.

        Yields
        ------
        pyarrow.Table
            With the schema `isthmus.schema.INTERACTIONS`; no event occurs twice.
        """

        def convert(chunk: Chunk, mapping: InteractionMapping, source: Source) -> pa.Table:
            del source
            return _to_interactions(chunk, mapping)[0]

        return self._convert(convert, rows, self.repeated)


class Deduplicator:
    """Finds rows that repeat another row of the same input exactly.

    Rows are compared by 64-bit digests. The memory is 8 bytes per row, and 32 bytes during
    `repeated`.
    """

    def __init__(self) -> None:
        self._keys: list[npt.NDArray[np.uint64]] = []

    def add(self, rows: pa.Table) -> None:
        """Add the next rows of the input."""
        self._keys.append(event_keys(rows))

    def repeated(self, ignored: RowNumbers) -> RowNumbers:
        """Return the numbers of the rows that repeat an earlier one, ascending.

        Parameters
        ----------
        ignored : numpy.ndarray
            int64: numbers of rows that are left out, neither repeating nor repeated.
        """
        if not self._keys:
            return np.zeros(0, np.int64)
        keys = np.concatenate(self._keys)
        rows = np.delete(np.arange(len(keys)), ignored)
        order = rows[np.argsort(keys[rows], kind="stable")]
        has_predecessor = keys[order][:-1] == keys[order][1:]
        return np.sort(order[1:][has_predecessor])


def _to_interactions(chunk: Chunk, mapping: InteractionMapping) -> tuple[pa.Table, Problems]:
    """Return a chunk in the schema of interactions, and the rows where a value is bad."""
    parsed = {
        USER_ID: _ids(chunk, mapping.user),
        ITEM_ID: _ids(chunk, mapping.item),
        EVENT: _events(chunk, mapping),
        VALUE: _numbers(chunk, mapping.value, mapping.decimal),
        WEIGHT: _weights(chunk, mapping.weight, mapping.decimal),
        TIME: _times(chunk, mapping.time, mapping.time_unit),
    }
    table = pa.table({name: column for name, (column, _) in parsed.items()}, schema=INTERACTIONS)
    return table, [problem for _, problems in parsed.values() for problem in problems]


def _ids(chunk: Chunk, template: IdTemplate) -> tuple[pa.Array, Problems]:
    ids, problems = template.ids(chunk.columns)
    return ids.fill_null(""), problems


def _events(chunk: Chunk, mapping: InteractionMapping) -> tuple[pa.Array, Problems]:
    if mapping.event_column is None:
        return pa.repeat(pa.scalar(mapping.event, pa.string()), len(chunk)), []
    names, problems = _ids(chunk, IdTemplate(mapping.event_column, "kind of event"))
    return pc.utf8_trim_whitespace(names), problems


def _numbers(chunk: Chunk, name: str | None, decimal: str) -> tuple[pa.Array, Problems]:
    if name is None:
        return pa.repeat(pa.scalar(1.0, pa.float32()), len(chunk)), []
    return parse_numbers(chunk.columns[name], name, decimal)


def _weights(chunk: Chunk, name: str | None, decimal: str) -> tuple[pa.Array, Problems]:
    """Return the weights of a batch, 1 where there is none."""
    weights, problems = _numbers(chunk, name, decimal)
    weights = weights.fill_null(1.0)
    negative = pc.indices_nonzero(pc.less(weights, 0)).to_pylist()
    problem = f"column {name!r} is {{}}; no weight is negative"
    return weights, problems + [(row, problem.format(weights[row])) for row in negative]


def _times(chunk: Chunk, name: str | None, unit: str | None) -> tuple[pa.Array, Problems]:
    if name is None:
        return pa.nulls(len(chunk), TIME_TYPE), []
    return parse_times(chunk.columns[name], name, unit)

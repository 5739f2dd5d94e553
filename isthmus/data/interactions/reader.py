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
    plain_type,
)
from isthmus.data.interactions.store import event_keys
from isthmus.data.sources import Source
from isthmus.data.table_reader import RowNumbers, TableReader
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidInteractions, InvalidMapping, InvalidRows, listed
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
    """The roles of columns; every other column is ignored.

    Parameters
    ----------
    user : str, default "user_id"
        Column of the user id, or a template such as ``"shop-{customer}"``.
    item : str, default "item_id"
        Column of the item id, or a template such as ``"film-{movie_id}"``.
    value : str, optional
        Column of the value of an event, such as a rating or hours; null means that it has none.
        Default: the column value or rating if there is one, else every interaction has the
        value 1.
    time : str, optional
        Column of the time. Default: the column time or timestamp if there is one.
    weight : str, optional
        Column of the weight that multiplies the value. Default: the column weight if there is
        one, else every interaction has the weight 1.
    event : str, optional
        One kind of event (``view``, ``purchase``) for the whole input, instead of `event_column`.
    event_column : str, optional
        Column of the kind of event. Default: the column event if there is one, else every
        interaction is an ``interaction``.
    """

    user: str = USER_ID
    item: str = ITEM_ID
    value: str | None = None
    time: str | None = None
    weight: str | None = None
    event: str | None = None
    event_column: str | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are text in a CSV, so that ``007`` stays ``007``."""
        ids = (*TextTemplate(self.user).fields, *TextTemplate(self.item).fields)
        return (*ids, self.event_column or EVENT)

    def resolve(self, schema: pa.Schema, source: str) -> ResolvedInteractionMapping:
        """Return the mapping for an input with these columns, with the defaults filled in.

        Raises
        ------
        InvalidMapping
            If a named column is absent, or its type does not fit its role; the message lists the
            columns.
        """
        if self.event is not None and not self.event.strip():
            raise InvalidMapping("the kind of event is empty; give a name such as view")
        names = schema.names
        resolved = ResolvedInteractionMapping(
            user=TextTemplate(self.user),
            item=TextTemplate(self.item),
            value=self.value or _first(VALUE_COLUMNS, names),
            time=self.time or _first(TIME_COLUMNS, names),
            weight=self.weight or _first([WEIGHT], names),
            event=(self.event or DEFAULT_EVENT).strip(),
            event_column=None if self.event else self.event_column or _first([EVENT], names),
        )
        for column, role in resolved.columns_read():
            if column not in names:
                raise InvalidMapping(
                    f"{source} has no column {column!r}; its columns are: {listed(names, column)}"
                )
            if not _fits_role(role, plain_type(schema.field(column).type)):
                raise InvalidMapping(
                    f"{source}: column {column!r} is {schema.field(column).type}; "
                    f"{_ALLOWED_TYPES[role]}"
                )
        return resolved


@dataclass(frozen=True)
class ResolvedInteractionMapping:
    """A mapping with the defaults filled in for one input."""

    user: TextTemplate
    item: TextTemplate
    value: str | None
    time: str | None
    weight: str | None
    event: str
    event_column: str | None

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


def _fits_role(role: str, type_: pa.DataType) -> bool:
    if type_ == pa.string() or pa.types.is_null(type_) or pa.types.is_integer(type_):
        return True
    is_number = pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    if role == "number":
        return bool(is_number or pa.types.is_boolean(type_))
    if role == "time":
        return bool(is_number or pa.types.is_timestamp(type_) or pa.types.is_date(type_))
    return False


class InteractionReader(TableReader[ResolvedInteractionMapping]):
    """Interactions of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    interactions : object
        Anything that `isthmus.data.table_reader.open_sources` takes.
    mapping : InteractionMapping, optional
        Which columns are what.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows found by `check`, by row number over the whole input.
    repeated : numpy.ndarray
        int64: numbers of the rows that `check` found to repeat another row of the input exactly.
    """

    error: ClassVar[type[InvalidRows]] = InvalidInteractions

    def __init__(self, interactions: Any, mapping: InteractionMapping | None = None) -> None:
        mapping = mapping or InteractionMapping()
        self.repeated: RowNumbers = np.zeros(0, np.int64)
        super().__init__(
            interactions,
            mapping.text_columns,
            lambda source: mapping.resolve(source.schema, source.name),
        )

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

        def problems_of(batch: pa.RecordBatch, mapping: ResolvedInteractionMapping) -> Problems:
            rows, problems = _to_interactions(batch, mapping)
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

        def convert(
            batch: pa.RecordBatch, mapping: ResolvedInteractionMapping, source: Source
        ) -> pa.Table:
            del source
            return _to_interactions(batch, mapping)[0]

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


def _to_interactions(
    batch: pa.RecordBatch, mapping: ResolvedInteractionMapping
) -> tuple[pa.Table, Problems]:
    """Return a batch in the schema of interactions, and the rows where a value is bad."""
    parsed = {
        USER_ID: _texts(batch, mapping.user, "user id"),
        ITEM_ID: _texts(batch, mapping.item, "item id"),
        EVENT: _events(batch, mapping),
        VALUE: _numbers(batch, mapping.value),
        WEIGHT: _weights(batch, mapping.weight),
        TIME: _times(batch, mapping.time),
    }
    table = pa.table({name: column for name, (column, _) in parsed.items()}, schema=INTERACTIONS)
    return table, [problem for _, problems in parsed.values() for problem in problems]


def _texts(batch: pa.RecordBatch, template: TextTemplate, role: str) -> tuple[pa.Array, Problems]:
    texts = _render(batch, template)
    missing = pc.indices_nonzero(pc.is_null(texts)).to_pylist()
    return texts.fill_null(""), [(row, f"no {role} in {template.template!r}") for row in missing]


def _events(
    batch: pa.RecordBatch, mapping: ResolvedInteractionMapping
) -> tuple[pa.Array, Problems]:
    if mapping.event_column is None:
        return pa.repeat(pa.scalar(mapping.event, pa.string()), len(batch)), []
    return _texts(batch, TextTemplate(mapping.event_column), "kind of event")


def _numbers(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    if name is None:
        return pa.repeat(pa.scalar(1.0, pa.float32()), len(batch)), []
    column = _plain(batch, name)
    numbers, problems = parse_numbers(column, name)
    missing = pc.is_null(column)
    absent = {*pc.indices_nonzero(missing).to_pylist()}
    none = pa.scalar(None, numbers.type)
    return (
        pc.if_else(missing, none, numbers),
        [problem for problem in problems if problem[0] not in absent],
    )


def _weights(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    """Return the weights of a batch, 1 where there is none."""
    weights, problems = _numbers(batch, name)
    weights = weights.fill_null(1.0)
    negative = pc.indices_nonzero(pc.less(weights, 0)).to_pylist()
    problem = f"column {name!r} is {{}}; no weight is negative"
    return weights, problems + [(row, problem.format(weights[row])) for row in negative]


def _times(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    if name is None:
        return pa.nulls(len(batch), TIME_TYPE), []
    return parse_times(_plain(batch, name), name)


def _plain(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(name)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Times keep their unit: a cast to microseconds may fail, and `parse_times` truncates.
    return column if pa.types.is_temporal(column.type) else column.cast(plain_type(column.type))


def _render(batch: pa.RecordBatch, template: TextTemplate) -> pa.Array:
    """Return the ids of a batch; a plain column, the usual case, is rendered by Arrow."""
    columns = {name: _plain(batch, name) for name in template.fields}
    if template.template in columns:
        trimmed = pc.utf8_trim_whitespace(columns[template.template].cast(pa.string()))
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    values = {name: column.to_pylist() for name, column in columns.items()}
    return pa.array(template.render_columns(values), pa.string())

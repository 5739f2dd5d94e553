"""The interaction reader: any input, checked first, then given as tables of one schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.column_types import plain_type
from isthmus.data.interactions.deduplication import Repeats, RowNumbers
from isthmus.data.interactions.mapping import InteractionMapping, ResolvedInteractions
from isthmus.data.interactions.times import TIMES, read_times
from isthmus.data.interactions.values import Problems, read_numbers
from isthmus.data.source import count_together, name_together
from isthmus.data.sources import open_sources
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidInput, InvalidInteractions, InvalidItems, first_line
from isthmus.progress import Advance, ignore_progress
from isthmus.schema import EVENT, INTERACTIONS, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT


@dataclass
class InteractionReader:
    """Interactions of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    interactions : object
        Anything `isthmus.data.sources.open_sources` takes.
    mapping : InteractionMapping
        Which columns are what.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows, by row number over the whole input, found by `check`.
    repeated : numpy.ndarray
        Numbers of the rows that another row takes the place of, found by `check`; see
        `isthmus.data.interactions.deduplication` for the rule.
    """

    interactions: Any
    mapping: InteractionMapping = field(default_factory=InteractionMapping)
    problems: dict[int, str] = field(default_factory=dict, init=False)
    repeated: RowNumbers = field(default_factory=lambda: np.zeros(0, np.int64), init=False)

    def __post_init__(self) -> None:
        try:
            self._sources = [
                (source, self.mapping.resolve(source.schema, source.name))
                for source in open_sources(self.interactions, self.mapping.verbatim)
            ]
        except InvalidItems as error:  # rows that do not even make a table
            raise InvalidInteractions(error.problems) from error
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

    def check(self, advance: Advance = ignore_progress) -> int:
        """Read the whole input once and find every invalid row, and every repeated one.

        Parameters
        ----------
        advance : callable, optional
            Told how many rows were checked since it was last called.

        Returns
        -------
        int
            Number of rows.
        """
        start, repeats = 0, Repeats()
        for rows, problems in self._read():
            for row, what in problems:
                self.problems.setdefault(start + row, what)
            repeats.see(rows)
            start += len(rows)
            advance(len(rows))
        self.repeated = repeats.superseded(np.array(sorted(self.problems), np.int64))
        return start

    def refuse(self) -> None:
        """Raise `InvalidInteractions` if `check` found any invalid row."""
        if self.problems:
            raise InvalidInteractions(sorted(self.problems.items()), self.name)

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Give the interactions that `check` left, as tables of at most `rows` rows.

        Yields
        ------
        pyarrow.Table
            Of the schema `isthmus.schema.INTERACTIONS`, no user, item and event twice.
        """
        left_out = np.sort(np.append(self.repeated, np.array(list(self.problems), np.int64)))
        start, waiting, held = 0, [], 0
        for table, _ in self._read():
            first, end = np.searchsorted(left_out, [start, start + len(table)])
            keep = np.delete(np.arange(len(table)), left_out[first:end] - start)
            start += len(table)
            waiting.append(table.take(pa.array(keep)))
            held += len(keep)
            while held >= rows:
                whole = pa.concat_tables(waiting)
                yield whole.slice(0, rows)
                waiting, held = [whole.slice(rows)], held - rows
        if held:
            yield pa.concat_tables(waiting)

    def _read(self) -> Iterator[tuple[pa.Table, Problems]]:
        for source, mapping in self._sources:
            for batch in source.batches():
                yield _to_interactions(batch, mapping)


def _to_interactions(
    batch: pa.RecordBatch, mapping: ResolvedInteractions
) -> tuple[pa.Table, Problems]:
    """Bring a batch to the schema; where something is missing or wrong, the row is a problem."""
    columns = {
        USER_ID: _texts(batch, mapping.user, "user id"),
        ITEM_ID: _texts(batch, mapping.item, "item id"),
        EVENT: _events(batch, mapping),
        VALUE: _numbers(batch, mapping.value),
        WEIGHT: _weights(batch, mapping.weight),
        TIME: _times(batch, mapping.time),
    }
    table = pa.table({name: read for name, (read, _) in columns.items()}, schema=INTERACTIONS)
    return table, [problem for _, problems in columns.values() for problem in problems]


def _texts(batch: pa.RecordBatch, template: TextTemplate, what: str) -> tuple[pa.Array, Problems]:
    texts = _render(batch, template)
    missing = pc.indices_nonzero(pc.is_null(texts)).to_pylist()
    return texts.fill_null(""), [(row, f"no {what} in {template.template!r}") for row in missing]


def _events(batch: pa.RecordBatch, mapping: ResolvedInteractions) -> tuple[pa.Array, Problems]:
    if mapping.event_column is None:
        return pa.repeat(pa.scalar(mapping.event, pa.string()), len(batch)), []
    return _texts(batch, TextTemplate(mapping.event_column), "kind of event")


def _numbers(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    if name is None:
        return pa.repeat(pa.scalar(1.0, pa.float32()), len(batch)), []
    return read_numbers(_plain(batch, name), name)


def _weights(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    weights, problems = _numbers(batch, name)
    negative = pc.indices_nonzero(pc.less(weights, 0)).to_pylist()
    what = f"column {name!r} is {{}}; no weight is negative"
    return weights, problems + [(row, what.format(weights[row])) for row in negative]


def _times(batch: pa.RecordBatch, name: str | None) -> tuple[pa.Array, Problems]:
    return (
        (pa.nulls(len(batch), TIMES), []) if name is None else read_times(_plain(batch, name), name)
    )


def _plain(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(name)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Times are left as they are, since what is below the microsecond may be cut off.
    return column if pa.types.is_temporal(column.type) else column.cast(plain_type(column.type))


def _render(batch: pa.RecordBatch, template: TextTemplate) -> pa.Array:
    """Render ids as items have theirs; a column alone, as nearly all are, without a loop."""
    columns = {name: _plain(batch, name) for name in template.fields}
    if template.template in columns:
        trimmed = pc.utf8_trim_whitespace(columns[template.template].cast(pa.string()))
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    values = {name: column.to_pylist() for name, column in columns.items()}
    return pa.array(template.render_columns(values), pa.string())

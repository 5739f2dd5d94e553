"""The interaction reader: any input, checked first, then given as tables of one schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.columns import EVENT, INTERACTIONS, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT
from isthmus.errors import InvalidInput, InvalidInteractions, InvalidItems
from isthmus.interactions.mapping import InteractionMapping, ResolvedInteractions
from isthmus.interactions.numbers import Problems, read_numbers
from isthmus.interactions.repeats import Repeats, RowNumbers
from isthmus.interactions.times import TIMES, read_times
from isthmus.items.reader import plain_type
from isthmus.items.sources import open_sources
from isthmus.items.template import TextTemplate
from isthmus.progress import Advance, ignore_progress


@dataclass
class InteractionReader:
    """Interactions of one input: files, frames or rows under one mapping.

    Parameters
    ----------
    interactions : object
        Anything `isthmus.items.sources.open_sources` takes.
    mapping : InteractionMapping
        Which columns are what.

    Attributes
    ----------
    problems : dict of int to str
        Invalid rows, by row number over the whole input, found by `check`.
    repeated : numpy.ndarray
        Numbers of the rows that another row takes the place of, found by `check`; see
        `isthmus.interactions.repeats` for the rule.
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
            raise InvalidInput(f"cannot read the input: {str(error).splitlines()[0]}") from error

    @property
    def name(self) -> str:
        """What messages call the input."""
        names = [source.name for source, _ in self._sources]
        return names[0] if len(names) == 1 else f"{len(names)} files"

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading."""
        counts = [source.rows for source, _ in self._sources]
        return sum(c for c in counts if c is not None) if None not in counts else None

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
            Of the schema `isthmus.columns.INTERACTIONS`, no user, item and event twice.
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
    problems: Problems = []

    def required(texts: pa.Array, what: str) -> pa.Array:
        missing = pc.indices_nonzero(pc.is_null(texts)).to_pylist()
        problems.extend((row, what) for row in missing)
        return texts.fill_null("")

    def numbers(name: str | None) -> pa.Array:
        if name is None:
            return pa.repeat(pa.scalar(1.0, pa.float32()), len(batch))
        read, found = read_numbers(_plain(batch, name), name)
        problems.extend(found)
        return read

    users = required(_render(batch, mapping.user), f"no user id in {mapping.user.template!r}")
    items = required(_render(batch, mapping.item), f"no item id in {mapping.item.template!r}")
    if mapping.event_column is None:
        events = pa.repeat(pa.scalar(mapping.event, pa.string()), len(batch))
    else:
        texts = _render(batch, TextTemplate(mapping.event_column))
        events = required(texts, f"no kind of event in {mapping.event_column!r}")
    values, weights = numbers(mapping.value), numbers(mapping.weight)
    for row in pc.indices_nonzero(pc.less(weights, 0)).to_pylist():
        problems.append(
            (row, f"column {mapping.weight!r} is {weights[row]}; no weight is negative")
        )
    times = pa.nulls(len(batch), TIMES)
    if mapping.time is not None:
        times, found = read_times(_plain(batch, mapping.time), mapping.time)
        problems.extend(found)
    columns = {USER_ID: users, ITEM_ID: items, EVENT: events, VALUE: values, WEIGHT: weights}
    return pa.table({**columns, TIME: times}, schema=INTERACTIONS), problems


def _plain(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(name)
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Times are left as they are, since what is below the microsecond may be cut off.
    return column if pa.types.is_temporal(column.type) else column.cast(plain_type(column.type))


def _render(batch: pa.RecordBatch, template: TextTemplate) -> pa.Array:
    """Render ids as items have theirs; one column is rendered value by distinct value."""
    columns = {name: _plain(batch, name) for name in template.fields}
    if len(columns) > 1:
        values = {name: column.to_pylist() for name, column in columns.items()}
        return pa.array(template.render_columns(values), pa.string())
    ((name, column),) = columns.items()
    coded = column.dictionary_encode()
    rendered = template.render_columns({name: coded.dictionary.to_pylist()})
    return pa.array(rendered, pa.string()).take(coded.indices)

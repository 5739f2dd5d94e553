"""The reader of tables: any input is opened, validated row by row, and read in batches.

`ItemReader`, `InteractionReader` and `PairReader` are this reader with columns in other roles.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.columns import Problems
from isthmus.data.inputs import open_sources
from isthmus.data.request import DEFAULTS, CsvOptions
from isthmus.data.sources import Chunk, Source, joint_name, total_rows
from isthmus.errors import InvalidInput, InvalidRows, first_line
from isthmus.progress import Advance, ignore_progress

RowNumbers = npt.NDArray[np.int64]

Roles = TypeVar("Roles")  # which columns of one source are what


class TableReader(Generic[Roles]):
    """Reads one input: first all of it, to find invalid rows, then its valid rows in batches.

    Parameters
    ----------
    data : object
        Anything that `isthmus.data.inputs.open_sources` takes.
    resolve : callable
        Returns the roles of the columns of a source; raises `InvalidMapping` where they do not
        fit.
    options : CsvOptions, optional
        How a CSV is written, where that is known.
    verbatim : sequence of str, default ()
        Columns of ids.

    Attributes
    ----------
    problems : dict of int to str
        What is wrong with each invalid row, by row number over the whole input.
    notes : list of str
        What was found out about the input and is not wrong, such as the encoding of a file.

    Raises
    ------
    InvalidInput
        If the input cannot be read.
    """

    error: ClassVar[type[InvalidRows]] = InvalidRows

    def __init__(
        self,
        data: Any,
        resolve: Callable[[Source], Roles],
        options: CsvOptions = DEFAULTS,
        verbatim: Sequence[str] = (),
    ) -> None:
        self.problems: dict[int, str] = {}
        self._starts: list[int] = []  # of each source: the number of its first row
        try:
            opened = open_sources(data, options, verbatim)
            for source in opened:
                if source.faults and not source.columns:  # nothing of it could be read
                    raise self.error(sorted(source.faults.items()), source.name, source.place)
            self._sources = [(source, resolve(source)) for source in opened]
        except pa.ArrowException as error:
            raise InvalidInput(f"cannot read the input: {first_line(error)}") from error
        self.notes = [f"{source.name}: {note}" for source in opened for note in source.notes]

    @property
    def name(self) -> str:
        """Name of the input in messages."""
        return joint_name([source for source, _ in self._sources])

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading."""
        return total_rows([source for source, _ in self._sources])

    def place(self, row: int) -> str:
        """Return where a row stands: ``line 7``, with the file where there are several."""
        if not self._starts:
            return f"row {row}"
        at = max(bisect_right(self._starts, row) - 1, 0)
        source = self._sources[at][0]
        local = source.place(row - self._starts[at])
        return local if len(self._sources) == 1 else f"{source.name} {local}"

    def listed_problems(self) -> list[str]:
        """Return every problem with the place of its row, in order."""
        return [f"{self.place(row)}: {problem}" for row, problem in sorted(self.problems.items())]

    def raise_if_invalid(self) -> None:
        """Raise the reader's error if rows are invalid.

        Raises
        ------
        InvalidRows
            `InvalidItems` or `InvalidInteractions`, with the row numbers.
        """
        if self.problems:
            problems = sorted(self.problems.items())
            raise self.error(problems, self.name, self.place)

    def _scan(
        self,
        problems_of: Callable[[Chunk, Roles], Problems],
        advance: Advance = ignore_progress,
    ) -> int:
        """Read the whole input and note the problems of its rows; return the number of rows."""
        start = 0
        self._starts = []
        for source, roles in self._sources:
            self._starts.append(start)
            first = start
            for chunk in source.read():
                for row, problem in problems_of(chunk, roles):
                    self.problems.setdefault(start + row, problem)
                start += len(chunk)
                advance(len(chunk))
            # A row that could not be read has no other problem worth naming.
            self.problems |= {first + row: reason for row, reason in source.faults.items()}
        return start

    def _convert(
        self,
        convert: Callable[[Chunk, Roles, Source], pa.Table],
        rows: int,
        excluded: RowNumbers | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the valid rows, converted, in tables of at most `rows` rows.

        A table is shorter where the input ends, or where the columns change with the file.

        Parameters
        ----------
        convert : callable
            Returns the table of a chunk.
        rows : int
            Rows per table.
        excluded : numpy.ndarray, optional
            Numbers of valid rows to leave out too, int64.
        """
        left_out = np.array(sorted(self.problems), np.int64)
        if excluded is not None:
            left_out = np.union1d(left_out, excluded)
        waiting: list[pa.Table] = []
        for table in self._converted(convert, left_out):
            if waiting and table.schema != waiting[0].schema:
                yield pa.concat_tables(waiting)
                waiting = []
            waiting.append(table)
            while sum(map(len, waiting)) >= rows:
                whole = pa.concat_tables(waiting)
                yield whole.slice(0, rows)
                waiting = [rest] if len(rest := whole.slice(rows)) else []
        if waiting:
            yield pa.concat_tables(waiting)

    def _converted(
        self, convert: Callable[[Chunk, Roles, Source], pa.Table], left_out: RowNumbers
    ) -> Iterator[pa.Table]:
        """Yield the table of each chunk that has rows which are not left out."""
        start = 0
        for source, roles in self._sources:
            for chunk in source.read():
                first, end = np.searchsorted(left_out, [start, start + len(chunk)])
                local, start = left_out[first:end] - start, start + len(chunk)
                if len(local):
                    chunk = chunk.take(np.delete(np.arange(len(chunk)), local).tolist())
                if len(chunk):
                    yield convert(chunk, roles, source)

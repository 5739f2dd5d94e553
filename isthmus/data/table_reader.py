"""The reader of tables: any input is opened, validated row by row, and read in batches.

`ItemReader`, `InteractionReader` and `PairReader` are this reader with columns in other roles.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.columns import Problems
from isthmus.data.files import FORMATS, open_file
from isthmus.data.sources import BATCH_ROWS, Source, joint_name, rows_source, total_rows
from isthmus.errors import InvalidInput, InvalidRows, first_line
from isthmus.progress import Advance, ignore_progress

RowNumbers = npt.NDArray[np.int64]

Roles = TypeVar("Roles")  # which columns of one source are what


def open_sources(data: Any, text_columns: Sequence[str] = ()) -> list[Source]:
    """Return the sources of an input.

    Parameters
    ----------
    data : path, glob, list of those, pyarrow table, reader or batch, pandas or polars frame,
            Lance dataset, mapping, or iterable of mappings
        Files may be Parquet, CSV, TSV, JSON lines, JSON, Arrow/Feather, or a Lance folder.
    text_columns : sequence of str, default ()
        Columns that are text in a CSV, whatever their values look like.

    Returns
    -------
    list of Source
        One per file; one for everything else.

    Raises
    ------
    InvalidInput
        If a file is absent, unreadable or of an unknown format.
    InvalidRows
        If rows given as dicts do not form a table.
    """
    if isinstance(data, (str, Path)):
        return [open_file(path, text_columns) for path in _expand(data)]
    if isinstance(data, (list, tuple)) and all(isinstance(i, (str, Path)) for i in data):
        return [source for path in data for source in open_sources(path, text_columns)]
    return [_open_in_memory(data)]


def _expand(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    if path.exists():
        if path.is_dir() and path.suffix != ".lance":
            return _files_in(path)
        return [path]
    paths = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    if not paths:
        raise InvalidInput(f"no file matches {str(pattern)!r}; check the path")
    return [Path(name) for name in paths]


def _files_in(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    if not paths:
        raise InvalidInput(f"folder {folder} holds no {', '.join(sorted(FORMATS))} file")
    return paths


def _open_in_memory(data: Any) -> Source:
    table = _as_table(data)
    if table is not None:
        return Source(
            "input", table.schema, lambda: iter(table.to_batches(BATCH_ROWS)), None, len(table)
        )
    if isinstance(data, Mapping):
        data = [data]
    if not isinstance(data, Iterable):
        raise InvalidInput(
            f"cannot take items from a {type(data).__name__}; give files, an Arrow table, a "
            "pandas or polars frame, or a list of dicts"
        )
    rows = list(data)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidRows([(number, f"is a {type(row).__name__}, not a dict")])
    return rows_source("input", lambda: iter(rows), None)


def _as_table(data: Any) -> pa.Table | None:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if hasattr(data, "to_table"):  # a Lance or pyarrow dataset
        return data.to_table()
    if type(data).__module__.split(".")[0] == "pandas":
        return pa.Table.from_pandas(data, preserve_index=False)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    return None


class TableReader(Generic[Roles]):
    """Reads one input: first all of it, to find invalid rows, then its valid rows in batches.

    Parameters
    ----------
    data : object
        Anything that `open_sources` takes.
    text_columns : sequence of str
        Columns that are text in a CSV.
    resolve : callable
        Returns the roles of the columns of a source; raises `InvalidMapping` where they do not
        fit.

    Attributes
    ----------
    problems : dict of int to str
        What is wrong with each invalid row, by row number over the whole input.

    Raises
    ------
    InvalidInput
        If the input cannot be read.
    InvalidRows
        If rows given as dicts do not form a table.
    """

    error: ClassVar[type[InvalidRows]] = InvalidRows

    def __init__(
        self, data: Any, text_columns: Sequence[str], resolve: Callable[[Source], Roles]
    ) -> None:
        self.problems: dict[int, str] = {}
        try:
            self._sources = [
                (source, resolve(source)) for source in open_sources(data, text_columns)
            ]
        except InvalidRows as error:
            raise self.error(error.problems, error.source) from error
        except pa.ArrowException as error:
            raise InvalidInput(f"cannot read the input: {first_line(error)}") from error

    @property
    def name(self) -> str:
        """Name of the input in error messages."""
        return joint_name([source for source, _ in self._sources])

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading."""
        return total_rows([source for source, _ in self._sources])

    def raise_if_invalid(self) -> None:
        """Raise the reader's error if rows are invalid.

        Raises
        ------
        InvalidRows
            `InvalidItems` or `InvalidInteractions`, with the row numbers.
        """
        if self.problems:
            raise self.error(sorted(self.problems.items()), self.name)

    def _scan(
        self,
        problems_of: Callable[[pa.RecordBatch, Roles], Problems],
        advance: Advance = ignore_progress,
    ) -> int:
        """Read the whole input and note the problems of its rows; return the number of rows."""
        start = 0
        for source, roles in self._sources:
            for batch in source.batches():
                for row, problem in problems_of(batch, roles):
                    self.problems.setdefault(start + row, problem)
                start += len(batch)
                advance(len(batch))
        return start

    def _convert(
        self,
        convert: Callable[[pa.RecordBatch, Roles, Source], pa.Table],
        rows: int,
        excluded: RowNumbers | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the valid rows, converted, in tables of `rows` rows.

        The last table, and the last before the columns change, may be shorter.

        Parameters
        ----------
        convert : callable
            Returns the table of a batch.
        rows : int
            Rows per table.
        excluded : numpy.ndarray, optional
            Numbers of valid rows to leave out too, int64.
        """
        left_out = np.array(sorted(self.problems), np.int64)
        if excluded is not None:
            left_out = np.union1d(left_out, excluded)
        start, waiting = 0, 0
        tables: list[pa.Table] = []
        for source, roles in self._sources:
            for batch in source.batches():
                first, end = np.searchsorted(left_out, [start, start + len(batch)])
                start, local = start + len(batch), left_out[first:end] - start
                if len(local):
                    batch = batch.take(pa.array(np.delete(np.arange(len(batch)), local)))
                converted = convert(batch, roles, source)
                if waiting and converted.schema != tables[-1].schema:
                    yield pa.concat_tables(tables)
                    tables, waiting = [], 0
                tables.append(converted)
                waiting += len(converted)
                while waiting >= rows:
                    whole = pa.concat_tables(tables)
                    yield whole.slice(0, rows)
                    tables, waiting = [whole.slice(rows)], waiting - rows
        if waiting:
            yield pa.concat_tables(tables)

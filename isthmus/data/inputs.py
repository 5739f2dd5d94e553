"""Inputs: files, globs, folders, frames, tables and dicts, each opened as sources."""

from __future__ import annotations

import glob
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.convert import Values, convert, unwrap
from isthmus.data.files import FORMATS, open_file
from isthmus.data.paths import local_path
from isthmus.data.request import DEFAULTS, CsvOptions
from isthmus.data.sources import (
    Chunk,
    Chunks,
    Fault,
    Row,
    Source,
    arrow_source,
    check_names,
    object_source,
    with_constants,
)
from isthmus.data.type_inference import TypeInference
from isthmus.errors import InvalidInput, InvalidRows, first_line

PARTITION = "="  # between name and value in the name of a folder of a partitioned table
NO_PARTITION_VALUE = "__HIVE_DEFAULT_PARTITION__"


def open_sources(
    data: Any, options: CsvOptions = DEFAULTS, verbatim: Sequence[str] = ()
) -> list[Source]:
    """Return the sources of an input.

    Parameters
    ----------
    data : path, glob, list of those, pyarrow table, reader or batch, pandas or polars frame,
            Lance dataset, mapping, iterable of mappings, or Source
        Files may be Parquet, CSV, TSV, JSON lines, JSON, Arrow/Feather, or a Lance folder. A
        folder may hold folders such as ``domain=films``, which name a column and its value.
    options : CsvOptions
        How a CSV is written, where that is known.
    verbatim : sequence of str, default ()
        Columns of ids.

    Returns
    -------
    list of Source
        One per file; one for everything else.

    Raises
    ------
    InvalidInput
        If a file is absent, unreadable or of an unknown format.
    """
    if isinstance(data, str | Path):
        return [
            with_constants(open_file(path, options, verbatim), constants)
            for path, constants in _expand(data)
        ]
    if isinstance(data, Source):
        return [data]
    if isinstance(data, list | tuple) and all(isinstance(i, str | Path) for i in data):
        return [source for path in data for source in open_sources(path, options, verbatim)]
    return [_open_in_memory(data)]


def _expand(pattern: str | Path) -> list[tuple[Path, dict[str, str | None]]]:
    """Return the files of a path, a folder or a glob, and the columns that folders name."""
    path = local_path(pattern)
    if path.exists():
        if path.is_dir() and path.suffix.lower() != ".lance":
            return _files_in(path)
        return [(path, {})]
    if path.is_symlink():
        raise InvalidInput(f"{path} is a link to {path.readlink()}, where there is nothing")
    names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not names:
        raise InvalidInput(f"no file matches {str(pattern)!r}; check the path")
    return [found for name in names for found in _expand(Path(name))]


def _files_in(folder: Path) -> list[tuple[Path, dict[str, str | None]]]:
    found = list(_walk(folder, {}))
    if not found:
        raise InvalidInput(f"folder {folder} holds no {', '.join(sorted(FORMATS))} file")
    return found


def _walk(
    folder: Path, constants: dict[str, str | None]
) -> Iterator[tuple[Path, dict[str, str | None]]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue  # such as _SUCCESS and .crc
        if path.suffix.lower() in FORMATS:
            yield path, constants
        elif path.is_dir() and PARTITION in path.name:
            name, _, value = path.name.partition(PARTITION)
            text = None if value == NO_PARTITION_VALUE else urllib.parse.unquote(value)
            yield from _walk(path, {**constants, urllib.parse.unquote(name): text})


def _open_in_memory(data: Any) -> Source:
    if type(data).__module__.split(".")[0] == "pandas":
        return _open_pandas(data)
    table = _as_table(data)
    if table is not None:
        return arrow_source("input", table.schema, table.to_batches, None, len(table))
    if isinstance(data, Mapping):
        data = [data]
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise InvalidInput(
            f"cannot take rows from a {type(data).__name__}; give files, an Arrow table, a pandas "
            "or polars frame, or a list of dicts"
        )
    rows: list[Row | Fault] = [
        row if isinstance(row, Mapping) else Fault(f"is a {type(row).__name__}, not a dict")
        for row in data
    ]
    return object_source("input", lambda: iter(rows))


def _as_table(data: Any) -> pa.Table | None:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if hasattr(data, "to_table"):  # a Lance or pyarrow dataset
        return data.to_table()
    if hasattr(data, "collect") and type(data).__name__ == "LazyFrame":
        raise InvalidInput("a LazyFrame has no rows yet; give frame.collect()")
    if hasattr(data, "__arrow_c_stream__"):
        _refuse_objects(data)
        try:
            return pa.table(data)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise InvalidInput(f"cannot take the frame: {first_line(error)}") from error
    return None


def _refuse_objects(frame: Any) -> None:
    """Refuse columns of Python objects in a polars frame: it would hand over their addresses."""
    dtypes = getattr(frame, "schema", None)
    if type(frame).__module__.split(".")[0] == "polars" and dtypes is not None:
        objects = [name for name, dtype in dtypes.items() if str(dtype).startswith("Object")]
        if objects:
            raise InvalidInput(
                f"column {objects[0]!r} holds Python objects, which polars does not hand over; "
                "make it text or numbers, or leave it out"
            )


def _open_pandas(data: Any) -> Source:
    """Return a pandas frame as a source; an index that has a name is a column.

    A column of objects is taken value by value, so that one value of another type is one bad row.
    """
    if not hasattr(data, "columns"):
        raise InvalidInput(f"a pandas {type(data).__name__} is no frame; give a DataFrame")
    named = [name for name in data.index.names if name is not None and name not in data.columns]
    if named:
        data = data.reset_index(level=named)
    names = check_names("input", data.columns)
    columns: dict[str, Values] = {}
    for at, name in enumerate(names):
        series = data.iloc[:, at]
        if series.dtype == object:
            columns[name] = [_object_of_pandas(value) for value in series]
        else:
            try:
                columns[name] = pa.array(series, from_pandas=True)
            except (pa.ArrowException, NotImplementedError) as error:
                raise InvalidInput(
                    f"column {name!r} is {series.dtype}, which has no type of Arrow: "
                    f"{first_line(error)}"
                ) from error
    types = {n: values.type for n, values in columns.items() if not isinstance(values, list)}
    return Source("input", names, lambda: _parts(columns, len(data)), types, rows=len(data))


def _object_of_pandas(value: Any) -> Any:
    """Return a value of a column of objects, where pandas writes NaN for a missing one."""
    value = unwrap(value)
    return None if isinstance(value, float) and value != value else value


def _parts(columns: Mapping[str, Values], rows: int) -> Chunks:
    whole = {
        name: values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        for name, values in columns.items()
    }
    yield Chunk(whole, rows)


@dataclass(frozen=True)
class TypedSource:
    """A source whose columns have types, for inputs that the space knows nothing of.

    Attributes
    ----------
    source : Source
        The rows.
    schema : pyarrow.Schema
        The type of each column: that of all its values.
    """

    source: Source
    schema: pa.Schema

    @property
    def name(self) -> str:
        """Name of the input in messages."""
        return self.source.name

    @property
    def folder(self) -> Path | None:
        """Folder that paths of images and audio are relative to."""
        return self.source.folder

    @property
    def rows(self) -> int | None:
        """Number of rows, where it is known without reading."""
        return self.source.rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Iterate over the rows.

        Raises
        ------
        InvalidInput
            If the source cannot be read to its end.
        InvalidRows
            If a row could not be read, or holds a value of another type than the other rows.
        """
        start = 0
        for chunk in self.source.read():
            arrays, problems = [], dict(self.source.faults)
            for field in self.schema:
                array, misfits = _typed(chunk.columns[field.name], field.type)
                arrays.append(array)
                problems |= {start + row: f"column {field.name!r} {w}" for row, w in misfits}
            if problems:
                raise InvalidRows(sorted(problems.items()), self.name, self.source.place)
            start += len(chunk)
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def open_typed(data: Any, text_columns: Sequence[str] = ()) -> list[TypedSource]:
    """Return the sources of an input, each with the types of its columns.

    Parameters
    ----------
    data : object
        Anything that `open_sources` takes.
    text_columns : sequence of str, default ()
        Columns that are text in a CSV, whatever their values look like.

    Raises
    ------
    InvalidInput
        If a file is absent, unreadable or of an unknown format.
    """
    sources = open_sources(data, verbatim=text_columns)
    return [TypedSource(source, _schema_of(source, text_columns)) for source in sources]


def _schema_of(source: Source, text_columns: Sequence[str]) -> pa.Schema:
    types: dict[str, pa.DataType] = dict(source.types)
    untyped = [name for name in source.columns if name not in types]
    types |= {n: pa.string() for n in untyped if n in source.spelled and n in text_columns}
    inferred = {name: TypeInference() for name in untyped if name not in types}
    if inferred:
        for chunk in source.read():
            for name, counts in inferred.items():
                counts.add(chunk.columns[name], spelled=name in source.spelled)
    types |= {name: counts.type() or pa.null() for name, counts in inferred.items()}
    return pa.schema([(name, types[name]) for name in source.columns])


def _typed(values: Values, type_: pa.DataType) -> tuple[pa.Array, list[tuple[int, str]]]:
    if not isinstance(values, list) and values.type == type_:
        return values, []
    return convert(values, type_)

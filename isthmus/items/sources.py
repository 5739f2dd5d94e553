"""Sources of items: files, globs, tables, frames and rows, all read as Arrow batches, twice.

An input is read once to be checked and once to be added, so a source can always be read again.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput, InvalidItems
from isthmus.items.media import to_data_uri

READ_ROWS = 16_384
Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Source:
    """Rows that can be read again and again.

    Attributes
    ----------
    name : str
        What messages call it.
    schema : pyarrow.Schema
        Its columns.
    read : callable
        Returns a new iterator over record batches.
    folder : Path or None
        What paths of images and audio are relative to; None stands for the working folder.
    rows : int or None
        Number of rows, where it is known without reading.
    """

    name: str
    schema: pa.Schema
    read: Callable[[], Batches]
    folder: Path | None = None
    rows: int | None = None

    def batches(self) -> Batches:
        """Read the rows.

        Raises
        ------
        InvalidInput
            If the source cannot be read to its end.
        """
        try:
            yield from self.read()
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {self.name}: {_first_line(error)}") from error


def open_sources(items: Any, verbatim: Sequence[str] = ()) -> list[Source]:
    """Open whatever holds items.

    Parameters
    ----------
    items : path, glob, list of those, pyarrow table, reader or batch, pandas or polars frame,
            Lance dataset, mapping, or iterable of mappings
        Files may be Parquet, CSV, TSV, JSON lines, JSON, Arrow/Feather, or a Lance folder.
    verbatim : sequence of str
        Columns that a CSV must keep as text.

    Returns
    -------
    list of Source
        One a file, or one for all else.

    Raises
    ------
    InvalidInput
        If a file is absent, unreadable or of an unknown kind.
    """
    if isinstance(items, (str, Path)):
        return [_open_file(path, verbatim) for path in _expand(items)]
    if (
        isinstance(items, (list, tuple))
        and items
        and all(isinstance(i, (str, Path)) for i in items)
    ):
        return [source for item in items for source in open_sources(item, verbatim)]
    if isinstance(items, (list, tuple)) and not items:
        return []
    return [_open_in_memory(items)]


def name_together(sources: Sequence[Source]) -> str:
    """Give what messages call an input of one or more sources."""
    return sources[0].name if len(sources) == 1 else f"{len(sources)} files"


def count_together(sources: Sequence[Source]) -> int | None:
    """Give the number of rows of all sources, where it is known without reading."""
    counts = [source.rows for source in sources]
    return sum(c for c in counts if c is not None) if None not in counts else None


def _is_path(item: Any) -> bool:
    return isinstance(item, (str, Path))


def _expand(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    if path.exists():
        if path.is_dir() and path.suffix != ".lance":
            return _files_of(path)
        return [path]
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    if not found:
        raise InvalidInput(f"no file matches {str(pattern)!r}; check the path")
    return [Path(name) for name in found]


def _files_of(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _READERS)
    if not found:
        raise InvalidInput(f"folder {folder} holds no {', '.join(sorted(_READERS))} file")
    return found


def _open_file(path: Path, verbatim: Sequence[str]) -> Source:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"cannot tell what {path} is; Isthmus reads {', '.join(sorted(_READERS))}"
        )
    try:
        return reader(path, verbatim)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot read {path}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _open_parquet(path: Path, verbatim: Sequence[str]) -> Source:
    import pyarrow.parquet as pq

    del verbatim
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows

    def read() -> Batches:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(READ_ROWS)

    return Source(str(path), schema, read, path.parent, rows)


def _open_arrow(path: Path, verbatim: Sequence[str]) -> Source:
    import pyarrow.dataset as pads

    del verbatim
    dataset = pads.dataset(path, format="ipc")

    def read() -> Batches:
        yield from dataset.to_batches(batch_size=READ_ROWS)

    return Source(str(path), dataset.schema, read, path.parent, dataset.count_rows())


def _open_lance(path: Path, verbatim: Sequence[str]) -> Source:
    import lance

    del verbatim
    try:
        dataset = lance.dataset(str(path))
    except ValueError as error:
        raise InvalidInput(f"cannot read {path}: {_first_line(error)}") from error

    def read() -> Batches:
        yield from dataset.to_batches(batch_size=READ_ROWS)

    return Source(str(path), dataset.schema, read, path.parent, dataset.count_rows())


def _open_csv(path: Path, verbatim: Sequence[str]) -> Source:
    import pyarrow.csv as pacsv

    parse = pacsv.ParseOptions(
        delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
    )

    def read_as(types: Mapping[str, pa.DataType]) -> Batches:
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
        with pacsv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            yield from reader

    with pacsv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    text = dict.fromkeys(names, pa.string())
    types = _narrowest_types(read_as(text), names, verbatim)
    schema = pa.schema([(name, types[name]) for name in names])
    return Source(str(path), schema, lambda: read_as(types), path.parent)


_CSV_TIMES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
_CSV_TYPES = (pa.int64(), pa.float64(), pa.bool_(), *_CSV_TIMES)
_LEADING_ZERO = r"^-?0\d"


def _narrowest_types(
    batches: Batches, names: Sequence[str], verbatim: Sequence[str]
) -> dict[str, pa.DataType]:
    """Give each column the first type that every one of its values fits, else text."""
    possible = {name: [] if name in verbatim else list(_CSV_TYPES) for name in names}
    for batch in batches:
        for name in names:
            column = batch.column(name)
            possible[name] = [type_ for type_ in possible[name] if _casts(column, type_)]
    return {name: types[0] if types else pa.string() for name, types in possible.items()}


def _casts(column: pa.Array, type_: pa.DataType) -> bool:
    number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    if number and pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py():
        return False
    try:
        column.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


def _open_json_lines(path: Path, verbatim: Sequence[str]) -> Source:
    del verbatim

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield _parse_json_line(path, number, line)

    return _rows_source(str(path), rows, path.parent)


def _parse_json_line(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path} line {number + 1} is not JSON: {error.msg}") from error
    if not isinstance(row, dict):
        raise InvalidInput(f"{path} line {number + 1} is no JSON object")
    return row


def _open_json(path: Path, verbatim: Sequence[str]) -> Source:
    del verbatim
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path} is not JSON: {error}; one object a line is a .jsonl") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidInput(f"{path} must hold a list of objects")
    return _rows_source(str(path), lambda: iter(rows), path.parent)


def _open_in_memory(items: Any) -> Source:
    table = _as_table(items)
    if table is not None:
        return Source(
            "input", table.schema, lambda: iter(table.to_batches(READ_ROWS)), None, len(table)
        )
    if isinstance(items, Mapping):
        items = [items]
    if not isinstance(items, Iterable):
        raise InvalidInput(
            f"cannot take items from a {type(items).__name__}; give files, an Arrow table, a "
            "pandas or polars frame, or a list of dicts"
        )
    rows = list(items)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidItems([(number, f"is a {type(row).__name__}, not a dict")])
    return _rows_source("input", lambda: iter(rows), None)


def _as_table(items: Any) -> pa.Table | None:
    if isinstance(items, pa.Table):
        return items
    if isinstance(items, pa.RecordBatch):
        return pa.Table.from_batches([items])
    if isinstance(items, pa.RecordBatchReader):
        return items.read_all()
    if hasattr(items, "to_table"):  # a Lance or pyarrow dataset
        return items.to_table()
    if type(items).__module__.split(".")[0] == "pandas":
        return pa.Table.from_pandas(items, preserve_index=False)
    if hasattr(items, "__arrow_c_stream__"):
        return pa.table(items)
    return None


def _rows_source(
    name: str, rows: Callable[[], Iterator[Mapping[str, Any]]], folder: Path | None
) -> Source:
    """Make a source of dicts: one pass finds the columns and their types, the next reads."""
    schema, count = pa.schema([]), 0
    for chunk in _chunks(rows()):
        found = _rows_to_table(name, count, chunk, None).schema
        schema = _unify(name, schema, found)
        count += len(chunk)

    def read() -> Batches:
        start = 0
        for chunk in _chunks(rows()):
            yield from _rows_to_table(name, start, chunk, schema).to_batches()
            start += len(chunk)

    return Source(name, schema, read, folder, count)


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while chunk := list(islice(rows, READ_ROWS)):
        yield chunk


def _unify(name: str, known: pa.Schema, found: pa.Schema) -> pa.Schema:
    try:
        return pa.unify_schemas([known, found], promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise InvalidInput(f"{name} mixes types in one column: {_first_line(error)}") from error


def _rows_to_table(
    name: str, start: int, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None
) -> pa.Table:
    columns = schema.names if schema else list(dict.fromkeys(key for row in rows for key in row))
    return pa.table(
        {
            column: _column(
                name, start, column, rows, schema.field(column).type if schema else None
            )
            for column in columns
        }
    )


_NO_ARRAY = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


def _column(
    name: str, start: int, column: str, rows: Sequence[Mapping[str, Any]], type_: pa.DataType | None
) -> pa.Array:
    values = [row.get(column) for row in rows]
    if {bytes, str} <= set(map(type, values)):
        values = [to_data_uri(value) if isinstance(value, bytes) else value for value in values]
    try:
        return pa.array(values, type_)
    except _NO_ARRAY as error:
        row, value = _odd_one(values, type_)
        kind = type(value).__name__
        problem = f"column {column!r} holds {value!r} ({kind}), not the type of the rows before it"
        if isinstance(error, UnicodeEncodeError):
            problem = f"column {column!r} holds {value!r}, which is no valid Unicode"
        raise InvalidItems([(start + row, problem)], name) from error


def _odd_one(values: Sequence[Any], type_: pa.DataType | None) -> tuple[int, Any]:
    """Find the first value that no longer fits with those before it."""
    low, high = 0, len(values)
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle], type_)
            low = middle
        except _NO_ARRAY:
            high = middle
    return low, values[low]


_READERS: dict[str, Callable[[Path, Sequence[str]], Source]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".json": _open_json,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
    ".lance": _open_lance,
}

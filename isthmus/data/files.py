"""Files of rows: read in each format that Isthmus knows, and results written as Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from isthmus.data.sources import BATCH_ROWS, Batches, Row, Source, rows_source
from isthmus.errors import InvalidInput, first_line

# Types of a CSV column, narrowest first; a column that fits none of them is text.
_CSV_TYPES = (
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.date32(),
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
)
_LEADING_ZERO = r"^-?0\d"


def open_file(path: Path, text_columns: Sequence[str] = ()) -> Source:
    """Return a file, or a Lance folder, as a source.

    Parameters
    ----------
    path : Path
        The file; its suffix names the format.
    text_columns : sequence of str, default ()
        Columns that are text in a CSV, whatever their values look like.

    Raises
    ------
    InvalidInput
        If the file is unreadable, or of an unknown format.
    """
    open_format = FORMATS.get(path.suffix.lower())
    if open_format is None:
        raise InvalidInput(
            f"cannot tell what {path} is; Isthmus reads {', '.join(sorted(FORMATS))}"
        )
    try:
        return open_format(path, text_columns)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error


def _open_parquet(path: Path, text_columns: Sequence[str]) -> Source:
    del text_columns
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows

    def read() -> Batches:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS)

    return Source(str(path), schema, read, path.parent, rows)


def _open_arrow(path: Path, text_columns: Sequence[str]) -> Source:
    import pyarrow.dataset as pads  # takes most of a second, and only these files need it

    del text_columns
    return _dataset_source(path, pads.dataset(path, format="ipc"))


def _open_lance(path: Path, text_columns: Sequence[str]) -> Source:
    import lance

    del text_columns
    try:
        return _dataset_source(path, lance.dataset(str(path)))
    except ValueError as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error


def _dataset_source(path: Path, dataset: Any) -> Source:
    def read() -> Batches:
        yield from dataset.to_batches(batch_size=BATCH_ROWS)

    return Source(str(path), dataset.schema, read, path.parent, dataset.count_rows())


def _open_json_lines(path: Path, text_columns: Sequence[str]) -> Source:
    del text_columns

    def rows() -> Iterator[Row]:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield _parse_json_line(path, number, line)

    return rows_source(str(path), rows, path.parent)


def _parse_json_line(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path} line {number + 1} is not JSON: {error.msg}") from error
    if not isinstance(row, dict):
        raise InvalidInput(f"{path} line {number + 1} is no JSON object")
    return row


def _open_json(path: Path, text_columns: Sequence[str]) -> Source:
    del text_columns
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path} is not JSON: {error}; one object a line is a .jsonl") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidInput(f"{path} must hold a list of objects")
    return rows_source(str(path), lambda: iter(rows), path.parent)


def _open_csv(path: Path, text_columns: Sequence[str]) -> Source:
    """Return a CSV or TSV; each column has the narrowest type that fits all its values."""
    parse = pacsv.ParseOptions(
        delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
    )

    def read_as(types: Mapping[str, pa.DataType]) -> Batches:
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
        with pacsv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            yield from reader

    with pacsv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    all_text = dict.fromkeys(names, pa.string())
    types = _narrowest_types(read_as(all_text), names, text_columns)
    schema = pa.schema([(name, types[name]) for name in names])
    return Source(str(path), schema, lambda: read_as(types), path.parent)


def _narrowest_types(
    batches: Batches, names: Sequence[str], text_columns: Sequence[str]
) -> dict[str, pa.DataType]:
    """Return for each column the first type that every one of its values fits, else text."""
    candidates = {name: [] if name in text_columns else list(_CSV_TYPES) for name in names}
    for batch in batches:
        for name in names:
            column = batch.column(name)
            candidates[name] = [type_ for type_ in candidates[name] if _fits(column, type_)]
    return {name: types[0] if types else pa.string() for name, types in candidates.items()}


def _fits(column: pa.Array, type_: pa.DataType) -> bool:
    is_number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    # "007" is a code and not the number 7.
    if is_number and pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py():
        return False
    try:
        column.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


FORMATS: dict[str, Callable[[Path, Sequence[str]], Source]] = {
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


@contextmanager
def writing_parquet(out: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file batch by batch; it gets its name only when the body has succeeded.

    Raises
    ------
    InvalidInput
        If the file cannot be written.
    """
    partial = out.with_name(f".{out.name}.part")
    try:
        writer = pq.ParquetWriter(partial, schema)
    except OSError as error:
        raise InvalidInput(f"cannot write {out}: {error}") from error
    try:
        with writer:
            yield writer
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(table: pa.Table, out: Path) -> None:
    """Write a whole table to a Parquet file, see `writing_parquet`."""
    with writing_parquet(out, table.schema) as writer:
        writer.write_table(table)

"""Files of rows: read in each format that Isthmus knows, and results written as Parquet."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.data.csv_files import open_csv
from isthmus.data.lance_library import batches_of, lance_library
from isthmus.data.paths import require_file
from isthmus.data.request import DEFAULTS, CsvOptions
from isthmus.data.sources import (
    BATCH_ROWS,
    Fault,
    Row,
    Source,
    arrow_source,
    object_source,
    repeated,
)
from isthmus.errors import InvalidInput, first_line


def open_file(path: Path, options: CsvOptions = DEFAULTS, verbatim: Sequence[str] = ()) -> Source:
    """Return a file, or a Lance folder, as a source.

    Parameters
    ----------
    path : Path
        The file; its suffix names the format.
    options : CsvOptions
        How a CSV is written, where that is known.
    verbatim : sequence of str
        Columns of ids.

    Raises
    ------
    InvalidInput
        If the file is unreadable, or of an unknown format.
    """
    suffix = path.suffix.lower()
    open_format = FORMATS.get(suffix)
    if open_format is None:
        remedy = OTHER_FORMATS.get(suffix, "").format(shlex.quote(str(path)))
        raise InvalidInput(
            f"cannot tell what {path} is; Isthmus reads {', '.join(sorted(FORMATS))}{remedy}"
        )
    try:
        if suffix != LANCE:
            require_file(path)
        if suffix in CSV_SUFFIXES:
            return open_csv(path, options, verbatim)
        return open_format(path)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error


def _open_parquet(path: Path) -> Source:
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows

    def batches() -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS)

    return arrow_source(str(path), schema, batches, path.parent, rows)


def _open_arrow(path: Path) -> Source:
    import pyarrow.dataset as pads  # takes most of a second, and only these files need it

    return _dataset_source(path, pads.dataset(path, format="ipc"))


def _open_lance(path: Path) -> Source:
    try:
        return _dataset_source(path, lance_library().dataset(str(path)))
    except ValueError as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error


def _dataset_source(path: Path, dataset: Any) -> Source:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from batches_of(dataset, batch_size=BATCH_ROWS)

    return arrow_source(str(path), dataset.schema, batches, path.parent, dataset.count_rows())


def _open_json_lines(path: Path) -> Source:
    lines: list[int] = []  # the line of each row, where blank lines make it differ

    def rows() -> Iterator[Row | Fault]:
        row = 0
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    if row == len(lines):  # in the first pass
                        lines.append(number)
                    row += 1
                    yield _parse_json_line(line)

    return object_source(str(path), rows, path.parent, lambda row: f"line {lines[row]}")


def _parse_json_line(line: str) -> Row | Fault:
    try:
        row = json.loads(line, object_pairs_hook=_to_object)
    except _NameTwice as error:
        return Fault(str(error))
    except (json.JSONDecodeError, RecursionError) as error:
        return Fault(f"is not JSON: {getattr(error, 'msg', 'nested too deep')}")
    return row if isinstance(row, dict) else Fault("is no JSON object")


class _NameTwice(ValueError):
    """A JSON object names one key twice."""


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _NameTwice(f"has {repeated(name for name, _ in pairs)[0]!r} twice")
    return made


def _open_json(path: Path) -> Source:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_to_object)
    except _NameTwice as error:
        raise InvalidInput(f"{path}: an object {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}; one object a line is a .jsonl") from error
    if not isinstance(rows, list):
        raise InvalidInput(f"{path} must hold a list of objects")
    read = [row if isinstance(row, dict) else Fault("is no JSON object") for row in rows]
    return object_source(str(path), lambda: iter(read), path.parent)


def _open_csv(path: Path) -> Source:
    return open_csv(path)


CSV_SUFFIXES = (".csv", ".tsv")
LANCE = ".lance"  # a folder
# What to do with files that hold rows in another form; the placeholder is the file.
OTHER_FORMATS = {
    ".gz": "; unpack it first: gunzip {}",
    ".bz2": "; unpack it first: bunzip2 {}",
    ".xz": "; unpack it first: unxz {}",
    ".zst": "; unpack it first: unzstd {}",
    ".zip": "; unpack it first: unzip {}",
    ".xls": "; save it as CSV first",
    ".xlsx": "; save it as CSV first",
    ".ods": "; save it as CSV first",
}
FORMATS: dict[str, Callable[[Path], Source]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".csv": _open_csv,
    ".tsv": _open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".json": _open_json,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
    LANCE: _open_lance,
}


@contextmanager
def writing_parquet(out: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file batch by batch; it gets its name only when the body has succeeded.

    Raises
    ------
    InvalidInput
        If the file cannot be written, or its name says that it is of another format.
    """
    if FORMATS.get(out.suffix.lower(), _open_parquet) is not _open_parquet:
        raise InvalidInput(
            f"{out} would be a Parquet file, whatever its name says; call it "
            f"{out.with_suffix('.parquet').name}"
        )
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

"""The files that items come in, each opened by how its name ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.csv_files import open_csv
from isthmus.data.dict_rows import rows_source
from isthmus.data.source import READ_ROWS, Batches, Source
from isthmus.errors import InvalidInput, first_line


def open_file(path: Path, verbatim: Sequence[str]) -> Source:
    """Open a file, or a Lance folder; a CSV keeps some columns as text.

    Raises
    ------
    InvalidInput
        If it is unreadable, or of an unknown kind.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"cannot tell what {path} is; Isthmus reads {', '.join(sorted(READERS))}"
        )
    try:
        return reader(path, verbatim)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error


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
        raise InvalidInput(f"cannot read {path}: {first_line(error)}") from error

    def read() -> Batches:
        yield from dataset.to_batches(batch_size=READ_ROWS)

    return Source(str(path), dataset.schema, read, path.parent, dataset.count_rows())


def _open_json_lines(path: Path, verbatim: Sequence[str]) -> Source:
    del verbatim

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield _parse_json_line(path, number, line)

    return rows_source(str(path), rows, path.parent)


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
    return rows_source(str(path), lambda: iter(rows), path.parent)


READERS: dict[str, Callable[[Path, Sequence[str]], Source]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".json": _open_json,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
    ".lance": _open_lance,
}

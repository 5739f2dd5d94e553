"""Files of rows, read here and sent to a service as they are.

The service reads a file by its media type as it would read one of its own, so that types, ids and
missing values come out the same. Where rows name pictures or audio by paths of this machine, their
bytes are sent in the rows.
"""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.api.operations import BY_NAME
from isthmus.api.tables import MEDIA_TYPES, OF_CSV, SEPARATED
from isthmus.api.values import dump
from isthmus.client.wire import Call, prefix_of, query_of
from isthmus.data.media import is_reference, to_data_uri
from isthmus.data.paths import local_path
from isthmus.errors import InvalidInput, UnsupportedOperation

MEDIA: Final = ("image", "audio")


def files_of(given: Any) -> list[Path] | None:
    """Return the files that an argument names; None where it is no path.

    Raises
    ------
    InvalidInput
        If there is no such file, or it is a folder.
    """
    if isinstance(given, str | Path):
        given = [given]
    if not isinstance(given, list | tuple) or not given:
        return None
    if not all(isinstance(one, str | Path) for one in given):
        return None
    return [file for one in given for file in _expanded(one)]


def _expanded(given: str | Path) -> list[Path]:
    path = local_path(given)
    if path.is_dir():
        raise UnsupportedOperation(
            f"{path} is a folder, which does not go over HTTP; give its files, such as "
            f"{path}/*.parquet"
        )
    if path.exists():
        return [path]
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not found:
        raise InvalidInput(f"no file matches {str(given)!r}; check the path")
    return found


def make_file_call(
    name: str, argument: str, file: Path, arguments: Mapping[str, Any], space: str | None
) -> Call:
    """Return the request that sends a file.

    Parameters
    ----------
    name : str
        The verb.
    argument : str
        Which of its arguments the file is.
    file : Path
        The file.
    arguments : mapping of str to object
        The others.
    space : str or None
        The space, where the service has several.

    Raises
    ------
    InvalidInput
        If the file cannot be read, or an argument is not valid.
    UnsupportedOperation
        If the service does not offer an argument, or no files of this format.
    """
    operation = BY_NAME[name]
    suffix = file.suffix.lower()
    kind = MEDIA_TYPES.get(suffix)
    if kind is None:
        raise UnsupportedOperation(
            f"{file} cannot be sent; a service takes {', '.join(sorted(MEDIA_TYPES))}"
        )
    assert operation.request is not None
    request = operation.request.of({**arguments, argument: []})
    given = {key: getattr(request, key) for key in request.model_fields_set if key != argument}
    for key in given:
        if key in operation.omit and not (key in OF_CSV and kind in SEPARATED):
            raise UnsupportedOperation(f"{key} is not offered over HTTP for {file.name}")
    columns = [str(given.get(media) or media) for media in MEDIA] if argument == "items" else []
    try:
        body = _body_of(file, suffix, columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInput(f"cannot read {file}: {error}") from error
    path = f"{prefix_of(space)}{operation.path}{query_of(given)}"
    return Call(operation, path, body, kind)


def joined(reports: Sequence[Any]) -> Any:
    """Return one report of several files: sums of numbers, everything of lists and mappings."""
    values: dict[str, Any] = {}
    for field in fields(reports[0]):
        given = [getattr(report, field.name) for report in reports]
        values[field.name] = _joined(given)
    return type(reports[0])(**values)


def _joined(given: Sequence[Any]) -> Any:
    first = given[0]
    if isinstance(first, bool):
        return any(given)
    if isinstance(first, int | float):
        return sum(given)
    if isinstance(first, list):
        return [one for part in given for one in part]
    if isinstance(first, dict):
        whole: dict[str, Any] = {}
        for part in given:
            for key, value in part.items():
                both = isinstance(value, int) and key in whole
                whole[key] = whole[key] + value if both else value
        return whole
    return first


def _body_of(file: Path, suffix: str, media: Sequence[str]) -> bytes:
    """Return what is sent of a file: its bytes, unless its rows name files of this machine."""
    if suffix in (".csv", ".tsv"):
        return file.read_bytes()
    if suffix in (".parquet", ".pq"):
        names = pq.read_schema(file).names
        if not any(name in names for name in media):
            return file.read_bytes()
        table = _with_bytes(pq.read_table(file), media, file.parent)
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()
    if suffix in (".arrow", ".feather"):
        with pa.memory_map(str(file)) as source:
            return _as_stream(_with_bytes(pa.ipc.open_file(source).read_all(), media, file.parent))
    text = file.read_text(encoding="utf-8-sig")
    rows = json.loads(text) if suffix == ".json" else _lines(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is no list of JSON objects")
    embed = _embedding(file.parent)
    lines = [
        dump({key: embed(value) if key in media else value for key, value in row.items()})
        for row in rows
    ]
    return b"\n".join(lines)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _as_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _with_bytes(table: pa.Table, media: Iterable[str], folder: Path) -> pa.Table:
    """Return a table whose paths of pictures and audio are data URIs."""
    embed = _embedding(folder)
    for name in media:
        if name in table.column_names and pa.types.is_string(table.schema.field(name).type):
            values = pa.array([embed(value) for value in table.column(name).to_pylist()])
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def _embedding(folder: Path) -> Callable[[Any], Any]:
    """Return what makes a data URI of the path of a file that is there; all else stays."""

    def embed(value: Any) -> Any:
        if not isinstance(value, str) or not value or is_reference(value):
            return value
        path = folder / value
        return to_data_uri(path.read_bytes()) if path.is_file() else value

    return embed

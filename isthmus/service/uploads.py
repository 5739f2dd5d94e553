"""Tables in bodies: rows in memory, or a file where they are many or a job takes them.

A body that is larger than other bodies may be, and one that a client wants a job for
(``Prefer: respond-async``), goes into a file of the space, which the job reads and removes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import pyarrow as pa
from starlette.types import Receive

from isthmus.api.bodies import parse_body, parse_query
from isthmus.api.operations import Operation
from isthmus.api.tables import (
    ARROW,
    NDJSON,
    OF_CSV,
    PARQUET,
    SEPARATED,
    SUFFIXES,
    TABLES,
)
from isthmus.api.values import dump
from isthmus.data.request import CsvOptions
from isthmus.durable import make_folder
from isthmus.errors import InvalidInput
from isthmus.service.inputs import JSON, ClientGone, Headers, parse_rows, read_body
from isthmus.service.limits import require_size
from isthmus.service.settings import Limits

FOLDER: Final = Path(".service") / "uploads"
ONLY_FILES: Final = (PARQUET, *SEPARATED)
PREFER: Final = "respond-async"
KEPT_S: Final = 86_400.0  # of a file that nobody came for
WRITTEN_AT_ONCE: Final = 2**20


@dataclass(frozen=True)
class Upload:
    """A table that stands in a file.

    Attributes
    ----------
    argument : str
        Which argument of the verb it is.
    path : Path
        The file.
    as_job : bool
        Whether a job takes it.
    """

    argument: str
    path: Path
    as_job: bool

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def table_argument(operation: Operation, headers: Headers) -> str | None:
    """Return the argument that a body is a table of; None for any other body."""
    argument = TABLES.get(operation.name)
    kind = media_type(headers)
    return argument if kind in SUFFIXES or (kind == JSON and prefers_job(headers)) else None


def media_type(headers: Headers) -> str:
    """Return the media type of a body, without parameters."""
    return headers.get("content-type", JSON).partition(";")[0].strip().lower()


def prefers_job(headers: Headers) -> bool:
    """Return whether a client asks not to wait (RFC 7240)."""
    preferences = headers.get("prefer", "").split(",")
    return any(one.partition(";")[0].strip().lower() == PREFER for one in preferences)


async def receive_table(
    operation: Operation,
    headers: Headers,
    query: bytes,
    receive: Receive,
    limits: Limits,
    space: Path,
) -> tuple[dict[str, Any], Upload | None]:
    """Return the arguments of a request whose body is a table, and the file that holds it, if any.

    Raises
    ------
    InvalidInput
        If they are not valid.
    RequestTooLarge
        If the table is larger than the limit.
    """
    argument, kind = TABLES[operation.name], media_type(headers)
    arguments = {} if kind == JSON else _arguments(operation, query, argument, kind)
    if kind == JSON:
        body = await read_body(headers, receive, limits)
        arguments = await asyncio.to_thread(parse_body, operation, body)
        lines = b"".join(dump(row) + b"\n" for row in arguments.pop(argument))
        return arguments, await asyncio.to_thread(_store, lines, argument, space, NDJSON)
    as_job = prefers_job(headers)
    stated = headers.get("content-length", "")
    if stated.isdecimal():
        require_size(int(stated), limits.max_upload_bytes)
    path: Path | None = None
    parts: list[bytes] = []
    size, kept = 0, 0
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size, kept = size + len(part), kept + len(part)
            require_size(size, limits.max_upload_bytes)
            parts.append(part)
            more = message.get("more_body", False)
            large = size > limits.max_body_bytes
            if (large and kept >= WRITTEN_AT_ONCE) or (
                not more and (large or as_job or kind in ONLY_FILES)
            ):
                path = path or new_path(space, kind)
                await asyncio.to_thread(_append, path, b"".join(parts))
                parts, kept = [], 0
    except BaseException:
        if path is not None:
            path.unlink(missing_ok=True)
        raise
    if path is not None:
        return arguments, Upload(argument, path, as_job or size > limits.max_body_bytes)
    rows = await asyncio.to_thread(parse_rows, kind, b"".join(parts))
    return {**arguments, argument: rows}, None


def read_upload(path: Path) -> Any:
    """Return what a verb takes of a file: a table of an Arrow stream, or else the file.

    Raises
    ------
    InvalidInput
        If it is no stream of Arrow record batches.
    """
    if path.suffix != SUFFIXES[ARROW]:
        return path
    with pa.memory_map(str(path)) as file:
        return parse_rows(ARROW, file.read_buffer())


def new_path(space: Path, kind: str) -> Path:
    """Return where a table of a space may be put; files that nobody came for are removed."""
    folder = space / FOLDER
    make_folder(folder)
    for left in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > KEPT_S:
                left.unlink()
    return folder / f"{secrets.token_hex(8)}{SUFFIXES[kind]}"


def _arguments(operation: Operation, query: bytes, argument: str, kind: str) -> dict[str, Any]:
    """Return the arguments that stand behind the question mark."""
    try:
        given = parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise InvalidInput(f"what follows the question mark cannot be read: {error}") from error
    if kind not in SEPARATED:
        return parse_query(operation, given, given=argument)
    written = {name: given.pop(name) for name in OF_CSV if name in given}
    values: dict[str, Any] = {
        name: tuple(texts) if name == "null_values" else texts[-1]
        for name, texts in written.items()
    }
    options = CsvOptions(**values)
    return parse_query(operation, given, given=argument) | {
        name: getattr(options, name) for name in options.model_fields_set
    }


def _store(body: bytes, argument: str, space: Path, kind: str) -> Upload:
    path = new_path(space, kind)
    _append(path, body)
    return Upload(argument, path, as_job=True)


def _append(path: Path, body: bytes) -> None:
    with path.open("ab") as file:
        file.write(body)

"""Bodies of requests: read within the limit, and made the arguments of the operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import parse_qs

import pyarrow as pa
from starlette.datastructures import Headers as FormHeaders
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope

from isthmus.api.bodies import parse_body, parse_query
from isthmus.api.operations import Operation
from isthmus.api.tables import ARROW
from isthmus.errors import InvalidInput
from isthmus.service.limits import require_size
from isthmus.service.settings import Limits

Headers = dict[str, str]

JSON: Final = "application/json"
QUICKLY_PARSED: Final = 2**16  # bytes; longer bodies would keep the event loop
MULTIPART: Final = "multipart/form-data"
REQUEST_PART: Final = "request"
FILE_PARTS: Final = ("image", "audio")


def headers_of(scope: Scope) -> Headers:
    """Return the headers of a request by their names in lower case; the last of one name."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(headers: Headers, receive: Receive, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises
    ------
    RequestTooLarge
        If it is larger than the limit, as it says or as it turns out.
    ClientGone
        If it ends before its end.
    """
    stated = headers.get("content-length", "")
    if stated.isdecimal():
        require_size(int(stated), limits.max_body_bytes)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        require_size(size, limits.max_body_bytes)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class ClientGone(Exception):
    """The client left before its request was there; nobody waits for an answer."""


async def parse_arguments(
    operation: Operation, headers: Headers, query: bytes, body: bytes
) -> dict[str, Any]:
    """Return the arguments of a request.

    Raises
    ------
    InvalidInput
        If they are not valid, or of a media type that the operation does not take.
    """
    if not operation.has_body:
        return parse_query(operation, _query(query))
    kind = headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind == JSON:
        if len(body) <= QUICKLY_PARSED:
            return parse_body(operation, body)
        return await asyncio.to_thread(parse_body, operation, body)
    if kind == MULTIPART and operation.name in ("search", "search_groups"):
        return await _from_parts(operation, headers, body)
    raise InvalidInput(f"a body of type {kind[:60]!r} cannot be read here; send {JSON}")


def _query(query: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise InvalidInput(f"what follows the question mark cannot be read: {error}") from error


def parse_rows(kind: str, body: bytes | pa.Buffer) -> Any:
    """Return the rows of JSON lines, or the table of an Arrow stream.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    return _from_arrow(body) if kind == ARROW else _from_lines(bytes(body))


def _from_lines(body: bytes) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"line {number} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise InvalidInput(f"line {number} is no JSON object; give one on each line")
            rows.append(row)
    return rows


def _from_arrow(body: bytes | pa.Buffer) -> pa.Table:
    try:
        table = pa.ipc.open_stream(body).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"the body is no stream of Arrow record batches: {error}") from error
    return table


async def _from_parts(operation: Operation, headers: Headers, body: bytes) -> dict[str, Any]:
    """Return the arguments of the part ``request``, and the files beside it."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(
            FormHeaders(headers), chunks(), max_files=2, max_fields=1, max_part_size=len(body)
        ).parse()
    except (MultiPartException, KeyError) as error:
        raise InvalidInput(f"the parts of the body cannot be read: {error}") from error
    unknown = set(form) - {REQUEST_PART, *FILE_PARTS}
    if unknown:
        raise InvalidInput(
            f"there is no part {min(unknown)[:60]!r}; give {REQUEST_PART} (JSON), and image or "
            "audio (files)"
        )
    request = form.get(REQUEST_PART, "{}")
    text = await request.read() if isinstance(request, UploadFile) else request.encode()
    arguments = parse_body(operation, text)
    for name in FILE_PARTS:
        part = form.get(name)
        if part is not None:
            arguments[name] = await part.read() if isinstance(part, UploadFile) else part.encode()
    await form.close()
    return arguments

"""Calls of verbs as requests, and answers as results; it sends nothing itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NoReturn
from urllib.parse import quote

from isthmus.api.answers import ANSWERS
from isthmus.api.bodies import argument_fields
from isthmus.api.operations import BY_NAME, PREFIX, Operation
from isthmus.api.problems import error_of
from isthmus.api.values import TYPED, dump, load
from isthmus.client.arguments import encode_argument
from isthmus.errors import ServiceError, UnsupportedOperation, warn
from isthmus.ids import to_id
from isthmus.requests import is_default
from isthmus.space import Space

JSON: Final = "application/json"
# How a call runs, and not what it does.
LOCAL: Final = ("progress",)
ACCEPTED: Final = 202
SHOWN: Final = 200  # characters of an answer that is none


@dataclass(frozen=True)
class Call:
    """A request that carries out a verb.

    Attributes
    ----------
    operation : Operation
        Which.
    path : str
        Path of the address, with what stands behind the question mark.
    body : bytes or None
        What is sent.
    media_type : str
        Of the body.
    """

    operation: Operation
    path: str
    body: bytes | None
    media_type: str = JSON

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        headers = {"accept": f"{TYPED}, {JSON}"}
        return headers if self.body is None else {**headers, "content-type": self.media_type}


class Job(dict[str, Any]):
    """A job that was started, or asked for: its members."""


def make_call(name: str, arguments: Mapping[str, Any], space: str | None) -> Call:
    """Return the request of a verb.

    Parameters
    ----------
    name : str
        The verb.
    arguments : mapping of str to object
        Those that were given, by name.
    space : str or None
        The space, where the service has several.

    Raises
    ------
    InvalidInput
        If an argument is not valid, in the words of the verb.
    UnsupportedOperation
        If the service does not offer an argument.
    """
    operation = BY_NAME[name]
    given = {key: value for key, value in arguments.items() if key not in LOCAL}
    path = operation.path
    for field in operation.in_path:
        path = path.replace(f"{{{field}}}", quote(to_id(given.pop(field), "id"), safe=""))
    encoded = _encoded(operation, given)
    path = f"{prefix_of(space)}{path}"
    if operation.has_body:
        return Call(operation, path, dump(encoded))
    return Call(operation, f"{path}{query_of(encoded)}", None)


def prefix_of(space: str | None) -> str:
    """Return what the paths of a space begin with."""
    return PREFIX if space is None else f"{PREFIX}/spaces/{quote(space, safe='')}"


def query_of(encoded: Mapping[str, Any]) -> str:
    """Return arguments behind a question mark; nothing for none."""
    query = "&".join(
        f"{quote(name)}={quote(_as_text(one), safe='')}"
        for name, value in encoded.items()
        for one in (value if isinstance(value, list | tuple) else [value])
    )
    return f"?{query}" if query else ""


def _encoded(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON has them; those that are the default are left out."""
    if operation.request is not None:
        # Validated here as there, so that what cannot be sent is refused in the same words.
        request = operation.request.of({**_placeholders(operation), **given})
        given = {
            name: getattr(request, name)
            for name in request.model_fields_set
            if name not in operation.in_path
        }
    else:
        defaults = {name: f.default for name, f in argument_fields(operation).items()}
        given = {n: v for n, v in given.items() if not is_default(v, defaults.get(n))}
    for name in given:
        if name in operation.omit or name not in argument_fields(operation):
            raise UnsupportedOperation(f"{name} is not offered over HTTP; leave it out")
    return {name: encode_argument(operation.name, name, value) for name, value in given.items()}


def _placeholders(operation: Operation) -> dict[str, str]:
    return dict.fromkeys(operation.in_path, "x")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_answer(call: Call, status: int, content_type: str, body: bytes) -> Any:
    """Return the result of an answer.

    Raises
    ------
    IsthmusError
        The one that the answer describes; the exception that the verb would raise.
    """
    if status >= 400:
        _raise_problem(status, body)
    if not content_type.startswith(JSON):
        raise ServiceError(f"the service answers with {content_type[:60]!r} and not with {JSON}")
    try:
        document = load(body)
    except ValueError as error:
        raise ServiceError(f"the answer of the service cannot be read: {error}") from error
    if status == ACCEPTED or call.operation.answer == "job":
        return Job(ANSWERS["job"].read(document))
    result = ANSWERS[call.operation.answer].read(document)
    for note in getattr(result, "notes", ()) if call.operation.reads else ():
        warn(note)
    return result


def _raise_problem(status: int, body: bytes) -> NoReturn:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "detail" in problem:
        raise error_of(problem)
    shown = body[:SHOWN].decode("utf-8", "replace")
    raise ServiceError(f"the service answers with the status {status}: {shown}")


@cache
def signature_of(name: str) -> inspect.Signature:
    """Return the signature of a verb."""
    return inspect.signature(inspect.unwrap(getattr(Space, name)))


def bind(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name.

    Raises
    ------
    TypeError
        As Python does, if they do not fit the signature.
    """
    bound = signature_of(name).bind(None, *args, **kwargs)
    return {key: value for key, value in bound.arguments.items() if key != "self"}

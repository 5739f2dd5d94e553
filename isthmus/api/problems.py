"""Errors over HTTP: ``application/problem+json`` (RFC 9457), with the texts of Python.

`STATUS` is the one place that says which status an error has. A client makes the same exception of
the answer that the verb would raise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from isthmus import errors
from isthmus.errors import IsthmusError
from isthmus.terminal import shortened

MEDIA_TYPE: Final = "application/problem+json"
MAX_DETAIL: Final = 2_000  # characters
MAX_PROBLEMS: Final = 100

STATUS: Final[Mapping[type[IsthmusError], int]] = {
    errors.IsthmusError: 500,
    errors.InvalidRows: 422,
    errors.InvalidItems: 422,
    errors.InvalidInteractions: 422,
    errors.InvalidUsers: 422,
    errors.InvalidMapping: 422,
    errors.InvalidInput: 422,
    errors.InvalidMedia: 422,
    errors.InvalidImage: 422,
    errors.InvalidAudio: 422,
    errors.InvalidFilter: 422,
    errors.UnknownEncoder: 422,
    errors.UnsupportedModality: 422,
    errors.MissingDependency: 501,
    errors.FingerprintMismatch: 409,
    errors.ItemNotFound: 404,
    errors.SpaceNotFound: 503,
    errors.SpaceExists: 409,
    errors.SpaceLocked: 503,
    errors.UnsupportedFormat: 500,
    errors.ReleaseNotFound: 404,
    errors.CorruptRelease: 500,
    errors.CorruptTable: 500,
    errors.CorruptAlignment: 500,
    errors.BackupNotFound: 404,
    errors.CorruptBackup: 500,
    errors.ReleaseRejected: 409,
    errors.ImpossibleTargets: 422,
    errors.UnsupportedOperation: 501,
    errors.ServiceError: 502,
    errors.MalformedAnswer: 502,
    errors.ServiceRefusal: 502,
    errors.PartlyEncoded: 502,
    errors.InvalidKey: 401,
    errors.AccessDenied: 403,
    errors.UnknownRoute: 404,
    errors.RequestTooLarge: 413,
    errors.Busy: 503,
    errors.TooManyRequests: 429,
}
CLASSES: Final = {cls.__name__: cls for cls in STATUS}
INTERNAL: Final = (
    "the service failed to answer this request; its log says why, under the id of the request"
)


def status_of(error: IsthmusError) -> int:
    """Return the status of an error: that of its class, or of the nearest base."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def name_of(error: IsthmusError) -> str:
    """Return the name of an error that clients know."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls in STATUS)


def retry_after(error: IsthmusError) -> int | None:
    """Return after how many seconds a client may try again; None where that is of no use."""
    if isinstance(error, errors.Busy):
        return max(1, math.ceil(error.retry_after_s))
    return 1 if isinstance(error, errors.SpaceLocked) else None


def problem_of(
    error: IsthmusError, request_id: str, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a client is told of an error.

    Parameters
    ----------
    error : IsthmusError
        The error.
    request_id : str
        Id of the request.
    names : mapping of str to str, optional
        What stands in the place of paths of this machine.
    """
    name = name_of(error)
    problem: dict[str, Any] = {
        "type": f"urn:isthmus:problem:{_dashed(name)}",
        "title": _dashed(name).replace("-", " ").capitalize(),
        "status": status_of(error),
        "detail": shortened(without_paths(str(error), names or {}), MAX_DETAIL),
        "error": name,
        "request_id": request_id,
    }
    if isinstance(error, errors.InvalidRows):
        problem["source"] = without_paths(error.source, names or {})
        problem["problems"] = [
            [row, shortened(without_paths(what, names or {}))]
            for row, what in error.problems[:MAX_PROBLEMS]
        ]
    if isinstance(error, errors.Busy):
        problem["retry_after_s"] = error.retry_after_s
    return problem


def internal_problem(request_id: str) -> dict[str, Any]:
    """Return what a client is told of a failure that was not raised on purpose."""
    return {
        "type": "urn:isthmus:problem:internal",
        "title": "Internal",
        "status": 500,
        "detail": INTERNAL,
        "error": "ServiceError",
        "request_id": request_id,
    }


def without_paths(text: str, names: Mapping[str, str]) -> str:
    """Return a text with the paths of this machine replaced by names.

    Examples
    --------
    >>> without_paths("publish --space /srv/shop.space/x", {"/srv/shop.space": "shop"})
    'publish --space shop/x'
    """
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path])
    return text


def error_of(problem: Mapping[str, Any]) -> IsthmusError:
    """Return the exception that an answer describes."""
    name, detail = problem.get("error"), str(problem.get("detail", "the service gives no reason"))
    cls = CLASSES.get(str(name), errors.ServiceError)
    if issubclass(cls, errors.PartlyEncoded):
        cls = errors.ServiceError
    error = cls.__new__(cls)
    error.args = (detail,)
    if isinstance(error, errors.InvalidRows):
        error.problems = tuple((int(row), str(what)) for row, what in problem.get("problems", ()))
        error.source = str(problem.get("source", "input"))
    if isinstance(error, errors.Busy):
        error.retry_after_s = float(problem.get("retry_after_s", 1.0))
    return error


def _dashed(name: str) -> str:
    """Return a name in lower case.

    Examples
    --------
    >>> _dashed("ItemNotFound")
    'item-not-found'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()

"""One request and its answer, as the parts of the service and its observers see it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus.api.operations import Operation
from isthmus.service.keys import Key
from isthmus.service.spaces import ServedSpace
from isthmus.service.uploads import Upload

REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


@dataclass(eq=False)
class Exchange:
    """A request, and what became of it so far.

    Attributes
    ----------
    request_id : str
        Its id: that which came with it, or a new one.
    method : str
        Of HTTP.
    started : float
        When it came, by `time.perf_counter`.
    operation : Operation or None
        Which was asked for.
    key : Key or None
        Whose it is.
    space : ServedSpace or None
        Which space it is about.
    arguments : dict
        What the verb was given.
    upload : Upload or None
        A table in a file, which is an argument too.
    result : object
        What the verb returned.
    release : int or None
        The release that it was answered from.
    status : int
        Of the answer.
    error : str or None
        Class of the error that was answered.
    queued : float or None
        When it began to wait for a thread, by `time.perf_counter`.
    queue_s : float
        Seconds that it waited for a thread.
    verb_s : float
        Seconds that the verb took.
    seconds : float
        Seconds from the request to the end of the answer.
    """

    request_id: str
    method: str
    started: float = field(default_factory=time.perf_counter)
    operation: Operation | None = None
    key: Key | None = None
    space: ServedSpace | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    upload: Upload | None = None
    result: Any = None
    release: int | None = None
    status: int = 0
    error: str | None = None
    queued: float | None = None
    queue_s: float = 0.0
    verb_s: float = 0.0
    seconds: float = 0.0

    @property
    def as_job(self) -> bool:
        """Whether a job does it, so that the answer is 202 and the job."""
        of_upload = self.upload is not None and self.upload.as_job
        return of_upload or (self.operation is not None and self.operation.job)

    @property
    def names(self) -> dict[str, str]:
        """What stands in the place of paths in the answer of an error."""
        return {} if self.upload is None else {str(self.upload.path): "the body"}

    @property
    def name(self) -> str:
        """Name of the operation, for labels: never text of a request."""
        return "other" if self.operation is None else self.operation.name


Observer = Callable[[Exchange], None]
"""Is told of every exchange at its end, on the event loop: it must not wait."""

Shaper = Callable[[Exchange, dict[str, Any]], None]
"""May change the document of an answer, in the thread of the verb."""


def request_id_of(given: bytes | None) -> str:
    """Return the id that a request brings, where it is harmless, or a new one.

    Examples
    --------
    >>> request_id_of(b"trace-7"), len(request_id_of(b'"><script>'))
    ('trace-7', 16)
    """
    if given is not None and REQUEST_ID.fullmatch(given):
        return given.decode()
    return secrets.token_hex(8)

"""A client of JSON services over HTTP that retries what is worth retrying, within limits.

The key of a service is read from the environment when a request is sent. It is never stored, and
taken out of what a server says before that is shown.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpcore

from isthmus.errors import InvalidInput, MalformedAnswer, ServiceError, ServiceRefusal

FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 30.0
MAX_RETRY_AFTER_S: Final = 120.0
MAX_ANSWER_BYTES: Final = 256 * 2**20
CONNECT_S: Final = 10.0
WORTH_RETRYING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SHOWN_CHARACTERS: Final = 200

Answer = TypeVar("Answer")


class Malformed(ValueError):
    """An answer that is not what was asked for; the message follows the address."""


@dataclass(frozen=True)
class ApiClient:
    """Sends requests to one service.

    Attributes
    ----------
    base_url : str
        Address, such as ``http://host:8000/v1``.
    key_env : str
        Environment variable of the key; a service without one gets none.
    timeout_s : float
        Most seconds for one answer.
    retries : int
        How often a request is repeated after an answer that is late, broken, malformed or says
        that the server is busy. The delay doubles from half a second, with full jitter, and is
        what the server says in ``Retry-After``.
    """

    base_url: str
    key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 60.0
    retries: int = 5
    _pool: httpcore.ConnectionPool = field(
        default_factory=lambda: httpcore.ConnectionPool(max_connections=64), repr=False
    )

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidInput(
                f"base_url is {self.base_url!r}; give an address such as http://host:8000/v1"
            )
        if url.username is not None or url.password is not None:
            raise InvalidInput(
                "base_url holds a user or a password, which would be stored; put the key into the "
                "environment, and name the variable with key_env"
            )

    def post(self, path: str, payload: Mapping[str, Any], read: Callable[[Any], Answer]) -> Answer:
        """Send a request until its answer can be read.

        Parameters
        ----------
        path : str
            Path below the address.
        payload : mapping
            The request, as JSON.
        read : callable
            Takes the answer as JSON; raises `Malformed` where it is not what was asked for.

        Raises
        ------
        ServiceRefusal
            If the server refuses the request itself (status 400 to 499, but not 408, 409, 425 and
            429), so that another one may succeed.
        MalformedAnswer
            If every answer, after all retries, was not what was asked for.
        ServiceError
            If there was no answer at all after all retries. Messages name the address.
        """
        url = f"{self.base_url.rstrip('/')}/{path}"
        failure, wait, kind = "", 0.0, ServiceError
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(wait or _delay(attempt))
            try:
                status, headers, body = self._send(url, payload)
                if status in WORTH_RETRYING:
                    failure, kind = f"answered {status}: {self._shown(body)}", ServiceError
                    wait = _retry_after(headers)
                    continue
                if not 200 <= status < 300:
                    self._refuse(url, status, body)
                return read(_parsed(body))
            except ServiceError:
                raise
            except Malformed as error:
                failure, wait, kind = str(error), 0.0, MalformedAnswer
                continue
            except (httpcore.TimeoutException, TimeoutError):
                failure, wait = f"did not answer within {self.timeout_s:g} s", 0.0
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                failure, wait = self._shown(str(error) or type(error).__name__), 0.0
            kind = ServiceError
        raise kind(
            f"{url} {failure} ({self.retries + 1} attempts); what it answered before is kept, run "
            "the same command to go on"
        )

    def _send(
        self, url: str, payload: Mapping[str, Any]
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = {"connect": CONNECT_S, "read": self.timeout_s, "write": self.timeout_s}
        deadline = time.monotonic() + self.timeout_s
        content = json.dumps(payload).encode()
        with self._pool.stream(
            "POST", url, headers=headers, content=content, extensions={"timeout": limits}
        ) as response:
            body = bytearray()
            for part in response.iter_stream():
                body += part
                if time.monotonic() > deadline:
                    raise TimeoutError
                if len(body) > MAX_ANSWER_BYTES:
                    raise Malformed(f"answers more than {MAX_ANSWER_BYTES:,} bytes")
            return response.status, response.headers, bytes(body)

    def _refuse(self, url: str, status: int, body: bytes) -> None:
        said = self._shown(body)
        if status in (401, 403):
            has = "the key in it is not accepted" if self._key else "it is not set"
            raise ServiceError(f"{url} answered {status}: {said}; {self.key_env}: {has}")
        if status == 404 or not 400 <= status < 500:
            raise ServiceError(f"{url} answered {status}: {said}; check base_url and the model")
        raise ServiceRefusal(f"{url} answered {status}: {said}")

    @property
    def _key(self) -> str:
        return os.environ.get(self.key_env, "").strip()

    def _shown(self, said: bytes | str) -> str:
        """Return what a server said, on one line, cut, and without the key."""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split()) or "nothing"
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise Malformed(f"answered {len(body):,} bytes that are no JSON") from error


def _delay(attempt: int) -> float:
    """Return the seconds before an attempt: exponential backoff with full jitter.

    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random.uniform(0, min(MAX_DELAY_S, FIRST_DELAY_S * 2**attempt))


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float:
    """Return the seconds that a server asks to wait; 0 where it does not say."""
    for name, value in headers:
        if name.lower() != b"retry-after":
            continue
        text = value.decode("latin-1").strip()
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
            except (TypeError, ValueError):
                return 0.0
        return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
    return 0.0

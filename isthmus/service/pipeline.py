"""From a request to an answer: who asks, for what, within which limits; then the verb."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from starlette.types import Receive, Scope, Send

from isthmus.api.answers import ANSWERS, RELEASE
from isthmus.api.operations import Operation
from isthmus.api.problems import name_of, status_of
from isthmus.api.values import MEDIA_TYPE, TYPED, dump
from isthmus.errors import AccessDenied, Busy, InvalidInput, InvalidKey, IsthmusError
from isthmus.service.access import after, before
from isthmus.service.audit import AuditLog
from isthmus.service.exchange import Exchange, Observer, Shaper
from isthmus.service.inputs import Headers, headers_of, parse_arguments, read_body
from isthmus.service.jobs import Jobs
from isthmus.service.keys import ANYBODY, Key, KeyFile
from isthmus.service.limits import Slots, check_arguments
from isthmus.service.settings import LOOPBACK, ServeSettings
from isthmus.service.spaces import ServedSpace, ServedSpaces
from isthmus.service.uploads import read_upload, receive_table, table_argument

EXCHANGE: Final = "isthmus.exchange"  # in the scope of a request
RELEASE_HEADER: Final = b"isthmus-release"
QUICK: Final = frozenset({"vector", "k", "offset", "domain", "fingerprint"})
QUICK_S: Final = 0.003
FORGOTTEN: Final = 1.02  # how much larger the least time is taken to be after each request
BEARER: Final = "bearer "
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Of these, one is done at a time, in the order in which they came.
INGESTING: Final = frozenset({"upsert", "update", "delete", "retry_quarantine"})

Result = TypeVar("Result")


class Pipeline:
    """Answers the operations of all spaces in one process.

    Parameters
    ----------
    settings : ServeSettings
        How.
    spaces : ServedSpaces
        The spaces.

    Attributes
    ----------
    observers : list of callable
        Are told of every exchange at its end.
    shapers : list of callable
        May change the document of an answer.
    """

    def __init__(self, settings: ServeSettings, spaces: ServedSpaces) -> None:
        self.settings, self.spaces = settings, spaces
        self.keys = None if settings.keys is None else KeyFile(settings.keys)
        self.slots = Slots(settings.limits)
        self.audit = None if settings.audit is None else AuditLog(settings.audit)
        self.jobs = Jobs()
        self.observers: list[Observer] = []
        self.shapers: list[Shaper] = []
        self._quick_s: dict[str, float] = dict.fromkeys(spaces.by_name, 0.0)
        self._threads = ThreadPoolExecutor(settings.threads, "verb")

    def close(self) -> None:
        """Wait for the verbs that run still."""
        self._threads.shutdown()

    def key_of(self, scope: Scope, headers: Headers) -> Key:
        """Return the key of a request.

        Raises
        ------
        InvalidKey
            If it has none, or one that is unknown.
        AccessDenied
            If there are no keys, and it is not from this machine.
        """
        if self.keys is None or not self.keys.all():
            _require_loopback(scope, headers)
            if (
                scope["method"] not in SAFE
                and headers.get("origin") not in self.settings.cors_origins
            ):
                require_own_page(headers)
            return ANYBODY
        given = headers.get("authorization", "")
        text = given[len(BEARER) :] if given[: len(BEARER)].lower() == BEARER else ""
        text = text or headers.get("x-api-key", "")
        if not text:
            raise InvalidKey("this service needs a key; send it as: Authorization: Bearer KEY")
        return self.keys.holder(text.strip())

    def require(self, key: Key, operation: Operation, space: str) -> None:
        """Raise `AccessDenied` if a key does not allow an operation in a space."""
        if key.spaces is not None and space not in key.spaces:
            raise AccessDenied(f"this key is not for the space {space!r}")
        if not key.allows(operation.scope):
            raise AccessDenied(
                f"this needs a key with the scope {operation.scope}; this one has "
                f"{', '.join(key.scopes)}"
            )

    async def answer(
        self, operation: Operation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request."""
        exchange: Exchange = scope[EXCHANGE]
        exchange.operation = operation
        headers = headers_of(scope)
        path = {name: unquote(value) for name, value in scope["path_params"].items()}
        exchange.key = key = self.key_of(scope, headers)
        exchange.space = space = self.spaces.named(path.pop("space", None))
        self.require(key, operation, space.name)
        typed = TYPED in headers.get("accept", "")
        try:
            arguments = await self._arguments(exchange, scope, headers, receive)
            exchange.arguments = self._with_defaults(operation, arguments | path)
            self._check(exchange.arguments)
            self.slots.take(key)
            if self._is_quick(exchange):
                try:
                    document = self._document(exchange, typed)
                finally:
                    self.slots.release(key)
            else:
                document = await self._in_thread(
                    lambda: self._document(exchange, typed), exchange, key
                )
        except BaseException:
            if exchange.upload is not None:
                exchange.upload.remove()
            raise
        exchange.status = 202 if exchange.as_job else 200
        await _send(send, exchange, document)

    async def carry_out(
        self,
        operation: Operation,
        key: Key,
        space: ServedSpace,
        arguments: dict[str, Any],
        request_id: str,
    ) -> Exchange:
        """Carry out an operation whose arguments are known, held to all that holds for a request.

        Parameters
        ----------
        operation : Operation
            Which.
        key : Key
            Whose request it is.
        space : ServedSpace
            The space.
        arguments : dict
            The arguments of the verb, those of the path too.
        request_id : str
            Id of the request that it belongs to.

        Returns
        -------
        Exchange
            With the result, as the key may see it.
        """
        exchange = Exchange(request_id, operation.method, operation=operation, key=key)
        exchange.space = space
        exchange.arguments = self._with_defaults(operation, arguments)
        try:
            self.require(key, operation, space.name)
            self._check(exchange.arguments)
            self.slots.take(key)
            await self._in_thread(lambda: self._carry_out(exchange), exchange, key)
            exchange.status = 202 if operation.job else 200
        except IsthmusError as error:
            exchange.status, exchange.error = status_of(error), name_of(error)
            raise
        except Exception:
            exchange.status, exchange.error = 500, "internal"
            raise
        finally:
            exchange.seconds = time.perf_counter() - exchange.started
            for observe in self.observers:
                observe(exchange)
        return exchange

    async def _arguments(
        self, exchange: Exchange, scope: Scope, headers: Headers, receive: Receive
    ) -> dict[str, Any]:
        limits, operation, space = self.settings.limits, exchange.operation, exchange.space
        assert operation is not None
        assert space is not None
        is_table = table_argument(operation, headers) is not None
        seconds = limits.upload_timeout_s if is_table else limits.timeout_s
        query = scope["query_string"]
        try:
            async with asyncio.timeout(seconds):
                if is_table:
                    folder = space.space.path
                    arguments, exchange.upload = await receive_table(
                        operation, headers, query, receive, limits, folder
                    )
                    return arguments
                body = await read_body(headers, receive, limits)
        except TimeoutError as error:
            raise Busy(f"the body did not come within {seconds:g} s", seconds) from error
        return await parse_arguments(operation, headers, query, body)

    def _with_defaults(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with what the service does with every list, unless they say so."""
        if operation.name != "recommend":
            return arguments
        given: dict[str, Any] = {}
        if self.settings.log:
            given["log"] = True
        if self.settings.experiment is not None:
            given["experiment"] = self.settings.experiment
        return given | arguments

    def _is_quick(self, exchange: Exchange) -> bool:
        """Return whether a verb takes less than to hand it to a thread and back.

        That is a search by a vector for nothing but ids, in a view that is open, where the last
        ones took little. Anything else would keep the event loop, and with it all other requests.
        """
        space = exchange.space
        return (
            space is not None
            and exchange.name == "search"
            and exchange.arguments.get("vector") is not None
            and QUICK.issuperset(exchange.arguments)
            and self._quick_s[space.name] < QUICK_S
            and space.space.opened.live.is_current()
        )

    async def _in_thread(self, work: Callable[[], Result], exchange: Exchange, key: Key) -> Result:
        """Do a verb in a thread, and return what comes of it, if it comes within the time.

        Its place is taken until it ends, whoever waits for it.
        """
        loop = asyncio.get_running_loop()
        space = exchange.space
        writes = space is not None and exchange.name in INGESTING and not exchange.as_job
        threads = space.ingest if space is not None and writes else self._threads
        exchange.queued = time.perf_counter()
        try:
            running = loop.run_in_executor(threads, work)
        except BaseException:
            self.slots.release(key)
            raise
        running.add_done_callback(lambda _: self.slots.release(key))
        done, _ = await asyncio.wait([running], timeout=self.settings.limits.timeout_s)
        if done:
            return running.result()
        raise Busy(
            f"this took more than {self.settings.limits.timeout_s:g} s; ask for less, or later",
            retry_after_s=self.settings.limits.timeout_s,
        )

    def _check(self, arguments: dict[str, Any]) -> None:
        check_arguments(arguments, self.settings.limits)
        model = arguments.get("rerank")
        if model is not None and model not in self.settings.rerank_models:
            allowed = ", ".join(self.settings.rerank_models) or "none"
            raise InvalidInput(f"rerank={model!r} is not served; models are: {allowed}")
        if arguments.get("http") and not self.settings.fetch:
            raise InvalidInput("this service fetches no addresses; send the bytes as a data URI")

    def _document(self, exchange: Exchange, typed: bool) -> bytes:
        """Do the verb, and return the document of the answer."""
        self._carry_out(exchange)
        assert exchange.operation is not None
        kind = "job" if exchange.as_job else exchange.operation.answer
        document = ANSWERS[kind].write(exchange.result)
        document.setdefault(RELEASE, exchange.release)
        if exchange.operation.answer == "status":
            document.pop("path", None)
        for shape in self.shapers:
            shape(exchange, document)
        return dump(document, typed=typed)

    def _carry_out(self, exchange: Exchange) -> None:
        """Do the verb, and write the audit log."""
        operation, key, space = exchange.operation, exchange.key, exchange.space
        assert operation is not None
        assert key is not None
        assert space is not None
        started = time.perf_counter()
        exchange.queue_s = 0.0 if exchange.queued is None else started - exchange.queued
        try:
            if operation.is_verb and not exchange.as_job:
                given = exchange.arguments
                if exchange.upload is not None:
                    rows = read_upload(exchange.upload.path)
                    given = {**given, exchange.upload.argument: rows}

                def verb(opened: Any) -> Any:
                    arguments = before(operation, given, key, opened)
                    result = getattr(opened, operation.name)(**arguments)
                    return after(operation, result, key, opened)

                exchange.result, exchange.release = space.answer(verb, again=operation.reads)
            else:
                exchange.result = self._job(exchange)
                exchange.release = space.space.current_release or 0
        finally:
            if exchange.upload is not None and not exchange.as_job:
                exchange.upload.remove()
            exchange.verb_s = time.perf_counter() - started
            if QUICK.issuperset(exchange.arguments):
                # The least of late: what other processes take says nothing of the verb.
                least = self._quick_s[space.name] * FORGOTTEN
                self._quick_s[space.name] = min(exchange.verb_s, least or exchange.verb_s)
        if self.audit is not None and not operation.reads:
            self.audit.write(exchange)

    def _job(self, exchange: Exchange) -> Any:
        """Start a job, or tell of jobs."""
        operation, key, space = exchange.operation, exchange.key, exchange.space
        assert operation is not None
        assert key is not None
        assert space is not None
        upload, arguments = exchange.upload, exchange.arguments
        if upload is not None:
            arguments = before(
                operation, {**arguments, upload.argument: upload.path}, key, space.space
            )
            arguments.pop(upload.argument)
            hidden = {upload.argument: str(upload.path)}
            return self.jobs.start(operation.name, arguments, space, hidden, queued=True)
        arguments = before(operation, arguments, key, space.space)
        hidden = {}
        if operation.name == "backup":
            hidden["to"] = self.settings.place_of_backups(arguments["to"], space.name)
        return self.jobs.carry_out(operation, arguments, space, hidden)


async def _send(send: Send, exchange: Exchange, document: bytes) -> None:
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(document)).encode()),
        (RELEASE_HEADER, str(exchange.release or 0).encode()),
    ]
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": document})


def require_own_page(headers: Headers) -> None:
    """Raise `AccessDenied` if a browser asks for a page of another site.

    Browsers say where a request comes from, in ``Sec-Fetch-Site`` where the connection is safe or
    to this machine, and in ``Origin``; scripts cannot set either. Programs send neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        own = origin is None or urlsplit(origin).netloc == headers.get("host")
    if not own:
        raise AccessDenied("a page of another site may not ask this for anything")


def _require_loopback(scope: Scope, headers: Headers) -> None:
    """Raise `AccessDenied` unless a request comes from this machine, and is meant for it.

    A page in a browser can be made to ask 127.0.0.1 under another name (DNS rebinding); its
    requests name that host.
    """
    client = scope.get("client")
    host = headers.get("host", "localhost")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if client is None or not _is_loopback(client[0]) or name.lower() not in LOOPBACK:
        raise AccessDenied("without keys, this service answers this machine alone")


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False

"""A space that a service serves, with the verbs of `isthmus.Space`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast

import httpx
import pyarrow as pa

from isthmus.api.answers import RESULTS_OF_JOBS
from isthmus.api.operations import BY_NAME
from isthmus.api.problems import error_of
from isthmus.api.tables import TABLES
from isthmus.client.files import files_of, joined, make_file_call
from isthmus.client.wire import Call, Job, bind, make_call, read_answer
from isthmus.errors import ServiceError, UnsupportedOperation
from isthmus.evaluation.request import EvaluateRequest, EvaluationPlan
from isthmus.ids import is_single, to_ids
from isthmus.requests import values_of
from isthmus.space import Space

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S: Final = 60.0
IDS_A_PAGE: Final = 1_000
JOB_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Pause:
    """A wait between two requests.

    Attributes
    ----------
    seconds : float
        How long.
    """

    seconds: float


Steps = Generator[Call | Pause, Any, R]
"""The requests that carry out a verb; each is sent the result of the one before.

The clients differ in how they take a step, and in nothing else.
"""


def verb(
    method: Callable[Concatenate[Space, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Return a method that asks the service for a verb, with the same signature."""
    steps = _steps_of(method)

    @wraps(method)
    def ask(self: RemoteSpace, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self._run(steps(self, *args, **kwargs)))

    return cast("Callable[Concatenate[Any, P], R]", ask)


def async_verb(
    method: Callable[Concatenate[Space, P], R],
) -> Callable[Concatenate[Any, P], Awaitable[R]]:
    """Return a coroutine that asks the service for a verb, with the same signature."""
    steps = _steps_of(method)

    @wraps(method)
    async def ask(self: AsyncRemoteSpace, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", await self._run(steps(self, *args, **kwargs)))

    return cast("Callable[Concatenate[Any, P], Awaitable[R]]", ask)


def _steps_of(method: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return what makes the steps of a verb: one request, unless it is listed in `SEVERAL`."""
    name = method.__name__

    def steps(connection: _Connection, *args: Any, **kwargs: Any) -> Steps[Any]:
        several = SEVERAL.get(name)
        return (_one_request if several is None else several)(
            connection, name, bind(name, args, kwargs)
        )

    return steps


class _Connection:
    """What both clients know: where the service is, and with which key it is asked."""

    def __init__(self, address: str, key: str | None, space: str | None) -> None:
        self.address, self.space_name = address.rstrip("/"), space
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def __getattr__(self, name: str) -> Any:
        """Refuse what a space has and a service does not offer."""
        if not name.startswith("_") and hasattr(Space, name):
            raise UnsupportedOperation(
                f"{name} does not go over HTTP; open the folder of the space where it lies"
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def call(self, name: str, arguments: dict[str, Any]) -> Call:
        """Return the request of an operation."""
        return make_call(name, arguments, self.space_name)

    def _request(self, call: Call) -> dict[str, Any]:
        """Return the arguments of ``request`` of an httpx client."""
        return {
            "method": call.operation.method,
            "url": f"{self.address}{call.path}",
            "content": call.body,
            "headers": {**self._headers, **call.headers},
        }

    @staticmethod
    def _result(call: Call, answer: httpx.Response) -> Any:
        """Return the result of an answer, or raise the error that it describes."""
        kind = answer.headers.get("content-type", "")
        return read_answer(call, answer.status_code, kind, answer.content)


def _one_request(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    """Ask once; where a job does it, ask until it has ended."""
    return (yield from _ended(connection, name, connection.call(name, arguments)))


def _ended(connection: _Connection, name: str, call: Call) -> Steps[Any]:
    """Return the result of a request, or that of the job that it started."""
    result = yield call
    if not isinstance(result, Job):
        return result
    while result["state"] not in ("done", "failed"):
        yield Pause(JOB_POLL_S)
        result = yield connection.call("job", {"job_id": result["job_id"]})
    if result["state"] == "failed":
        raise error_of(result["problem"])
    return RESULTS_OF_JOBS[name].read(result["result"])


def _table(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    """Send rows, or each of some files as it is."""
    argument = TABLES[name]
    files = files_of(arguments.get(argument))
    if files is None:
        return (yield from _one_request(connection, name, arguments))
    reports = []
    for file in files:
        call = make_file_call(name, argument, file, arguments, connection.space_name)
        reports.append((yield from _ended(connection, name, call)))
    return reports[0] if len(reports) == 1 else joined(reports)


def _of_each_id(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[list[Any]]:
    """Ask for each id that stands in the path, and return the results."""
    (field,) = BY_NAME[name].in_path
    kind = "item id" if field == "item_id" else "user id"
    results = []
    for one in to_ids(arguments.pop(field), kind):
        results.append((yield connection.call(name, {**arguments, field: one})))  # noqa: PERF401
    return results


def _get(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    single = is_single(arguments["item_id"])
    items = yield from _of_each_id(connection, name, arguments)
    return items[0] if single else items


def _interactions(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    if arguments.get("user_id") is None:
        raise ServiceError("a service returns the interactions of users that are named; name some")
    if not arguments.get("waiting"):
        arguments.pop("waiting", None)
    return pa.concat_tables((yield from _of_each_id(connection, name, arguments)))


def _users(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    found = yield from _of_each_id(connection, name, arguments)
    return [row for rows in found for row in rows]


def _delete_users(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[int]:
    return sum((yield from _of_each_id(connection, name, arguments)))


def _evaluate(connection: _Connection, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    if arguments.get("systems") or arguments.get("out") is not None:
        raise UnsupportedOperation("systems and out are not offered over HTTP; leave them out")
    return (yield from _one_request(connection, name, _of_plan(arguments.get("plan"))))


def _of_plan(plan: EvaluationPlan | None) -> dict[str, Any]:
    """Return what a plan says beside the defaults, as far as it goes over HTTP."""
    default = EvaluationPlan()
    values = {} if plan is None else values_of(plan, EvaluationPlan)
    given = {name: value for name, value in values.items() if value != getattr(default, name)}
    for name in given:
        if name not in EvaluateRequest.model_fields:
            raise UnsupportedOperation(f"{name} is not offered over HTTP; leave it out")
    return given


SEVERAL: Final[Mapping[str, Callable[..., Steps[Any]]]] = {
    "upsert": _table,
    "update": _table,
    "add_interactions": _table,
    "add_users": _table,
    "get": _get,
    "interactions": _interactions,
    "users": _users,
    "delete_users": _delete_users,
    "evaluate": _evaluate,
}
"""Verbs that take several requests, or other arguments over HTTP."""


class RemoteSpace(_Connection):
    """A space that a service serves; get one with `isthmus.connect`.

    It has the verbs of `isthmus.Space` that go over HTTP, with the same arguments, results and
    errors. Close it, or use it in a ``with`` statement, to close its connections.

    Parameters
    ----------
    address : str
        Of the service, such as ``http://host:8080``.
    key : str, optional
        The key.
    space : str, optional
        Name of the space, where the service has several.
    timeout_s : float, default 60
        Longest wait for an answer, in seconds.
    client : httpx.Client, optional
        Sends the requests, in the place of one of its own.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        space: str | None = None,
        timeout_s: float = TIMEOUT_S,
        client: httpx.Client | None = None,
    ) -> None:
        super().__init__(address, key, space)
        self._client = client or httpx.Client(timeout=timeout_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Steps[R]) -> R:
        """Take the steps of a verb."""
        result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                return cast("R", end.value)
            result = self._take(step)

    def _take(self, step: Call | Pause) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            answer = self._client.request(**self._request(step))
        except httpx.HTTPError as error:
            raise _unreachable(self.address, error) from error
        return self._result(step, answer)

    search = verb(Space.search)
    similar = verb(Space.similar)
    search_batch = verb(Space.search_batch)
    search_groups = verb(Space.search_groups)
    facets = verb(Space.facets)
    scroll = verb(Space.scroll)
    count = verb(Space.count)
    attributes = verb(Space.attributes)
    status = verb(Space.status)
    recommend = verb(Space.recommend)
    recommend_batch = verb(Space.recommend_batch)
    recommend_rows = verb(Space.recommend_rows)
    recommend_users = verb(Space.recommend_users)
    predict_ratings = verb(Space.predict_ratings)
    upsert = verb(Space.upsert)
    update = verb(Space.update)
    delete = verb(Space.delete)
    cast_attribute = verb(Space.cast_attribute)
    rename_attribute = verb(Space.rename_attribute)
    drop_attribute = verb(Space.drop_attribute)
    record_events = verb(Space.record_events)
    add_interactions = verb(Space.add_interactions)
    events = verb(Space.events)
    export_user = verb(Space.export_user)
    forget_user = verb(Space.forget_user)
    add_users = verb(Space.add_users)
    merge_users = verb(Space.merge_users)
    user_ids = verb(Space.user_ids)
    user_attributes = verb(Space.user_attributes)
    quarantine = verb(Space.quarantine)
    retry_quarantine = verb(Space.retry_quarantine)
    releases = verb(Space.releases)
    rollback = verb(Space.rollback)
    scenarios = verb(Space.scenarios)
    set_scenario = verb(Space.set_scenario)
    delete_scenario = verb(Space.delete_scenario)
    backup = verb(Space.backup)
    publish = verb(Space.publish)
    train = verb(Space.train)
    evaluate = verb(Space.evaluate)
    monitor = verb(Space.monitor)
    map = verb(Space.map)
    get = verb(Space.get)
    interactions = verb(Space.interactions)
    users = verb(Space.users)
    delete_users = verb(Space.delete_users)

    @wraps(Space.ids)
    def ids(self, domain: Any = None, where: str | None = None) -> Iterator[str]:  # noqa: D102
        cursor: str | None = None
        while True:
            page = self.scroll(domain, where, k=IDS_A_PAGE, cursor=cursor, attributes=False)
            yield from (item["item_id"] for item in page)
            cursor = page.cursor
            if cursor is None:
                return

    @property
    def current_release(self) -> int | None:
        """Number of the current release; None before the first."""
        number: int | None = self.status()["release"]
        return number


class AsyncRemoteSpace(_Connection):
    """A space that a service serves, for programs with an event loop: verbs are coroutines.

    Get one with `isthmus.connect_async`. It has the verbs of `RemoteSpace`; parameters as there.
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        space: str | None = None,
        timeout_s: float = TIMEOUT_S,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(address, key, space)
        self._client = client or httpx.AsyncClient(timeout=timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[R]) -> R:
        """Take the steps of a verb."""
        result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                return cast("R", end.value)
            result = await self._take(step)

    async def _take(self, step: Call | Pause) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            answer = await self._client.request(**self._request(step))
        except httpx.HTTPError as error:
            raise _unreachable(self.address, error) from error
        return self._result(step, answer)

    search = async_verb(Space.search)
    similar = async_verb(Space.similar)
    search_batch = async_verb(Space.search_batch)
    search_groups = async_verb(Space.search_groups)
    facets = async_verb(Space.facets)
    scroll = async_verb(Space.scroll)
    count = async_verb(Space.count)
    attributes = async_verb(Space.attributes)
    status = async_verb(Space.status)
    recommend = async_verb(Space.recommend)
    recommend_batch = async_verb(Space.recommend_batch)
    recommend_rows = async_verb(Space.recommend_rows)
    recommend_users = async_verb(Space.recommend_users)
    predict_ratings = async_verb(Space.predict_ratings)
    upsert = async_verb(Space.upsert)
    update = async_verb(Space.update)
    delete = async_verb(Space.delete)
    cast_attribute = async_verb(Space.cast_attribute)
    rename_attribute = async_verb(Space.rename_attribute)
    drop_attribute = async_verb(Space.drop_attribute)
    record_events = async_verb(Space.record_events)
    add_interactions = async_verb(Space.add_interactions)
    events = async_verb(Space.events)
    export_user = async_verb(Space.export_user)
    forget_user = async_verb(Space.forget_user)
    add_users = async_verb(Space.add_users)
    merge_users = async_verb(Space.merge_users)
    user_ids = async_verb(Space.user_ids)
    user_attributes = async_verb(Space.user_attributes)
    quarantine = async_verb(Space.quarantine)
    retry_quarantine = async_verb(Space.retry_quarantine)
    releases = async_verb(Space.releases)
    rollback = async_verb(Space.rollback)
    scenarios = async_verb(Space.scenarios)
    set_scenario = async_verb(Space.set_scenario)
    delete_scenario = async_verb(Space.delete_scenario)
    backup = async_verb(Space.backup)
    publish = async_verb(Space.publish)
    train = async_verb(Space.train)
    evaluate = async_verb(Space.evaluate)
    monitor = async_verb(Space.monitor)
    map = async_verb(Space.map)
    get = async_verb(Space.get)
    interactions = async_verb(Space.interactions)
    users = async_verb(Space.users)
    delete_users = async_verb(Space.delete_users)

    @wraps(Space.ids)
    async def ids(self, domain: Any = None, where: str | None = None) -> AsyncIterator[str]:  # noqa: D102
        cursor: str | None = None
        while True:
            page = await self.scroll(domain, where, k=IDS_A_PAGE, cursor=cursor, attributes=False)
            for item in page:
                yield item["item_id"]
            cursor = page.cursor
            if cursor is None:
                return


def _unreachable(address: str, error: Exception) -> ServiceError:
    return ServiceError(f"cannot reach the service at {address}: {error or type(error).__name__}")

"""A space that a service serves, with the verbs of `isthmus.Space`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast

import httpx
import pyarrow as pa

from isthmus.api.answers import RESULTS_OF_JOBS
from isthmus.api.problems import error_of
from isthmus.client.wire import Call, bind, make_call, read_answer
from isthmus.errors import ServiceError, UnsupportedOperation
from isthmus.evaluation.request import EvaluateRequest, EvaluationPlan
from isthmus.ids import is_single, to_ids
from isthmus.requests import values_of
from isthmus.space import Space

if TYPE_CHECKING:
    from isthmus.retrieval.search.results import ItemPage

P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S: Final = 60.0
IDS_A_PAGE: Final = 1_000
JOB_POLL_S: Final = 0.5


def verb(
    method: Callable[Concatenate[Space, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Return a method that asks the service for a verb, with the same signature."""
    name = method.__name__

    @wraps(method)
    def ask(self: RemoteSpace, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self._carry_out(name, bind(name, args, kwargs)))

    return cast("Callable[Concatenate[Any, P], R]", ask)


def async_verb(
    method: Callable[Concatenate[Space, P], R],
) -> Callable[Concatenate[Any, P], Awaitable[R]]:
    """Return a coroutine that asks the service for a verb, with the same signature."""
    name = method.__name__

    @wraps(method)
    async def ask(self: AsyncRemoteSpace, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", await self._carry_out(name, bind(name, args, kwargs)))

    return cast("Callable[Concatenate[Any, P], Awaitable[R]]", ask)


class _Connection:
    """What both clients know: where the service is, and with which key it is asked."""

    def __init__(self, address: str, key: str | None, space: str | None) -> None:
        self.address, self.space_name = address.rstrip("/"), space
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"


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

    def __getattr__(self, name: str) -> Any:
        """Refuse what a space has and a service does not offer."""
        if not name.startswith("_") and hasattr(Space, name):
            raise UnsupportedOperation(
                f"{name} does not go over HTTP; open the folder of the space where it lies"
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _carry_out(self, name: str, arguments: dict[str, Any]) -> Any:
        call = make_call(name, arguments, self.space_name)
        result = self._send(call)
        if not call.operation.job:
            return result
        while result["state"] == "running":
            time.sleep(JOB_POLL_S)
            result = self._send(make_call("job", {"job_id": result["job_id"]}, self.space_name))
        return _result_of_job(name, result)

    def _send(self, call: Call) -> Any:
        try:
            answer = self._client.request(
                call.operation.method,
                f"{self.address}{call.path}",
                content=call.body,
                headers={**self._headers, **call.headers},
            )
        except httpx.HTTPError as error:
            raise _unreachable(self.address, error) from error
        kind = answer.headers.get("content-type", "")
        return read_answer(call, answer.status_code, kind, answer.content)

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
    forget_user = verb(Space.forget_user)
    add_users = verb(Space.add_users)
    user_ids = verb(Space.user_ids)
    user_attributes = verb(Space.user_attributes)
    quarantine = verb(Space.quarantine)
    retry_quarantine = verb(Space.retry_quarantine)
    releases = verb(Space.releases)
    rollback = verb(Space.rollback)
    publish = verb(Space.publish)
    train = verb(Space.train)
    monitor = verb(Space.monitor)
    map = verb(Space.map)

    @wraps(Space.get)
    def get(self, item_id: Any) -> Any:  # noqa: D102
        ids = to_ids(item_id, "item id")
        items = [self._carry_out("get", {"item_id": one}) for one in ids]
        return items[0] if is_single(item_id) else items

    @wraps(Space.ids)
    def ids(self, domain: Any = None, where: str | None = None) -> Iterator[str]:  # noqa: D102
        cursor: str | None = None
        while True:
            page: ItemPage = self.scroll(
                domain, where, k=IDS_A_PAGE, cursor=cursor, attributes=False
            )
            yield from (item["item_id"] for item in page)
            cursor = page.cursor
            if cursor is None:
                return

    @wraps(Space.interactions)
    def interactions(self, user_id: Any = None, *, waiting: bool = False) -> Any:  # noqa: D102
        given = {"waiting": waiting} if waiting else {}
        return _joined_tables(
            [
                self._carry_out("interactions", {"user_id": one, **given})
                for one in _some_users(user_id)
            ]
        )

    @wraps(Space.users)
    def users(self, user_ids: Any) -> list[dict[str, Any]]:  # noqa: D102
        ids = to_ids(user_ids, "user id")
        return [row for one in ids for row in self._carry_out("users", {"user_ids": one})]

    @wraps(Space.delete_users)
    def delete_users(self, user_ids: Any) -> int:  # noqa: D102
        ids = to_ids(user_ids, "user id")
        return sum(self._carry_out("delete_users", {"user_ids": one}) for one in ids)

    @wraps(Space.evaluate)
    def evaluate(  # noqa: D102
        self,
        plan: EvaluationPlan | None = None,
        *,
        systems: Any = None,
        out: Any = None,
        progress: bool = False,  # noqa: ARG002
    ) -> Any:
        if systems or out is not None:
            raise UnsupportedOperation("systems and out are not offered over HTTP; leave them out")
        return self._carry_out("evaluate", _plan_arguments(plan))

    @property
    def current_release(self) -> int | None:
        """Number of the current release; None before the first."""
        number: int | None = self.status()["release"]
        return number


class AsyncRemoteSpace(_Connection):
    """A space that a service serves, for programs with an event loop: verbs are coroutines.

    Get one with `isthmus.connect_async`. It has the verbs of `RemoteSpace` but those that wait for
    jobs; parameters as there.
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

    async def _carry_out(self, name: str, arguments: dict[str, Any]) -> Any:
        call = make_call(name, arguments, self.space_name)
        try:
            answer = await self._client.request(
                call.operation.method,
                f"{self.address}{call.path}",
                content=call.body,
                headers={**self._headers, **call.headers},
            )
        except httpx.HTTPError as error:
            raise _unreachable(self.address, error) from error
        kind = answer.headers.get("content-type", "")
        return read_answer(call, answer.status_code, kind, answer.content)

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
    predict_ratings = async_verb(Space.predict_ratings)
    upsert = async_verb(Space.upsert)
    update = async_verb(Space.update)
    delete = async_verb(Space.delete)
    record_events = async_verb(Space.record_events)
    add_interactions = async_verb(Space.add_interactions)
    forget_user = async_verb(Space.forget_user)
    add_users = async_verb(Space.add_users)
    quarantine = async_verb(Space.quarantine)
    map = async_verb(Space.map)
    releases = async_verb(Space.releases)
    rollback = async_verb(Space.rollback)

    @wraps(Space.get)
    async def get(self, item_id: Any) -> Any:  # noqa: D102
        ids = to_ids(item_id, "item id")
        items = [await self._carry_out("get", {"item_id": one}) for one in ids]
        return items[0] if is_single(item_id) else items


def _result_of_job(name: str, job: dict[str, Any]) -> Any:
    if job["state"] == "failed":
        raise error_of(job["problem"])
    return RESULTS_OF_JOBS[name].read(job["result"])


def _plan_arguments(plan: EvaluationPlan | None) -> dict[str, Any]:
    """Return what a plan says beside the defaults, as far as it goes over HTTP."""
    default = EvaluationPlan()
    values = {} if plan is None else values_of(plan, EvaluationPlan)
    given = {name: value for name, value in values.items() if value != getattr(default, name)}
    for name in given:
        if name not in EvaluateRequest.model_fields:
            raise UnsupportedOperation(f"{name} is not offered over HTTP; leave it out")
    return given


def _some_users(user_id: Any) -> list[str]:
    if user_id is None:
        raise ServiceError("a service returns the interactions of users that are named; name some")
    return to_ids(user_id, "user id")


def _joined_tables(tables: list[Any]) -> Any:
    return pa.concat_tables(tables)


def _unreachable(address: str, error: Exception) -> ServiceError:
    return ServiceError(f"cannot reach the service at {address}: {error or type(error).__name__}")

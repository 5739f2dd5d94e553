"""The application: routes made of the table of operations, around one `Pipeline`.

Requests pass, from outside in: `RequestFrame` (ids, errors, observers), CORS where it is switched
on, gzip, the routes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import isthmus
from isthmus.api.operations import OPERATIONS, PREFIX, Operation
from isthmus.api.problems import (
    MEDIA_TYPE,
    internal_problem,
    name_of,
    problem_of,
    retry_after,
)
from isthmus.api.values import MEDIA_TYPE as JSON
from isthmus.api.values import dump
from isthmus.errors import AccessDenied, Busy, IsthmusError, UnknownRoute
from isthmus.service.canary import LiveCanary
from isthmus.service.exchange import Exchange, request_id_of
from isthmus.service.inputs import ClientGone, headers_of
from isthmus.service.metrics import MEDIA_TYPE as METRICS_TYPE
from isthmus.service.metrics import Metrics
from isthmus.service.openapi import describe
from isthmus.service.page.routes import page_routes
from isthmus.service.pipeline import EXCHANGE, Pipeline
from isthmus.service.settings import ServeSettings, check_experiment
from isthmus.service.space_metrics import SpaceMetrics
from isthmus.service.spaces import OpenSpace, ServedSpaces

GZIP_FROM: Final = 1_000  # bytes
GZIP_LEVEL: Final = 5
RAW_PREFIX: Final = f"{PREFIX}/".encode()
SPACE_PREFIX: Final = f"{PREFIX}/spaces/{{space}}"

logger = logging.getLogger("isthmus.service")


def make_app(settings: ServeSettings, open_space: OpenSpace | None = None) -> FastAPI:
    """Return the application that serves spaces.

    ``app.state.pipeline`` has the pipeline, whose observers and shapers others may extend.

    Parameters
    ----------
    settings : ServeSettings
        What is served, and how.
    open_space : callable, optional
        Opens a space of a folder.
    """
    check_experiment(settings)
    metrics = Metrics()
    pipeline = Pipeline(settings, ServedSpaces(settings, open_space, metrics.encoding))
    canary = LiveCanary(settings.canary, metrics)
    pipeline.observers += [metrics, canary]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        logger.info("process %s answers", os.getpid())
        yield
        canary.close()
        pipeline.close()

    app = FastAPI(
        title="Isthmus",
        version=isthmus.__version__,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        lifespan=lifespan,
    )
    app.state.pipeline, app.state.canary = pipeline, canary
    app.router.routes.extend(_routes(pipeline, several=len(settings.spaces) > 1))
    app.router.routes.append(Route("/healthz", _healthy, methods=["GET"]))
    app.router.routes.append(Route("/readyz", Ready(pipeline), methods=["GET"]))
    app.router.routes.append(Route("/metrics", Measured(pipeline, metrics), methods=["GET"]))
    if settings.page:
        app.router.routes.extend(page_routes(pipeline))
    failures = Failures(pipeline)
    app.add_exception_handler(IsthmusError, failures.of_isthmus)
    app.add_exception_handler(HTTPException, failures.of_http)
    app.openapi = lambda: describe(several=len(settings.spaces) > 1)  # type: ignore[method-assign]
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM, compresslevel=GZIP_LEVEL)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key", "x-request-id"],
            expose_headers=["isthmus-release", "x-request-id", "retry-after"],
        )
    # Where there is nothing to compress or to let in, the way through the application is long.
    direct = {} if settings.cors_origins else _direct(app)
    app.add_middleware(RequestFrame, pipeline=pipeline, failures=failures, direct=direct)
    return app


def _routes(pipeline: Pipeline, *, several: bool) -> list[Route]:
    """Return the routes of all operations: short ones where one space is served."""
    prefixes = [SPACE_PREFIX] if several else [PREFIX, SPACE_PREFIX]
    return [
        Route(
            f"{prefix}{operation.path}", Endpoint(pipeline, operation), methods=[operation.method]
        )
        for prefix in prefixes
        for operation in OPERATIONS
    ]


def _direct(app: FastAPI) -> dict[tuple[str, str], Endpoint]:
    """Return the endpoints whose paths have no parameter, by method and path."""
    return {
        (method, route.path): route.app
        for route in app.router.routes
        if isinstance(route, Route) and isinstance(route.app, Endpoint) and "{" not in route.path
        for method in route.methods or ()
    }


class Endpoint:
    """Answers the requests for one operation.

    Parameters
    ----------
    pipeline : Pipeline
        Does it.
    operation : Operation
        Which.
    """

    def __init__(self, pipeline: Pipeline, operation: Operation) -> None:
        self._pipeline, self._operation = pipeline, operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._pipeline.answer(self._operation, scope, receive, send)


class Ready:
    """Says whether the process can answer: its spaces are open, and their releases readable.

    Parameters
    ----------
    pipeline : Pipeline
        Has the spaces.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200, or the problem that keeps it from answering."""
        for served in self._pipeline.spaces.by_name.values():
            await asyncio.to_thread(served.answer, lambda space: space.count(), again=True)
        await Response(dump({"ready": True}), media_type=JSON)(scope, receive, send)


class Measured:
    """Shows the metrics to keys that may read all spaces.

    Parameters
    ----------
    pipeline : Pipeline
        Knows the keys.
    metrics : Metrics
        The metrics.
    """

    def __init__(self, pipeline: Pipeline, metrics: Metrics) -> None:
        self._pipeline, self._metrics = pipeline, metrics
        self._of_spaces = SpaceMetrics(pipeline.spaces)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the metrics."""
        key = self._pipeline.key_of(scope, headers_of(scope))
        scope[EXCHANGE].key = key
        if not key.may_measure:
            raise AccessDenied("metrics are for keys with the scope read that are bound to nothing")
        text = await asyncio.to_thread(lambda: self._metrics.text() + self._of_spaces.text())
        await Response(text, headers={"content-type": METRICS_TYPE})(scope, receive, send)


async def _healthy(_: Request) -> Response:
    return Response(dump({"healthy": True}), media_type=JSON)


class RequestFrame:
    """Gives every request an id, every failure an answer, and tells the observers of both.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    pipeline : Pipeline
        Has the observers, and the names of spaces.
    failures : Failures
        Makes the answers of errors.
    direct : mapping of (str, str) to Endpoint
        Endpoints by method and path, for requests that take no compressed answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        pipeline: Pipeline,
        failures: Failures,
        direct: Mapping[tuple[str, str], Endpoint],
    ) -> None:
        self._app, self._pipeline = app, pipeline
        self._failures, self._direct = failures, direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        raw = scope.get("raw_path")
        if raw and raw.startswith(RAW_PREFIX):  # an id may have a slash, which comes as %2F
            scope["path"] = raw.partition(b"?")[0].decode("ascii", "replace")
        exchange = scope[EXCHANGE] = Exchange(request_id_of(given), scope["method"])
        begun = False

        async def send_with_id(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                exchange.status = message["status"]
                name = (b"x-request-id", exchange.request_id.encode())
                message["headers"] = [*message.get("headers", ()), name]
            await send(message)

        try:
            endpoint = self._direct.get((scope["method"], scope["path"]))
            if endpoint is None or _takes_gzip(scope):
                await self._app(scope, receive, send_with_id)
                return
            scope["path_params"] = {}
            try:
                await endpoint(scope, receive, send_with_id)
            except IsthmusError as error:
                answer = await self._failures.of_isthmus(Request(scope), error)
                await answer(scope, receive, send_with_id)
        except ClientGone:
            exchange.status, exchange.error = 499, "ClientGone"
        except Exception:
            # Why, is for the log; what the request was is not: it may hold anything.
            logger.exception("request %s (%s) failed", exchange.request_id, exchange.name)
            exchange.error = "internal"
            if begun:
                raise
            document = dump(internal_problem(exchange.request_id))
            await Response(document, 500, media_type=MEDIA_TYPE)(scope, receive, send_with_id)
        finally:
            exchange.seconds = time.perf_counter() - exchange.started
            for observe in self._pipeline.observers:
                observe(exchange)


def _takes_gzip(scope: Scope) -> bool:
    return any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])


class Failures:
    """Makes the answer of an error that was raised on purpose.

    Parameters
    ----------
    pipeline : Pipeline
        Has the names of spaces.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._names = pipeline.spaces.paths

    async def of_isthmus(self, request: Request, error: Exception) -> Response:
        """Return the answer of an error of Isthmus."""
        assert isinstance(error, IsthmusError)
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.error = name_of(error)
        problem = problem_of(error, exchange.request_id, {**self._names, **exchange.names})
        if problem["status"] >= 500 and not isinstance(error, Busy):
            logger.error("request %s (%s): %s", exchange.request_id, exchange.name, exchange.error)
        headers = {}
        seconds = retry_after(error)
        if seconds is not None:
            headers["retry-after"] = str(seconds)
        if problem["status"] == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(dump(problem), problem["status"], headers, MEDIA_TYPE)

    async def of_http(self, request: Request, error: Exception) -> Response:
        """Return the answer where there is no such route, or none with this method."""
        assert isinstance(error, HTTPException)
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.error = UnknownRoute.__name__
        said = f"there is no operation {request.method} at this address; see {PREFIX}/openapi.json"
        problem = problem_of(UnknownRoute(said), exchange.request_id)
        problem["status"] = error.status_code
        return Response(dump(problem), error.status_code, error.headers, MEDIA_TYPE)

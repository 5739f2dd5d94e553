"""The routes of the page: who asks, how errors look, and the headers of every answer.

The key of somebody who signed in is in a cookie that scripts cannot read, that other sites cannot
have sent, and that only the page gets: the routes under ``/v1`` never see it. A post must come from
a page of this service, as the browser says in headers that scripts cannot set.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from isthmus.api.problems import INTERNAL, name_of, problem_of
from isthmus.errors import AccessDenied, InvalidKey, IsthmusError, UnknownRoute
from isthmus.service.inputs import ClientGone, Headers, headers_of
from isthmus.service.keys import ANYBODY, Key
from isthmus.service.page.rendering import ROOT, STATIC
from isthmus.service.page.views import (
    evaluation,
    item,
    monitoring,
    quarantine,
    recommend,
    releases,
    search,
)
from isthmus.service.page.views import map as space_map
from isthmus.service.page.visit import Visit, page_address
from isthmus.service.pipeline import EXCHANGE, Pipeline, require_own_page

COOKIE: Final = "isthmus_key"
SIGN_IN: Final = f"{ROOT}/sign-in"
SIGNED_IN_S: Final = 12 * 3600
SECURITY: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # A page that sends no referrer to itself would post without an origin.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
STATIC_FILES: Final = ("page.css", "page.js", "map.js", "htmx.min.js", "icon.svg")

View = Callable[[Visit], Awaitable[Response]]
Show = Callable[[Request, Key], Awaitable[Response]]

logger = logging.getLogger("isthmus.service")


@dataclass(frozen=True)
class Page:
    """A page of a space.

    Attributes
    ----------
    path : str
        Its address, under that of the space.
    view : callable
        Makes it.
    methods : tuple of str
        What it answers.
    """

    path: str
    view: View
    methods: tuple[str, ...] = ("GET",)


PAGES: Final[Sequence[Page]] = (
    Page("search", search.show, ("GET", "POST")),
    Page("item", item.show),
    Page("item/users", item.users),
    Page("recommend", recommend.show),
    Page("recommend/click", recommend.click, ("POST",)),
    Page("map", space_map.show),
    Page("map/card", space_map.card),
    Page("monitoring", monitoring.show),
    Page("monitoring", monitoring.measure, ("POST",)),
    Page("evaluation", evaluation.show),
    Page("evaluation", evaluation.start, ("POST",)),
    Page("releases", releases.show),
    Page("releases/roll-back", releases.roll_back, ("POST",)),
    Page("releases/start", releases.start, ("POST",)),
    Page("quarantine", quarantine.show),
    Page("quarantine", quarantine.retry, ("POST",)),
    Page("quarantine/thumbnail", quarantine.thumbnail),
    Page("thumbnail", item.thumbnail),
)


def page_routes(pipeline: Pipeline) -> list[Route]:
    """Return the routes of the page."""
    entrance = Entrance(pipeline)
    of_spaces = [
        Route(
            f"{ROOT}/spaces/{{space}}/{page.path}",
            Guarded(pipeline, _of_space(pipeline, page.view)),
            methods=list(page.methods),
        )
        for page in PAGES
    ]
    return [
        Route("/", _to_page, methods=["GET"]),
        Route(f"{ROOT}/", Guarded(pipeline, entrance.spaces), methods=["GET"]),
        Route(SIGN_IN, Guarded(pipeline, entrance.sign_in, open_to_all=True), methods=["GET"]),
        Route(SIGN_IN, Guarded(pipeline, entrance.enter, open_to_all=True), methods=["POST"]),
        Route(
            f"{ROOT}/sign-out",
            Guarded(pipeline, entrance.leave, open_to_all=True),
            methods=["POST"],
        ),
        Route(f"{ROOT}/static/{{name}}", _static, methods=["GET"]),
        *of_spaces,
    ]


class Guarded:
    """Answers requests for a page: finds the key, shows errors as pages, adds the headers.

    Parameters
    ----------
    pipeline : Pipeline
        Knows the keys.
    show : callable
        Makes the page.
    open_to_all : bool
        Whether it needs no key.
    """

    def __init__(self, pipeline: Pipeline, show: Show, *, open_to_all: bool = False) -> None:
        self._pipeline, self._show, self._open_to_all = pipeline, show, open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        answer = await self._answer(request)
        for name, value in SECURITY.items():
            answer.headers[name] = value
        answer.headers.setdefault("cache-control", "no-store")
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        exchange, key = request.scope[EXCHANGE], ANYBODY
        headers = headers_of(request.scope)
        try:
            if request.method == "POST":
                _require_form(headers)
            if not self._open_to_all:
                key = exchange.key = self._pipeline.key_of(request.scope, with_cookie(request))
            return await self._show(request, key)
        except InvalidKey as error:
            exchange.error = name_of(error)
            return _ask_to_sign_in(request)
        except IsthmusError as error:
            exchange.error = name_of(error)
            problem = problem_of(error, exchange.request_id, self._pipeline.spaces.paths)
            return self._problem(request, key, problem["status"], problem["detail"])
        except ClientGone:
            raise
        except Exception:
            exchange.error = "internal"
            logger.exception("request %s for the page failed", exchange.request_id)
            return self._problem(request, key, 500, INTERNAL)

    def _problem(self, request: Request, key: Key, status: int, detail: str) -> Response:
        visit = Visit(
            request,
            self._pipeline,
            key,
            self._pipeline.spaces.by_name.get(request.path_params.get("space", "")),
        )
        return visit.show("problem.html", status, title=HTTPStatus(status).phrase, detail=detail)


def _require_form(headers: Headers) -> None:
    """Raise `AccessDenied` unless a post comes from a page of this service, as a browser says."""
    require_own_page(headers)
    if "sec-fetch-site" not in headers and "origin" not in headers:
        raise AccessDenied("a form of the page is sent by a browser, which says where it is from")


def with_cookie(request: Request) -> Headers:
    """Return the headers of a request, with the key of the cookie where it brings no other."""
    headers = headers_of(request.scope)
    text = request.cookies.get(COOKIE)
    if text and "authorization" not in headers and "x-api-key" not in headers:
        headers["authorization"] = f"Bearer {text}"
    return headers


def _of_space(pipeline: Pipeline, view: View) -> Show:
    """Return what shows a page of a space to a key that is for it."""

    async def show(request: Request, key: Key) -> Response:
        name = request.path_params["space"]
        if key.spaces is not None and name not in key.spaces:
            raise AccessDenied(f"this key is not for the space {name!r}")
        space = request.scope[EXCHANGE].space = pipeline.spaces.named(name)
        visit = Visit(request, pipeline, key, space)
        if request.method == "POST":
            await visit.read_form()
        return await view(visit)

    return show


class Entrance:
    """The list of spaces, and signing in and out.

    Parameters
    ----------
    pipeline : Pipeline
        Knows the keys and the spaces.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def spaces(self, request: Request, key: Key) -> Response:
        """Lead to the only space of a key, or show all that it may see."""
        visit = Visit(request, self._pipeline, key)
        if len(visit.spaces) == 1 and visit.tabs:
            return RedirectResponse(page_address(visit.spaces[0], visit.tabs[0].name, {}), 303)
        return visit.show("spaces.html")

    async def sign_in(self, request: Request, key: Key) -> Response:
        """Show the form for a key."""
        return self._form(request, key)

    def _form(self, request: Request, key: Key, status: int = 200, said: str = "") -> Response:
        next_page = own_address(request.query_params.get("next", ""))
        visit = Visit(request, self._pipeline, key)
        return visit.show("sign_in.html", status, next_page=next_page, said=said)

    async def enter(self, request: Request, key: Key) -> Response:
        """Take a key into a cookie, where it is one."""
        visit = Visit(request, self._pipeline, key)
        await visit.read_form()
        text = visit.text("key")
        headers = {**headers_of(request.scope), "authorization": "", "x-api-key": text}
        try:
            self._pipeline.key_of(request.scope, headers)
        except InvalidKey as error:
            request.scope[EXCHANGE].error = name_of(error)
            said = "Enter a key." if not text else "The key is unknown or revoked."
            return self._form(request, key, 401, said)
        answer = RedirectResponse(own_address(visit.text("next")), 303)
        answer.set_cookie(
            COOKIE,
            text,
            max_age=SIGNED_IN_S,
            path=ROOT,
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto") == "https",
        )
        return answer

    async def leave(self, request: Request, key: Key) -> Response:  # noqa: ARG002
        """Forget the key of the cookie."""
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(COOKIE, path=ROOT, httponly=True, samesite="strict")
        return answer


def own_address(address: str) -> str:
    r"""Return an address if it is one of the page, and else that of its beginning.

    Examples
    --------
    >>> own_address("/page/spaces/shop/map"), own_address("//evil.example/page/")
    ('/page/spaces/shop/map', '/page/')
    >>> own_address("/page/..\\evil"), own_address("/page/../v1/jobs")
    ('/page/', '/page/')
    """
    plain = address.isascii() and address.isprintable() and "\\" not in address
    own = plain and address.startswith(f"{ROOT}/") and "/../" not in f"{address}/"
    return address if own else f"{ROOT}/"


def _ask_to_sign_in(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = f"?next={quote(here)}" if request.method == "GET" else ""
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"hx-redirect": SIGN_IN})
    return RedirectResponse(f"{SIGN_IN}{back}", 303)


async def _to_page(_: Request) -> Response:
    return RedirectResponse(f"{ROOT}/", 303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC_FILES:
        raise UnknownRoute(f"there is no file {name[:60]!r}")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    # The address changes with the content.
    kept = {"cache-control": "public, max-age=31536000, immutable", **SECURITY}
    return Response((STATIC / name).read_bytes(), headers=kept, media_type=kind)

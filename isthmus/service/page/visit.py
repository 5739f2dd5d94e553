"""A visit: a request for the page, who makes it, and what may be asked for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import FormData, Headers, ImmutableMultiDict, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from isthmus.api.operations import BY_NAME
from isthmus.errors import InvalidInput
from isthmus.schema import DOMAIN
from isthmus.service.access import RULES
from isthmus.service.exchange import Exchange
from isthmus.service.inputs import headers_of, read_body
from isthmus.service.keys import ANYBODY, Key
from isthmus.service.page.rendering import ROOT, environment
from isthmus.service.pipeline import EXCHANGE, Pipeline
from isthmus.service.spaces import ServedSpace

MAX_FIELDS: Final = 500
MAX_DIGITS: Final = 9
MAX_DOMAINS: Final = 100
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"

Fields = ImmutableMultiDict[str, Any]


@dataclass(frozen=True)
class Tab:
    """A page of the navigation bar.

    Attributes
    ----------
    name : str
        Of the page, and of its address.
    title : str
        What it is called.
    operation : str
        The operation that a key must be allowed.
    """

    name: str
    title: str
    operation: str


TABS: Final = (
    Tab("search", "Search", "search"),
    Tab("recommend", "Recommend", "recommend"),
    Tab("map", "Map", "map"),
    Tab("releases", "Releases", "releases"),
    Tab("monitoring", "Monitoring", "monitor"),
    Tab("quarantine", "Quarantine", "quarantine"),
    Tab("evaluation", "Evaluation", "evaluate"),
)


class Visit:
    """A request for the page by somebody who may make it.

    Parameters
    ----------
    request : Request
        The request.
    pipeline : Pipeline
        Carries operations out.
    key : Key
        Whose request it is.
    space : ServedSpace, optional
        The space that it is about.

    Attributes
    ----------
    fields : ImmutableMultiDict
        What stands behind the question mark, and in the body of a post.
    """

    def __init__(
        self, request: Request, pipeline: Pipeline, key: Key, space: ServedSpace | None = None
    ) -> None:
        self.request, self.pipeline, self.key = request, pipeline, key
        self._space = space
        self.fields: Fields = request.query_params

    @property
    def space(self) -> ServedSpace:
        """The space that it is about."""
        assert self._space is not None
        return self._space

    @property
    def has_space(self) -> bool:
        """Whether it is about a space."""
        return self._space is not None

    @property
    def tabs(self) -> list[Tab]:
        """The pages that the key may see."""
        return [tab for tab in TABS if self.may(tab.operation)]

    @property
    def pages(self) -> set[str]:
        """The names of the pages that the key may see."""
        return {tab.name for tab in self.tabs}

    @property
    def spaces(self) -> list[str]:
        """The names of the spaces that the key may see."""
        named = self.pipeline.spaces.by_name
        return [name for name in named if self.key.spaces is None or name in self.key.spaces]

    async def read_form(self) -> None:
        """Read the fields of a post.

        Raises
        ------
        InvalidInput
            If they cannot be read.
        """
        headers = headers_of(self.request.scope)
        body = await read_body(headers, self.request.receive, self.pipeline.settings.limits)
        form = await _parsed(headers, body)
        self.fields = ImmutableMultiDict(
            [*self.request.query_params.multi_items(), *form.multi_items()]
        )

    def text(self, name: str) -> str:
        """Return a field without the white space around it; empty where there is none."""
        value = self.fields.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Return the values of a field that are not empty, each once."""
        values = (value for value in self.fields.getlist(name) if isinstance(value, str))
        return list(dict.fromkeys(value for value in values if value))

    def whole(self, name: str) -> int:
        """Return a field that is a whole number; 0 where there is none.

        Raises
        ------
        InvalidInput
            If it is no number.
        """
        text = self.text(name) or "0"
        if not text.isdecimal() or len(text) > MAX_DIGITS:
            raise InvalidInput(f"{name} is {text[:20]!r}; give a whole number")
        return int(text)

    async def domains(self) -> dict[str, int]:
        """Return how many items each domain has, those with most first."""
        counted = await self.ask("facets", attributes=[DOMAIN], k=MAX_DOMAINS)
        return {row["value"]: row["count"] for row in counted[DOMAIN]}

    def may(self, operation: str) -> bool:
        """Return whether the key may ask for an operation at all."""
        if operation not in BY_NAME:
            return False
        allowed = self.key.allows(BY_NAME[operation].scope)
        return allowed and (not self.key.is_bound or RULES[operation].before is not None)

    async def ask(self, operation: str, **arguments: Any) -> Any:
        """Carry an operation out, as a route would, and return its result.

        Arguments that are None are left out.
        """
        exchange: Exchange = self.request.scope[EXCHANGE]
        given = {name: value for name, value in arguments.items() if value is not None}
        done = await self.pipeline.carry_out(
            BY_NAME[operation], self.key, self.space, given, exchange.request_id
        )
        exchange.release = done.release
        return done.result

    def address(self, page: str, /, **fields: Any) -> str:
        """Return the address of a page of the space."""
        return page_address(self.space.name, page, fields)

    def go(self, page: str, /, **fields: Any) -> Response:
        """Return the answer that leads to another page after a post."""
        return RedirectResponse(self.address(page, **fields), 303)

    def show(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """Return a page."""
        return HTMLResponse(
            environment().get_template(template).render(visit=self, **values), status
        )

    @property
    def is_partial(self) -> bool:
        """Whether a part of a page that is shown is asked for."""
        return "hx-request" in self.request.headers

    @property
    def signed_in(self) -> bool:
        """Whether there are keys, and so somebody to sign out."""
        return self.key is not ANYBODY


def page_address(space: str, page: str, fields: Mapping[str, Any]) -> str:
    """Return the address of a page of a space.

    Examples
    --------
    >>> page_address("shop", "item", {"id": "a/b"})
    '/page/spaces/shop/item?id=a%2Fb'
    """
    given = {name: value for name, value in fields.items() if value not in (None, "", [])}
    query = f"?{urlencode(given, doseq=True)}" if given else ""
    return f"{ROOT}/spaces/{space}/{page}{query}"


async def _parsed(headers: Mapping[str, str], body: bytes) -> FormData:
    kind = headers.get("content-type", FORM).partition(";")[0].strip().lower()
    try:
        if kind == FORM:
            text = body.decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
            return FormData([*pairs])
        if kind == MULTIPART:

            async def chunks() -> AsyncIterator[bytes]:
                yield body

            parser = MultiPartParser(
                Headers(headers),
                chunks(),  # type: ignore[arg-type]
                max_files=1,
                max_fields=MAX_FIELDS,
                max_part_size=len(body),
            )
            return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise InvalidInput(f"the form cannot be read: {error}") from error
    raise InvalidInput(f"a form of type {kind[:60]!r} cannot be read; send {FORM}")


async def uploaded(value: Any) -> bytes | None:
    """Return the bytes of an uploaded file; None where there is none."""
    if not isinstance(value, UploadFile):
        return None
    return await value.read() or None

"""Visits to the page of an application, as a browser makes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI

from tests.service.page.html import Element, read
from tests.service.serving import send

FORM = {"content-type": "application/x-www-form-urlencoded"}
OWN = {"origin": "http://localhost"}


def visit(app: FastAPI, page: str, key: str | None = None, **fields: Any) -> httpx.Response:
    """Get a page of the shop."""
    query = f"?{urlencode(fields, doseq=True)}" if fields else ""
    return send(app, "GET", f"{at(page)}{query}", headers=cookie(key))


def seen(app: FastAPI, page: str, key: str | None = None, **fields: Any) -> Element:
    """Get a page of the shop that is answered, and read it."""
    answer = visit(app, page, key, **fields)
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def post(
    app: FastAPI,
    page: str,
    key: str | None = None,
    origin: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """Post a form, from a page of the service where nothing else is said."""
    headers = {**FORM, **cookie(key), **(OWN if origin is None else origin)}
    named = {name.removesuffix("_"): value for name, value in fields.items()}
    content = urlencode(named, doseq=True).encode()
    return send(app, "POST", at(page), content=content, headers=headers)


def enter(
    app: FastAPI, text: str, origin: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    """Send the form in which one signs in."""
    return post(app, "/page/sign-in", None, origin, key_=text, **fields)


def at(page: str) -> str:
    return page if page.startswith("/") else f"/page/spaces/shop/{page}"


def cookie(key: str | None) -> dict[str, str]:
    return {} if key is None else {"cookie": f"isthmus_key={key}"}


def titles(document: Element) -> list[str]:
    """The titles of the items that a page lists."""
    return [element.text for element in document.all("span", class_="card-title")]

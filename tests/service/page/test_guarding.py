"""Who sees what on the page: keys in cookies, forms of other sites, bounds, hostile data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isthmus.service.keys import KeyFile, KeyRequest
from isthmus.service.page.routes import PAGES
from tests.service.page.html import read
from tests.service.page.visiting import enter, post, seen, titles, visit
from tests.service.serving import app_of, send, toy_space
from tests.toy import item

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e{{7*7}}"
HOSTILE_ID = "a\"'><b>&x=1#/../%2F"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    every = ("read", "write", "events", "admin")
    return {
        "file": str(file.path),
        "all": file.create(KeyRequest(scopes=every, name="everything")),
        "read": file.create(KeyRequest(scopes=("read",))),
        "admin": file.create(KeyRequest(scopes=("admin",))),
        "films": file.create(KeyRequest(scopes=every, domains="films")),
        "cheap": file.create(KeyRequest(scopes=("read",), where="price < 15")),
        "elsewhere": file.create(KeyRequest(scopes=every, spaces="other")),
    }


@pytest.fixture(scope="module")
def app(shop: Path, keys: dict[str, str]) -> Any:
    return app_of(spaces={"shop": shop}, keys=Path(keys["file"]))


@pytest.fixture(scope="module")
def open_app(shop: Path) -> Any:
    return app_of(spaces={"shop": shop})


def test_a_key_is_signed_in_with_and_out(app, keys):
    answer = visit(app, "search", q="x y")
    sign_in = "/page/sign-in?next=/page/spaces/shop/search%3Fq%3Dx%2By"
    assert (answer.status_code, answer.headers["location"]) == (303, sign_in)
    form = read(send(app, "GET", sign_in).text)
    assert form.one("input", name="next").attributes["value"] == "/page/spaces/shop/search?q=x+y"
    answer = enter(app, "wrong", next="/page/")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert read(answer.text).one("div", role="alert").text == "The key is unknown or revoked."
    answer = enter(app, keys["read"], next="/page/spaces/shop/search?q=x")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/page/spaces/shop/search?q=x"
    given = answer.headers["set-cookie"]
    assert given.startswith(f"isthmus_key={keys['read']};")
    rest = {part.strip().lower() for part in given.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/page"} <= rest
    assert "secure" not in rest
    assert visit(app, "search", keys["read"]).status_code == 200
    answer = post(app, "/page/sign-out", keys["read"])
    assert answer.headers["location"] == "/page/sign-in"
    assert 'isthmus_key=""' in answer.headers["set-cookie"]


def test_behind_tls_the_cookie_is_for_tls_alone(app, keys):
    headers = {"sec-fetch-site": "same-origin", "x-forwarded-proto": "https"}
    answer = enter(app, keys["read"], headers)
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example/page/", "/page/../v1/x", "/page/\\evil", ""],
)
def test_after_signing_in_nobody_is_led_elsewhere(app, keys, address):
    answer = send(app, "GET", "/page/sign-in?next=" + address.replace("\\", "%5C"))
    assert read(answer.text).one("input", name="next").attributes["value"] == "/page/"


def test_the_cookie_opens_the_page_and_no_route(app, keys):
    for method, path in (("POST", "/v1/count"), ("GET", "/v1/status"), ("GET", "/metrics")):
        answer = send(app, method, path, headers={"cookie": f"isthmus_key={keys['all']}"})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9"},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
        {"sec-fetch-site": "same-site"},
        {},
    ],
)
@pytest.mark.parametrize("page", [page.path for page in PAGES if "POST" in page.methods])
def test_a_form_of_another_site_does_nothing(app, open_app, keys, page, origin):
    for asked, key in ((app, keys["all"]), (open_app, None)):
        answer = post(asked, page, key, origin, number="1")
        assert answer.status_code == 403
        assert "Forbidden" in answer.text
    assert post(app, "/page/sign-out", keys["all"], origin).status_code == 403


def test_every_answer_forbids_what_the_page_does_not_need(app, keys):
    for path, key in (("search", "read"), ("item?id=none", "read"), ("/page/sign-in", None)):
        answer = visit(app, path, None if key is None else keys[key])
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        document = read(answer.text)
        assert not [e for e in document if any(name[:2] == "on" for name in e.attributes)]
        assert not [e for e in document if "style" in e.attributes or e.tag == "style"]
        for script in document.all("script"):
            assert script.attributes["src"].startswith("/page/static/")
            assert script.text == ""


def test_static_files_are_those_and_no_others(app):
    for name in ("page.css", "page.js", "htmx.min.js", "icon.svg"):
        answer = send(app, "GET", f"/page/static/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    for name in ("none.js", "..%2Froutes.py", "htmx.LICENSE.txt"):
        assert send(app, "GET", f"/page/static/{name}").status_code == 404


def test_a_key_sees_the_pages_that_it_may_use(app, keys):
    def tabs(key: str, page: str = "search") -> list[str]:
        (bar,) = seen(app, page, keys[key]).all("nav")
        return [link.text for link in bar.all("a")]

    assert tabs("read")[:1] == ["Search"]
    assert visit(app, "search", keys["elsewhere"]).status_code == 403
    assert visit(app, "search", keys["admin"]).status_code == 403


def test_a_bound_key_sees_its_domain_alone(app, keys):
    for page, fields in (
        ("search", {}),
        ("search", {"q": "booksword1"}),
        ("item", {"id": "films-1-1"}),
    ):
        answer = visit(app, page, keys["films"], **fields)
        assert answer.status_code == 200
        assert "books" not in answer.text.replace("booksword1", "")
    assert visit(app, "search", keys["films"], domain="books").status_code == 403
    for page in ("item", "thumbnail"):
        assert visit(app, page, keys["films"], id="books-1-1").status_code == 404


def test_a_forced_filter_holds_on_the_page(app, keys):
    document = seen(app, "search", keys["cheap"])
    assert document.one("p", id="announcement").text == "22 items"
    assert visit(app, "item", keys["cheap"], id="films-5-1").status_code == 404
    found = titles(seen(app, "search", keys["cheap"], q="filmsword5"))
    assert {title.split()[0][-1] for title in found} == {"0", "1"}


def test_hostile_data_is_text(own_shop):
    space = toy_space(own_shop)
    space.upsert([item(HOSTILE_ID, "filmsword1 evil", title=HOSTILE, **{'na"me<b>': HOSTILE})])
    app = app_of(spaces={"shop": own_shop})
    for page, fields in (
        ("search", {"q": "evil"}),
        ("search", {"q": HOSTILE, "where": HOSTILE}),
        ("search", {'is.na"me<b>': HOSTILE}),
        ("item", {"id": HOSTILE_ID}),
        ("item", {"id": HOSTILE}),
    ):
        answer = visit(app, page, **fields)
        document = read(answer.text)
        assert len(document.all("script")) == 2
        assert not [e for e in document if e.tag == "b" or "onerror" in e.attributes]
        assert "\u202e" not in answer.text
        assert "{{7*7}}" in answer.text or HOSTILE not in str(fields)
    card = seen(app, "search", q="evil").all("a", class_="card-link")[0]
    assert seen(app, card.attributes["href"]).one("h1").text.startswith("<script>alert(1)")


def test_several_spaces_have_a_list(shop, keys, tmp_path):
    app = app_of(spaces={"shop": shop, "other": shop})
    document = read(send(app, "GET", "/page/").text)
    assert [a.text for a in document.all("a", class_="tile")] == ["shop", "other"]
    document = seen(app, "search")
    assert [a.text for a in document.one("details", class_="spaces").all("a")] == ["shop", "other"]
    assert visit(app, "/page/spaces/none/search").status_code == 404


def test_the_page_can_be_switched_off(shop):
    app = app_of(spaces={"shop": shop}, page=False)
    assert [send(app, "GET", path).status_code for path in ("/", "/page/sign-in")] == [404, 404]
    assert send(app, "POST", "/v1/count", {}).status_code == 200

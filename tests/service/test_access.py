"""Who may do what: every operation, by every scope, for own and foreign domains, from one table."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from isthmus.api.operations import BY_NAME, OPERATIONS, SCOPES
from isthmus.service.access import RULES
from isthmus.service.keys import KeyFile, KeyRequest
from tests.service.serving import app_of, send, toy_space
from tests.toy import item

USER = {"history": ["films-1-1"]}
# Per operation: path parameter and body that stay in films, and those that reach for books; what
# is about the whole space has none of the first.
OWN, FOREIGN = "films-1-1", "books-1-1"
BODIES: dict[str, tuple[Any, Any]] = {
    "search": ({"text": "filmsword1"}, {"text": "x", "domain": ["books"]}),
    "search_batch": ({"vectors": [[1.0] * 64]}, {"vectors": [[1.0] * 64], "domain": ["books"]}),
    "search_groups": ({"text": "filmsword1", "by": "brand"}, {"by": "brand", "like": [FOREIGN]}),
    "facets": ({"attributes": ["domain"]}, {"attributes": ["brand"], "domain": ["books"]}),
    "scroll": ({}, {"domain": ["films", "books"]}),
    "count": ({}, {"domain": "books"}),
    "get": (OWN, FOREIGN),
    "map": ({"layout": "components"}, {"layout": "components", "domain": ["books"]}),
    "similar": (OWN, FOREIGN),
    "attributes": ("", "?domain=books"),
    "status": ("", None),
    "recommend": ({"user": USER}, {"user": USER, "domain": ["books"]}),
    "recommend_batch": ({"users": [{"id": "u1"}]}, {"users": [{"id": "u1"}], "domain": "books"}),
    "recommend_rows": ({"user": USER}, {"user": USER, "domain": ["books"]}),
    "recommend_users": (None, OWN),
    "predict_ratings": (
        {"user": USER, "item_ids": [OWN]},
        {"user": USER, "item_ids": [FOREIGN]},
    ),
    "upsert": (
        {"items": [item("films-new", "x")]},
        {"items": [item("books-new", "x", "books")]},
    ),
    "update": (
        {"items": [{"item_id": OWN, "price": 1.5}]},
        {"items": [{"item_id": FOREIGN, "price": 1.5}]},
    ),
    "delete": ({"item_ids": ["films-0-0"]}, {"where": "price > 0", "domain": "books"}),
    "cast_attribute": (
        {"domain": "films", "name": "price", "type": "double"},
        {"domain": "books", "name": "price", "type": "text"},
    ),
    "rename_attribute": (
        {"domain": "films", "name": "brand", "new_name": "maker"},
        {"domain": "books", "name": "brand", "new_name": "maker"},
    ),
    "drop_attribute": (
        {"domain": "films", "name": "tags"},
        {"domain": "books", "name": "tags"},
    ),
    "record_events": (
        {"events": [{"event_id": "e", "user_id": "u", "item_id": OWN}]},
        {"events": [{"event_id": "e", "user_id": "u", "item_id": FOREIGN}]},
    ),
    "add_interactions": (
        {"source": [{"user_id": "u", "item_id": OWN}]},
        {"source": [{"user_id": "u", "item_id": FOREIGN}]},
    ),
    "scenarios": (None, ""),
    "set_scenario": (None, "home"),
    "delete_scenario": (None, "home"),
    "interactions": ("u3", None),
    "quarantine": ("", None),
    "events": (None, {}),
    "export_user": (None, "u1"),
    "forget_user": (None, "u9"),
    "add_users": (None, {"source": [{"user_id": "u", "country": "NL"}]}),
    "merge_users": (None, {"user_id": "v", "into": "u"}),
    "users": (None, "u1"),
    "user_ids": (None, ""),
    "user_attributes": (None, ""),
    "delete_users": (None, "u1"),
    "retry_quarantine": (None, {}),
    "releases": (None, ""),
    "rollback": (None, {"number": 1}),
    "jobs": (None, ""),
    "job": (None, "none"),
}
# They start a process; that they need their scope is asked without one.
JOBS = ("publish", "train", "backup", "monitor", "evaluate")
ASKED = [operation.name for operation in OPERATIONS if operation.name not in JOBS]
BOUND_ANSWERS = {403, 404, 422}
LAST = ("rename_attribute", "drop_attribute", "delete", "cast_attribute")  # change the films


@pytest.fixture(scope="module")
def folder(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(shop, tmp_path_factory.mktemp("access") / "shop.space"))


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    """A key for each scope, free and bound to films, and one with everything."""
    file = KeyFile(folder.parent / "keys.json")
    made = {}
    for scope in SCOPES:
        made[scope] = file.create(KeyRequest(scopes=(scope,)))
        made[f"{scope} of films"] = file.create(KeyRequest(scopes=(scope,), domains="films"))
    made["all of films"] = file.create(KeyRequest(scopes=SCOPES, domains="films"))
    made["cheap"] = file.create(KeyRequest(scopes=SCOPES, domains="films", where="price < 20"))
    made["elsewhere"] = file.create(KeyRequest(scopes=SCOPES, spaces="other"))
    return made


@pytest.fixture(scope="module")
def app(folder: Path, keys: dict[str, str]) -> Any:
    return app_of(spaces={"shop": folder}, keys=folder.parent / "keys.json")


def ask(app: Any, name: str, given: Any, key: str | None) -> httpx.Response:
    """Ask for an operation in process, with a body or what stands in the path."""
    operation = BY_NAME[name]
    path, body = operation.path, given if isinstance(given, dict) else {}
    if isinstance(given, str):
        for parameter in operation.in_path:
            path = path.replace(f"{{{parameter}}}", given)
        path += given if given.startswith("?") else ""
    return send(app, operation.method, f"/v1{path}", body if operation.has_body else None, key)


def in_order(names: list[str]) -> list[str]:
    """Operations that later ones do not feel come first."""
    return sorted(names, key=lambda name: LAST.index(name) if name in LAST else -1)


def test_every_operation_has_a_rule_and_stands_in_the_table():
    assert set(RULES) == set(BY_NAME)
    assert {*BODIES, *JOBS} == set(BY_NAME)


@pytest.mark.parametrize("name", [*ASKED, *JOBS])
def test_without_a_key_nothing_is_done(app, name):
    given = BODIES.get(name, ({}, None))
    answer = ask(app, name, given[0] if given[0] is not None else given[1], None)
    assert (answer.status_code, answer.json()["error"]) == (401, "InvalidKey")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", [*ASKED, *JOBS])
def test_a_scope_opens_its_operations_and_no_others(app, keys, name, scope):
    operation = BY_NAME[name]
    given = BODIES.get(name, ({}, None))
    value = given[0] if given[0] is not None else given[1]
    if scope != operation.scope:
        answer = ask(app, name, value, keys[scope])
        assert (answer.status_code, answer.json()["error"]) == (403, "AccessDenied")
    elif operation.reads and name != "job":
        answer = ask(app, name, value, keys[scope])
        # The shop has no model of ratings.
        assert answer.status_code == (422 if name == "predict_ratings" else 200), answer.text


@pytest.mark.parametrize("name", in_order(ASKED))
def test_a_bound_key_does_what_stays_within_and_nothing_else(app, keys, name):
    own, foreign = BODIES[name]
    key = keys[f"{BY_NAME[name].scope} of films"]
    if foreign is not None:
        answer = ask(app, name, foreign, key)
        assert answer.status_code in BOUND_ANSWERS or _changed_nothing(answer), answer.text
        assert "books-" not in answer.text.replace(FOREIGN, "").replace("books-new", "")
    if own is not None:
        answer = ask(app, name, own, key)
        assert answer.status_code == (422 if name == "predict_ratings" else 200), answer.text
        assert "books" not in answer.text


def _changed_nothing(answer: httpx.Response) -> bool:
    """An update whose domain is that of the key finds no such item in it."""
    report = answer.json()
    return answer.status_code == 200 and report.get("changed") == 0


def test_a_forced_filter_holds_for_everything_that_is_read(app, keys):
    cheap = keys["cheap"]
    assert send(app, "POST", "/v1/count", {}, cheap).json()["count"] <= 12
    found = send(app, "POST", "/v1/search", {"text": "filmsword5", "k": 50}, cheap).json()
    assert found["hits"]
    assert {hit["item_id"].split("-")[1] for hit in found["hits"]} <= {"0", "1"}
    assert ask(app, "get", "films-1-1", cheap).status_code == 200
    assert ask(app, "get", "films-5-1", cheap).status_code == 404
    assert ask(app, "similar", "films-5-1", cheap).status_code == 404
    explained = {"user": {"history": ["films-1-1", "films-5-1"]}, "k": 5, "explain": True}
    answer = send(app, "POST", "/v1/recommend", explained, cheap)
    assert "films-5" not in answer.text


@pytest.mark.parametrize(
    "where", ["price < 5) OR (price > 0", "price > 0 OR 1 = 1", "true) -- ", "(price > 0"]
)
def test_a_filter_cannot_break_out_of_the_forced_one(app, keys, where):
    answer = send(app, "POST", "/v1/count", {"where": where}, keys["cheap"])
    assert answer.status_code == 422 or answer.json()["count"] <= 12


def test_stored_events_of_foreign_items_are_not_shown(app, keys):
    rows = ask(app, "interactions", "u3", keys["events of films"]).json()["interactions"]
    assert rows
    assert {row["item_id"].split("-")[0] for row in rows} == {"films"}
    explained = {"user": {"id": "u3"}, "explain": True, "k": 5}
    assert "books" not in send(app, "POST", "/v1/recommend", explained, keys["read of films"]).text


def test_a_scenario_brings_nothing_in_from_beyond_reach(own_shop, tmp_path):
    toy_space(own_shop).set_scenario("home", pin=["books-1-1", "films-7-1"])
    file = KeyFile(tmp_path / "keys.json")
    films = file.create(KeyRequest(domains="films", where="price < 60"))
    app = app_of(spaces={"shop": own_shop}, keys=file.path)
    for path, body in (
        ("search", {"text": "filmsword1"}),
        ("recommend", {"user": USER}),
        ("recommend/batch", {"users": [{"id": "u1"}]}),
        ("search/groups", {"text": "filmsword1", "by": "brand"}),
    ):
        answer = send(app, "POST", f"/v1/{path}", {**body, "scenario": "home"}, films)
        assert answer.status_code == 200, answer.text
        assert "books" not in answer.text
        assert "films-7" not in answer.text
        pinned = send(app, "POST", f"/v1/{path}", {**body, "pin": ["books-1-1"]}, films)
        assert (pinned.status_code, pinned.json()["error"]) == (404, "ItemNotFound")


def test_a_key_of_another_space_is_refused(app, keys):
    answer = send(app, "POST", "/v1/count", {}, keys["elsewhere"])
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "this key is not for the space 'shop'",
    )


@pytest.mark.parametrize("text", ["x", "isk_", "isk_a_b", "isk_{}_x", "\xff"])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_what_is_no_key_is_refused(app, keys, text, header):
    given = text.format(keys["read"].split("_")[1])
    value = f"Bearer {given}" if header == "authorization" else given
    answer = send(app, "GET", "/v1/status", headers={header: value.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]) == (401, "InvalidKey")


def test_without_keys_only_this_machine_is_answered(shop):
    app = app_of(spaces={"shop": shop})

    async def run(client_address: str, host: str) -> int:
        transport = httpx.ASGITransport(app, client=(client_address, 5))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return (await client.post("/v1/count", json={})).status_code

    asked = [("127.0.0.1", "localhost"), ("::1", "[::1]:8080"), ("127.0.0.1", "127.0.0.1:80")]
    assert [asyncio.run(run(*one)) for one in asked] == [200, 200, 200]
    asked = [("10.0.0.7", "localhost"), ("127.0.0.1", "shop.example"), ("nobody", "localhost")]
    assert [asyncio.run(run(*one)) for one in asked] == [403, 403, 403]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://shop.example", "sec-fetch-site": "cross-site"}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_without_keys_pages_of_other_sites_write_nothing(own_shop, headers, status):
    """A page can send JSON without saying so, which no browser asks the service about first."""
    app = app_of(spaces={"shop": own_shop}, cors_origins=("https://shop.example",))
    content = b'{"item_ids": ["films-1-1"]}'
    answer = send(app, "DELETE", "/v1/items", content=content, headers=headers)
    assert answer.status_code == status
    assert toy_space(own_shop).count() == (95 if status == 200 else 96)


def test_a_file_whose_keys_are_revoked_lets_nobody_in(shop, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    key = file.create(KeyRequest(scopes=("read",)))
    app = app_of(spaces={"shop": shop}, keys=file.path)
    assert send(app, "POST", "/v1/count", {}, key).status_code == 200
    file.revoke(file.all()[0].id)
    assert send(app, "POST", "/v1/count", {}, key).status_code == 401
    assert send(app, "POST", "/v1/count", {}).status_code == 401

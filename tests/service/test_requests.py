"""Requests and answers of the service beside the verbs: forms, limits, errors, ids, metrics."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from isthmus import Space, connect_async, errors
from isthmus.api.bodies import body_of, parse_body
from isthmus.api.operations import BY_NAME, OPERATIONS
from isthmus.api.problems import STATUS, error_of, problem_of
from isthmus.client.remote import AsyncRemoteSpace, RemoteSpace
from isthmus.errors import InvalidInput, IsthmusError
from isthmus.service.settings import Limits, ServeSettings, named_spaces, read_settings
from tests.service.serving import app_of, send
from tests.toy import item, joint_encoder, picture

# Nothing here is about time: the first map of a process imports for seconds.
LIMITS = Limits(
    max_body_bytes=20_000,
    max_k=50,
    max_batch=5,
    max_rows=5,
    max_concurrent_per_key=2,
    timeout_s=600.0,
)


@pytest.fixture(scope="module")
def app(shop: Path) -> Any:
    return app_of(spaces={"shop": shop}, limits=LIMITS)


@pytest.fixture
def writable(own_shop: Path) -> Any:
    return app_of(spaces={"shop": own_shop}, audit=own_shop.parent / "audit.jsonl")


def leaves(cls: type[IsthmusError]) -> set[type[IsthmusError]]:
    """The classes of errors that `isthmus.errors` has."""
    found = {cls} if cls.__module__ == errors.__name__ else set()
    return found.union(*(leaves(sub) for sub in cls.__subclasses__()))


def test_every_error_has_a_status():
    assert set(STATUS) == leaves(IsthmusError)


@pytest.mark.parametrize("cls", STATUS, ids=lambda cls: cls.__name__)
def test_an_error_comes_back_as_it_was(cls):
    if issubclass(cls, errors.InvalidRows):
        error: IsthmusError = cls([(3, "has no id")], "a.csv")
    elif issubclass(cls, errors.PartlyEncoded):
        error = cls("the server stopped", {}, {}, is_over=True)
    else:
        error = cls("what happened")
    back = error_of(json.loads(json.dumps(problem_of(error, "id"))))
    expected = errors.ServiceError if cls is errors.PartlyEncoded else cls
    assert (type(back), str(back)) == (expected, str(error))
    if isinstance(error, errors.InvalidRows):
        assert back.problems == error.problems


def test_a_problem_says_what_the_command_line_says_and_no_path(app, shop):
    answer = send(app, "POST", "/v1/predict-ratings", {"user": {"id": "u1"}, "item_ids": ["x"]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"].startswith("shop has no model of values; add interactions")
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert str(shop.parent) not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 422, "the body is no JSON: "),
        (b"[]", 422, "the body is no JSON object; give the arguments by name"),
        (b'{"k": "5"}', 422, "k is '5'; Input should be a valid integer"),
        (b'{"k": 0}', 422, "k is 0; give 1 or more"),
        (b'{"k": 51}', 422, "k is 51; this service answers at most 50"),
        (b'{"k": 10, "offset": 41}', 422, "k is 10 beyond an offset of 41; this service answers"),
        (b'{"k": null, "min_score": 0.5}', 422, "k is None; give a k of at most 50"),
        (b'{"like": ["a","b","c","d","e","f"]}', 422, "like has 6 entries; give at most 5"),
        (b'{"limit": 3}', 422, "there is no argument 'limit'; there are: "),
        (b'{"vector": [1, "a"]}', 422, "vector.1 is 'a'; "),
        (b'{"image": "%%"}', 422, "a file is no base64: "),
        (b'{"text": "x", "rerank": "openai/x?base_url=http://10.0.0.1"}', 422, "rerank='openai/"),
        (b"{" + b" " * 20_000 + b"}", 413, "the body has more than 20000 bytes"),
    ],
)
def test_what_is_not_valid_is_named(app, body, status, said):
    kind = {"content-type": "application/json"}
    answer = send(app, "POST", "/v1/search", content=body, headers=kind)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(said)


def test_other_routes_methods_and_types_are_refused(app):
    assert send(app, "GET", "/v1/nothing").json()["error"] == "UnknownRoute"
    assert send(app, "GET", "/v1/search").status_code == 405
    assert send(app, "POST", "/v1/spaces/other/count", {}).status_code == 404
    kind = {"content-type": "text/plain"}
    answer = send(app, "POST", "/v1/count", content=b"{}", headers=kind)
    assert answer.json()["detail"] == (
        "a body of type 'text/plain' cannot be read here; send application/json"
    )


def test_a_request_keeps_its_id_or_gets_one(app):
    def ask(given: dict[str, str]) -> str:
        return send(app, "POST", "/v1/count", {}, headers=given).headers["x-request-id"]

    assert ask({"x-request-id": "trace-7.a_B"}) == "trace-7.a_B"
    assert len(ask({})) == len(ask({"x-request-id": "<script>"})) == 16


def test_every_answer_names_its_release_and_long_ones_are_compressed(app):
    answer = send(app, "POST", "/v1/search", {"text": "filmsword1", "k": 50})
    assert answer.headers["isthmus-release"] == "2"
    assert (answer.json()["release"], answer.headers["content-encoding"]) == (2, "gzip")
    plain = {"accept-encoding": "identity"}
    short = send(app, "POST", "/v1/count", {}, headers=plain)
    assert "content-encoding" not in short.headers
    assert short.json() == {"count": 96, "release": 2}


def test_a_space_is_found_under_its_name_and_several_need_one(app, shop, board):
    assert send(app, "POST", "/v1/spaces/shop/count", {}).json()["count"] == 96
    both = app_of(spaces={"shop": shop, "board": board.path})
    assert send(both, "POST", "/v1/spaces/board/count", {}).json()["count"] == 96
    assert send(both, "POST", "/v1/count", {}).status_code == 404
    assert "/v1/spaces/{space}/search" in send(both, "GET", "/v1/openapi.json").json()["paths"]


def test_pictures_come_as_base64_or_as_a_part(tmp_path):
    encoder = joint_encoder()
    space = Space.create(tmp_path / "colours.space", encoder)
    space.upsert([item(colour, colour, "colours") for colour in ("red", "green", "blue")])
    from isthmus.service.app import make_app

    settings = ServeSettings(spaces={"colours": space.path})
    app = make_app(settings, lambda path: Space.open(path, encoder=encoder))
    encoded = base64.b64encode(picture("green")).decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        found = send(app, "POST", "/v1/search", {"image": text, "k": 1}).json()["hits"]
        assert found[0]["item_id"] == "green"
    files = {"image": ("a.png", picture("blue"), "image/png"), "request": (None, '{"k": 1}')}
    made = httpx.Request("POST", "http://localhost", files=files)
    answer = send(app, "POST", "/v1/search", content=made.read(), headers={**made.headers})
    assert answer.json()["hits"][0]["item_id"] == "blue"
    broken = base64.b64encode(b"no picture").decode()
    refused = send(app, "POST", "/v1/search", {"image": broken})
    assert (refused.status_code, refused.json()["error"]) == (422, "InvalidImage")


def test_items_come_as_lines_or_as_arrow(writable):
    lines = b'{"item_id": "a", "domain": "films", "text": "x"}\n\n{"item_id": "b", "text": "y"}'
    kind = {"content-type": "application/x-ndjson"}
    answer = send(writable, "PUT", "/v1/items?domain=films", content=lines, headers=kind)
    assert answer.json()["added"] == 2
    sink = pa.BufferOutputStream()
    table = pa.table({"item_id": ["c"], "domain": ["films"], "text": ["z"]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    kind = {"content-type": "application/vnd.apache.arrow.stream"}
    body = sink.getvalue().to_pybytes()
    assert send(writable, "PUT", "/v1/items", content=body, headers=kind).json()["added"] == 1
    refused = send(writable, "PUT", "/v1/items", content=body[:50], headers=kind)
    assert refused.status_code == 422
    refused = send(writable, "PUT", "/v1/items?delimiter=x", content=body, headers=kind)
    assert refused.json()["detail"].startswith("there is no argument 'delimiter'")


def test_no_file_of_the_service_is_read_for_a_caller(writable, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture("red"))
    for reference in (str(secret), f"file://{secret}", "media:../../secret"):
        rows = [{"item_id": "a", "domain": "films", "text": "x", "image": reference}]
        answer = send(writable, "PUT", "/v1/items", {"items": rows, "image": "image"})
        if answer.status_code == 200:  # a space without pictures keeps no such column
            assert answer.json()["encoded"].get("image", 0) == 0
        else:
            assert "would be a file of the service" in answer.json()["detail"]
    answer = send(writable, "POST", "/v1/search", {"image": str(secret)})
    assert answer.json()["detail"].startswith("a file is no base64")


def test_writes_are_audited_and_a_forgotten_user_cannot_be_recognised(writable, own_shop):
    def users() -> list[list[str]]:
        lines = (own_shop.parent / "audit.jsonl").read_text().splitlines()
        return [json.loads(line).get("users", []) for line in lines]

    def click(number: int) -> None:
        event = {"event_id": str(number), "user_id": "ann", "item_id": "films-1-1"}
        assert send(writable, "POST", "/v1/events", {"events": [event]}).status_code == 200

    click(1)
    click(2)
    send(writable, "POST", "/v1/count", {})
    assert len(users()) == 2
    assert users()[0] == users()[1]
    assert send(writable, "DELETE", "/v1/users/ann").json()["deleted"] == 2
    click(3)
    before, _, at_erasure, after = users()
    assert before == at_erasure
    assert before != after
    files = [p for p in own_shop.parent.glob("audit*") if p.is_file()]
    assert len(files) == 2
    line = json.loads((own_shop.parent / "audit.jsonl").read_text().splitlines()[0])
    assert "ann" not in json.dumps(line)
    assert (line["operation"], line["counts"]["added"], line["key"]) == ("record_events", 1, "-")


def test_pages_of_other_origins_are_let_in_only_where_that_is_set(app, shop):
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    assert (
        "access-control-allow-origin"
        not in send(app, "OPTIONS", "/v1/search", headers=asked).headers
    )
    open_app = app_of(spaces={"shop": shop}, cors_origins=("https://a.example",))
    allowed = send(open_app, "OPTIONS", "/v1/search", headers=asked).headers
    assert allowed["access-control-allow-origin"] == "https://a.example"
    other = {**asked, "origin": "https://b.example"}
    assert (
        "access-control-allow-origin"
        not in send(open_app, "OPTIONS", "/v1/search", headers=other).headers
    )


def test_health_readiness_and_metrics(app):
    assert send(app, "GET", "/healthz").json() == {"healthy": True}
    assert send(app, "GET", "/readyz").json() == {"ready": True}
    send(app, "POST", "/v1/search", {"text": "<script>", "where": "evil{} < 1"})
    text = send(app, "GET", "/metrics").text
    assert 'isthmus_requests_total{operation="search",space="shop",status="422"}' in text
    assert 'isthmus_errors_total{error="InvalidFilter",operation="search",space="shop"}' in text
    assert "script" not in text
    assert "evil" not in text
    for line in (
        'isthmus_searchable_items{domain="books",space="shop"} 48.0',
        'isthmus_delta_items{space="shop"} 0.0',
        'isthmus_quarantined{space="shop"} 0.0',
        'isthmus_space_up{space="shop"} 1.0',
    ):
        assert line in text.splitlines()
    assert 'isthmus_release_created_timestamp_seconds{space="shop"} 1.' in text


def test_a_space_that_cannot_be_read_is_not_up(own_shop):
    served = app_of(spaces={"shop": own_shop})
    (own_shop / "space.toml").unlink()
    text = send(served, "GET", "/metrics").text
    assert 'isthmus_space_up{space="shop"} 0.0' in text.splitlines()
    assert "isthmus_delta_items{" not in text


class Gate:
    """Lets a verb begin, and end only when it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.opened = threading.Semaphore(0), threading.Event()
        count = Space.count

        def slow(space: Space, *args: Any, **kwargs: Any) -> int:
            self.begun.release()
            assert self.opened.wait(60)
            return int(count(space, *args, **kwargs))

        monkeypatch.setattr(Space, "count", slow)


async def several(app: Any, gate: Gate, n: int) -> list[httpx.Response]:
    """Ask for counts until n run, then for one more, then let all end."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        running = [asyncio.create_task(client.post("/v1/count", json={})) for _ in range(n)]
        for _ in range(n):
            assert await asyncio.to_thread(gate.begun.acquire, timeout=60)
        one_more = await client.post("/v1/count", json={})
        gate.opened.set()
        return [one_more, *await asyncio.gather(*running)]


@pytest.mark.parametrize(
    ("limits", "status", "error"),
    [
        (Limits(max_concurrent_per_key=2), 429, "TooManyRequests"),
        (Limits(max_concurrent=2), 503, "Busy"),
    ],
)
def test_more_requests_than_may_run_at_a_time_are_told_to_come_again(
    shop, monkeypatch, limits, status, error
):
    app = app_of(spaces={"shop": shop}, limits=limits)
    refused, *others = asyncio.run(several(app, Gate(monkeypatch), 2))
    assert (refused.status_code, refused.json()["error"]) == (status, error)
    assert refused.headers["retry-after"] == "1"
    assert [answer.json()["count"] for answer in others] == [96, 96]
    assert send(app, "POST", "/v1/count", {}).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(shop, monkeypatch):
    gate = Gate(monkeypatch)
    app = app_of(spaces={"shop": shop}, limits=Limits(timeout_s=0.05))
    answer = send(app, "POST", "/v1/count", {})
    gate.opened.set()
    assert (answer.status_code, answer.json()["error"]) == (503, "Busy")
    assert answer.headers["retry-after"] == "1"


def test_a_failure_tells_the_client_nothing(shop, monkeypatch, caplog):
    def fail(space: Space, **_: Any) -> int:
        raise ZeroDivisionError(f"secret of {space.path}")

    monkeypatch.setattr(Space, "count", fail)
    app = app_of(spaces={"shop": shop})
    with caplog.at_level(logging.ERROR, "isthmus.service"):
        answer = send(app, "POST", "/v1/count", {})
    assert answer.status_code == 500
    assert answer.json()["error"] == "ServiceError"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text


def test_the_description_is_valid_and_has_an_example_of_everything(app):
    described = send(app, "GET", "/v1/openapi.json").json()
    found = [
        (method.upper(), path.removeprefix("/v1"), operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    assert {(method, path) for method, path, _ in found} == {(o.method, o.path) for o in OPERATIONS}
    for _, _, operation in found:
        for answer in (a for status, a in operation["responses"].items() if status < "300"):
            (content,) = answer["content"].values()
            schema = {**content["schema"], "components": described["components"]}
            Draft202012Validator(schema).validate(content["example"])
        for kind, content in operation.get("requestBody", {"content": {}})["content"].items():
            if kind == "application/json":
                schema = {**content["schema"], "components": described["components"]}
                Draft202012Validator(schema).validate(content["example"])


@pytest.mark.parametrize("name", [o.name for o in OPERATIONS if o.has_body and o.example])
def test_an_example_is_a_body(name):
    operation = BY_NAME[name]
    assert set(parse_body(operation, json.dumps(operation.example).encode())) == set(
        operation.example
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@st.composite
def bodies(draw: Any) -> tuple[str, dict[str, Any]]:
    """An operation that reads, and values for some of its arguments."""
    reading = [o for o in OPERATIONS if o.has_body and o.scope == "read"]
    operation = draw(st.sampled_from(reading))
    names = st.sampled_from(sorted(body_of(operation).model_fields))
    return operation.name, draw(st.dictionaries(names, VALUES, max_size=4))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=bodies())
def test_any_body_is_answered_or_refused_with_a_problem(app, case):
    name, body = case
    path = BY_NAME[name].path.replace("{item_id}", "films-1-1")
    answer = send(app, "POST", f"/v1{path}", body)
    assert answer.status_code in (200, 404, 413, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]
        assert "Traceback" not in answer.text


def test_the_asynchronous_client_has_the_same_verbs(address, shop):
    async def ask() -> Any:
        async with connect_async(address) as space:
            hits, item_, problem = await asyncio.gather(
                space.search("filmsword2", k=3),
                space.get("films-1-1"),
                space.search("x", where="price <"),
                return_exceptions=True,
            )
            ids = [item_id async for item_id in space.ids("films", "price < 2")]
            await space.releases()
            return hits, item_, problem, ids, await space.users(["u1"])

    hits, found, problem, ids, users = asyncio.run(ask())
    assert ids == ["films-0-0", "films-0-1"]
    assert users == [{"user_id": "u1", "country": "NL"}]
    assert len(hits) == 3
    assert found["item_id"] == "films-1-1"
    assert isinstance(problem, errors.InvalidFilter)


def test_clients_have_the_verbs_of_the_service():
    offered = {o.name for o in OPERATIONS if o.is_verb} | {"ids"}
    for client in (RemoteSpace, AsyncRemoteSpace):
        assert {name for name in vars(client) if name in offered} == offered


def test_what_does_not_go_over_http_says_so(address):
    with RemoteSpace(address) as space:
        with pytest.raises(errors.UnsupportedOperation, match=r"^compact does not go over HTTP"):
            space.compact()
        with pytest.raises(errors.UnsupportedOperation, match=r"^processes is not offered"):
            space.recommend_batch([], processes=2)
        with pytest.raises(AttributeError):
            space.nothing  # noqa: B018
        with pytest.raises(errors.UnsupportedOperation, match="is a folder, which does not go"):
            space.upsert(".")
        with pytest.raises(InvalidInput, match=r"^no image file none\.png$"):
            space.search(image="none.png")


def test_settings_come_from_a_file_and_from_arguments(tmp_path):
    (tmp_path / "serve.toml").write_text(
        'port = 9\nkeys = "k.json"\n[spaces]\nshop = "a.space"\n[limits]\nmax_k = 7\n'
    )
    found = read_settings(tmp_path / "serve.toml", {"port": 10})
    assert (found.port, found.limits.max_k) == (10, 7)
    assert (found.keys, found.spaces) == (tmp_path / "k.json", {"shop": tmp_path / "a.space"})
    with pytest.raises(InvalidInput, match="there is no argument 'prot'"):
        read_settings(None, {"spaces": {"a": "b"}, "prot": 1})
    with pytest.raises(InvalidInput, match="would both be served as 'a'"):
        named_spaces([tmp_path / "a.space", tmp_path / "b" / "a"])
    with pytest.raises(InvalidInput, match="there is no space to serve"):
        read_settings(None, {"spaces": {}})


def test_compressed_answers_are_read(address):
    answer = httpx.post(f"{address}/v1/scroll", json={"k": 50})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(answer.content)) < len(answer.content)
    assert len(answer.json()["items"]) == 50


def test_vectors_are_searched_as_they_are(app, shop):
    vector = np.arange(64, dtype=np.float32) - 30
    found = send(app, "POST", "/v1/search", {"vector": vector.tolist(), "k": 3}).json()
    from tests.service.serving import toy_space

    expected = toy_space(shop).search(vector=vector, k=3)
    assert [hit["item_id"] for hit in found["hits"]] == [hit.item_id for hit in expected]
    assert [hit["score"] for hit in found["hits"]] == [hit.score for hit in expected]

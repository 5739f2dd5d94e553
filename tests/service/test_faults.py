"""Clients that are slow, leave, or send what is nothing; events sent again; erased users.

Everything goes to loopback, and is bounded in number and time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.api.tables import SUFFIXES
from isthmus.errors import ItemNotFound
from isthmus.service.app import make_app
from isthmus.service.keys import KeyFile, KeyRequest
from isthmus.service.settings import Limits, ServeSettings
from tests.service.serving import app_of, running, send, toy_space

WAIT_S = 60
BODY = b'{"text": "filmsword1", "k": 1}'
HEAD = (
    b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)
OPENED = 10_000
SPARE = 500  # descriptors for everything else


def connected(address: str) -> socket.socket:
    where = urlsplit(address)
    return socket.create_connection((where.hostname, where.port), WAIT_S)


def answered(address: str) -> int:
    return httpx.post(f"{address}/v1/search", content=BODY, timeout=WAIT_S,
                      headers={"content-type": "application/json"}).status_code  # fmt: skip


def test_slow_clients_are_told_so_and_keep_nobody_waiting(shop):
    app = app_of(spaces={"shop": shop}, limits=Limits(timeout_s=0.3, max_concurrent=2))
    with running(app) as address, ExitStack() as stack:
        slow = [stack.enter_context(closing(connected(address))) for _ in range(20)]
        for one in slow:
            one.sendall(HEAD % 100 + BODY)  # and not the rest
        assert answered(address) == 200
        for one in slow:
            assert one.recv(2_000).startswith(b"HTTP/1.1 503")
        assert answered(address) == 200
    assert app.state.pipeline.slots.taken == 0


def test_clients_that_leave_take_no_place_with_them(shop):
    app = app_of(spaces={"shop": shop})
    with running(app) as address:
        for sent in (HEAD[:20], HEAD % len(BODY), HEAD % len(BODY) + BODY[:5], b"\x16\x03\x01\xff"):
            for _ in range(5):
                half = connected(address)
                half.sendall(sent)
                half.shutdown(socket.SHUT_WR)  # it can still listen
                half.settimeout(WAIT_S)
                while half.recv(4_096):
                    pass
                half.close()
                gone = connected(address)
                gone.sendall(sent)
                gone.close()
        whole = connected(address)
        whole.sendall(HEAD % len(BODY) + BODY)
        assert whole.recv(15) == b"HTTP/1.1 200 OK"
        whole.close()
        assert answered(address) == 200
    assert app.state.pipeline.slots.taken == 0


@pytest.mark.heavy
def test_ten_thousand_open_connections_keep_nobody_out(workers):
    """As many as the limit of file descriptors allows in this process."""
    address, process = workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(OPENED, hard - SPARE)
    query = {"vector": [1.0] * 8, "k": 1}
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(closing(connected(address))) for _ in range(n)]
            for one in opened[::100]:
                one.sendall(HEAD[:30])
            for _ in range(20):
                answer = httpx.post(f"{address}/v1/search", json=query, timeout=WAIT_S)
                assert answer.status_code == 200
            assert process.poll() is None
        assert httpx.post(f"{address}/v1/search", json=query, timeout=WAIT_S).status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    space = Space.create(tmp_path_factory.mktemp("fuzzed") / "f.space", "none", vectors={"v": 2})
    return make_app(ServeSettings(spaces={"f": space.path}))


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([*SUFFIXES, "application/json", "multipart/form-data; boundary=x"]),
    path=st.sampled_from(["PUT /v1/items", "PATCH /v1/items", "PUT /v1/users",
                          "POST /v1/interactions", "POST /v1/search"]),
    body=st.binary(max_size=60) | st.text(max_size=30).map(str.encode)
    | st.sampled_from([b"PAR1", b"item_id,domain\n", b'{"item_id": "a"}', b"\xff\xfe\x00", b"[]"]),
)  # fmt: skip
def test_no_body_is_a_failure(fuzzed, kind, path, body):
    method, address = path.split(" ")
    answer = send(fuzzed, method, address, content=body, headers={"content-type": kind})
    assert answer.status_code in (200, 404, 413, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]


def test_a_batch_of_events_that_is_sent_again_changes_nothing(own_shop):
    events = [
        {"event_id": f"e{n}", "user_id": f"u{n % 3}", "item_id": f"films-{n % 8}-1"}
        for n in range(24)
    ]
    body = json.dumps({"events": events}).encode()
    both = [app_of(spaces={"shop": own_shop}) for _ in range(2)]

    def post(at: int) -> int:
        kind = {"content-type": "application/json"}
        answer = send(both[at % 2], "POST", "/v1/events", content=body, headers=kind)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["added"])

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(post, range(8)))
    assert sum(added) == len(events)
    rows = toy_space(own_shop).interactions().to_pylist()
    assert sum(row["event"] == "interaction" for row in rows) == len(rows)
    assert len(rows) == 1280 + len(events)


def test_an_erased_user_leaves_no_trace(own_shop, tmp_path, caplog):
    name = "zoe-4711"
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.create(KeyRequest(scopes=("read", "write", "events", "admin")))
    audit = tmp_path / "audit.jsonl"
    app = app_of(spaces={"shop": own_shop}, keys=keys.path, audit=audit, log=True)
    with caplog.at_level(logging.DEBUG):
        event = {"event_id": "e1", "user_id": name, "item_id": "films-1-1"}
        send(app, "POST", "/v1/events", {"events": [event]}, key)
        send(app, "POST", "/v1/events", {"events": [{**event, "item_id": "none"}]}, key)
        send(app, "PUT", "/v1/users", {"source": [{"user_id": name, "country": "NL"}]}, key)
        shown = send(app, "POST", "/v1/recommend", {"user": {"id": name}, "k": 3}, key).json()
        click = {**event, "event_id": "e2", "recommendation_id": shown["recommendation_id"]}
        send(app, "POST", "/v1/events", {"events": [click]}, key)
        send(app, "POST", "/v1/recommend", {"user": {"id": name}, "k": -1}, key)
        send(app, "GET", f"/v1/users/{name}", key=key)
        space = app.state.pipeline.spaces.named("shop").space
        space.recommendation_log.flush()
        assert name in str(space.recommendations().to_pylist())
        assert send(app, "DELETE", f"/v1/users/{name}", key=key).json()["deleted"] >= 2
        space.recommendation_log.flush()
        assert name not in str(space.interactions().to_pylist())
        assert name not in str(space.recommendations().to_pylist())
        assert name not in space.user_ids()
        assert name not in send(app, "GET", "/metrics", key=key).text
        assert name not in send(app, "GET", "/v1/jobs", key=key).text
    # The client of this test logs what it asks for; the service does not.
    logged = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert name not in "\n".join(logged)
    space.compact(keep_days=0)
    files = [*own_shop.rglob("*"), *tmp_path.glob("audit*")]
    traces = [one for one in files if one.is_file() and name.encode() in one.read_bytes()]
    assert traces == []


def test_a_request_that_fails_in_the_midst_gives_its_place_back(shop, monkeypatch):
    app = app_of(spaces={"shop": shop}, limits=Limits(max_concurrent=1))
    begun = threading.Event()

    def fail(*_: Any, **__: Any) -> int:
        begun.set()
        raise ItemNotFound("none")

    monkeypatch.setattr(Space, "count", fail)
    assert send(app, "POST", "/v1/count", {}).status_code == 404
    assert begun.is_set()
    assert app.state.pipeline.slots.taken == 0
    asyncio.run(asyncio.sleep(0))
    assert send(app, "POST", "/v1/search", {"text": "filmsword1"}).status_code == 200


def test_a_table_that_is_broken_off_leaves_no_file(own_shop):
    app = app_of(spaces={"shop": own_shop}, limits=Limits(max_body_bytes=100))
    head = (
        b"PUT /v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 5000000\r\n\r\n"
    )
    folder: Path = own_shop / ".service/uploads"
    with running(app) as address:
        one = connected(address)
        one.sendall(head + b"item_id\n" + b"x\n" * 1_000_000)
        one.close()
        assert answered(address) == 200
    assert not folder.exists() or list(folder.iterdir()) == []

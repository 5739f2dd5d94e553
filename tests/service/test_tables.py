"""Tables of rows over HTTP: media types, files of clients, jobs, the queue; scenarios, backups."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import isthmus
from isthmus import Space, User
from isthmus.client.files import make_file_call
from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.service.jobs import begin, run_queue
from isthmus.service.keys import KeyFile, KeyRequest
from isthmus.service.settings import Limits, ServeSettings
from tests.service.serving import app_of, plain_app, running, send, toy_space
from tests.toy import picture

CSV = {"content-type": "text/csv"}
LINES = {"content-type": "application/x-ndjson"}
ASYNC = {"prefer": "respond-async"}
VECTOR = [1.0, 0.0, 0.0, 0.0]
JOB_S = 120  # a limit for a broken job


@pytest.fixture
def things(tmp_path: Path) -> Space:
    """A space whose vectors come with the items, so that any process can write to it."""
    space = Space.create(tmp_path / "things.space", "none", vectors={"embedding": 4})
    space.upsert([{"item_id": "a", "domain": "things", "v": VECTOR}], vector="v")
    return space


def ended(app: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job."""
    limit = time.monotonic() + JOB_S
    while job["state"] not in ("done", "failed"):
        assert time.monotonic() < limit
        time.sleep(0.1)
        job = send(app, "GET", f"/v1/jobs/{job['job_id']}").json()
    return job


def lines(*names: str, **more: Any) -> bytes:
    rows = [{"item_id": name, "domain": "things", "v": VECTOR, **more} for name in names]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def left(space: Space) -> list[Path]:
    return list((space.path / ".service/uploads").glob("*"))


def test_a_file_of_a_client_is_read_as_one_of_the_space(own, tmp_path):
    file = tmp_path / "new.csv"
    file.write_text("item_id;text;price;note\n007;filmsword1 unheard;5.5;NA\n008;x;6.0;y\n")
    report = own.upsert(file, domain="films", delimiter=";", null_values="NA")
    assert (report.rows_read, report.added) == (2, 2)
    assert own.get("007")["attributes"]["price"] == 5.5
    assert own.get("007")["attributes"].get("note") is None
    table = tmp_path / "more.parquet"
    pq.write_table(pa.table({"item_id": ["007"], "price": [7.5]}), table)
    assert own.update(table).changed == 1
    assert own.get("007")["attributes"]["price"] == 7.5
    events = tmp_path / "events.jsonl"
    events.write_text('{"user_id": "n", "item_id": "007"}\n{"user_id": "n", "item_id": "008"}\n')
    assert own.add_interactions(events).added == 2
    users = [tmp_path / f"users{n}.csv" for n in range(2)]
    for n, one in enumerate(users):
        one.write_text(f"user_id,country\nn{n},NL\n")
    assert own.add_users(users).added == 2
    with pytest.raises(InvalidInput, match=r"no file matches '.*none\.csv'"):
        own.upsert(tmp_path / "none.csv")


def test_what_is_no_table_is_named_without_a_path(own_shop, tmp_path):
    app = app_of(spaces={"shop": own_shop})
    kind = {"content-type": "application/vnd.apache.parquet"}
    answer = send(app, "PUT", "/v1/items", content=b"nothing", headers=kind)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cannot read the body")
    answer = send(app, "PUT", "/v1/items", content=b"item_id\n\n", headers=CSV)
    assert answer.status_code == 422
    assert str(own_shop) not in answer.text
    assert list((own_shop / ".service/uploads").glob("*")) == []


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".arrow"])
def test_pictures_beside_a_file_are_sent_in_its_rows(tmp_path, suffix):
    (tmp_path / "red.png").write_bytes(picture("red"))
    rows = [
        {"item_id": "a", "image": "red.png"},
        {"item_id": "b", "image": "https://a.example/b.png"},
        {"item_id": "c", "image": None},
    ]
    file = tmp_path / f"items{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    elif suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = make_file_call("upsert", "items", file, {"domain": "films"}, None)
    assert call.path == "/v1/items?domain=films"
    assert call.body is not None
    if suffix == ".parquet":
        images = pq.read_table(pa.BufferReader(call.body)).column("image").to_pylist()
    elif suffix == ".arrow":
        images = pa.ipc.open_stream(call.body).read_all().column("image").to_pylist()
    else:
        images = [json.loads(line)["image"] for line in call.body.splitlines()]
    assert base64.b64decode(images[0].partition(",")[2]) == picture("red")
    assert images[1:] == ["https://a.example/b.png", None]


def test_formats_that_cannot_be_sent_say_so(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UnsupportedOperation, match=r"a\.txt cannot be sent; a service takes"):
        make_file_call("upsert", "items", tmp_path / "a.txt", {}, None)


def test_a_table_becomes_a_job_where_that_is_asked_for_or_it_is_large(things):
    limits = Limits(max_body_bytes=300)
    app = plain_app(spaces={"things": things.path}, limits=limits)
    asked = {**LINES, **ASYNC}
    first = send(app, "PUT", "/v1/items?vector=v", content=lines("b"), headers=asked)
    assert (first.status_code, first.json()["operation"]) == (202, "upsert")
    assert first.json()["state"] in ("waiting", "running")
    assert "hidden" not in first.json()
    large = send(app, "PUT", "/v1/items?vector=v", content=lines(*"cdefg"), headers=LINES)
    assert large.status_code == 202
    rows = {"items": [{"item_id": "h", "domain": "things", "v": VECTOR}], "vector": "v"}
    as_json = send(app, "PUT", "/v1/items", rows, headers=ASYNC)
    assert as_json.status_code == 202
    done = [ended(app, answer.json()) for answer in (first, large, as_json)]
    assert [job["state"] for job in done] == ["done"] * 3
    assert [job["result"]["added"] for job in done] == [1, 5, 1]
    assert [job["finished"] for job in done] == sorted(job["finished"] for job in done)
    assert send(app, "POST", "/v1/count", {}).json()["count"] == 8
    wrong = send(app, "PUT", "/v1/items?vector=v", content=lines(""), headers=asked)
    failed = ended(app, wrong.json())
    assert (failed["state"], failed["problem"]["error"]) == ("failed", "InvalidItems")
    assert str(things.path) not in json.dumps(failed)
    assert left(things) == []
    too_large = plain_app(
        spaces={"things": things.path}, limits=Limits(max_body_bytes=30, max_upload_bytes=50)
    )
    refused = send(too_large, "PUT", "/v1/items?vector=v", content=lines("b"), headers=LINES)
    assert (refused.status_code, refused.json()["error"]) == (413, "RequestTooLarge")
    assert left(things) == []


def test_a_client_waits_for_the_job_of_its_file(things, tmp_path):
    file = tmp_path / "items.jsonl"
    file.write_bytes(lines(*"bcdefg"))
    app = plain_app(spaces={"things": things.path}, limits=Limits(max_body_bytes=100))
    with running(app) as address, isthmus.connect(address) as remote:
        assert remote.upsert(file, vector="v").added == 6
        file.write_bytes(lines(""))
        with pytest.raises(isthmus.errors.InvalidItems):
            remote.upsert(file, vector="v")


def test_what_waits_is_taken_though_the_process_of_the_queue_was_killed(things, monkeypatch):
    app = plain_app(spaces={"things": things.path})
    begun: list[Any] = []
    monkeypatch.setattr("isthmus.service.jobs.Jobs._tend", lambda _, folder: begun.append(folder))
    asked = {**LINES, **ASYNC}
    job = send(app, "PUT", "/v1/items?vector=v", content=lines("b"), headers=asked).json()
    assert send(app, "GET", f"/v1/jobs/{job['job_id']}").json()["state"] == "waiting"
    assert len(begun) == 2  # and again, since nobody took it
    run_queue(begun[0])
    assert send(app, "GET", f"/v1/jobs/{job['job_id']}").json()["state"] == "done"
    assert things.count() == 2


def test_one_process_at_a_time_takes_what_waits(things, monkeypatch):
    started: list[Any] = []
    alive: list[int] = []

    def begin_counted(folder: Path, job_id: str | None = None) -> Any:
        started.append(begin(folder, job_id))
        alive.append(sum(process.poll() is None for process in started))
        return started[-1]

    monkeypatch.setattr("isthmus.service.jobs.begin", begin_counted)
    app = plain_app(spaces={"things": things.path})
    jobs = []
    for name in "bcd":
        sent = {**LINES, **ASYNC}
        answer = send(app, "PUT", "/v1/items?vector=v", content=lines(name), headers=sent)
        jobs.append(answer.json())
        for _ in range(20):  # a client that asks again and again starts nothing
            send(app, "GET", f"/v1/jobs/{jobs[-1]['job_id']}")
    assert [ended(app, job)["state"] for job in jobs] == ["done"] * 3
    assert max(alive) == 1
    assert len(started) <= 3


def test_a_bound_key_says_the_domain_of_a_table(own_shop, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    key = file.create(KeyRequest(scopes=("write", "events"), domains="films"))
    app = app_of(spaces={"shop": own_shop}, keys=file.path)
    books = pa.table({"item_id": ["b9"], "domain": ["books"], "text": ["x"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, books.schema) as writer:
        writer.write_table(books)
    arrow = {"content-type": "application/vnd.apache.arrow.stream"}
    body = sink.getvalue().to_pybytes()
    answer = send(app, "PUT", "/v1/items", key=key, content=body, headers=arrow)
    assert (answer.status_code, answer.json()["error"]) == (403, "AccessDenied")
    csv = b"item_id,domain,text\nf9,films,x\n"
    answer = send(app, "PUT", "/v1/items", key=key, content=csv, headers=CSV)
    assert answer.json()["detail"].endswith("a file is not looked into; give domain=NAME")
    csv = b"item_id,text\nf9,x\n"
    answer = send(app, "PUT", "/v1/items?domain=films", key=key, content=csv, headers=CSV)
    assert answer.json()["added"] == 1
    events = {"user_id": ["u"], "item_id": ["books-1-1"]}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.table(events).schema) as writer:
        writer.write_table(pa.table(events))
    body = sink.getvalue().to_pybytes()
    answer = send(app, "POST", "/v1/interactions", key=key, content=body, headers=arrow)
    assert (answer.status_code, answer.json()["error"]) == (404, "ItemNotFound")


def test_scenarios_are_set_listed_and_deleted(own):
    assert own.scenarios() == {}
    rules = own.set_scenario("home", caps={"brand": 2}, ban=["films-1-1"])
    assert own.scenarios() == {"home": rules}
    assert "films-1-1" not in {hit.item_id for hit in own.search("filmsword1", scenario="home")}
    with pytest.raises(InvalidInput, match="scenario 'home'"):
        own.set_scenario("home", caps={"brnd": 2})
    own.delete_scenario("home")
    assert own.scenarios() == {}


def test_a_space_is_backed_up_where_the_settings_say(own_shop, tmp_path):
    app = app_of(spaces={"shop": own_shop}, backups={"nightly": str(tmp_path / "copies")})
    refused = send(app, "POST", "/v1/jobs/backup", {"to": "/tmp"})
    assert refused.json()["detail"] == (
        "there is no place of backups '/tmp' (there are: nightly); serve.toml names them under "
        "[backups]"
    )
    job = send(app, "POST", "/v1/jobs/backup", {"to": "nightly", "keep": 2}).json()
    assert job["arguments"] == {"to": "nightly", "keep": 2}
    done = ended(app, job)
    assert (done["state"], done["problem"]) == ("done", None)
    assert isthmus.backups(tmp_path / "copies" / "shop") == [done["result"]["backup"]]


def test_every_list_is_logged_and_split_where_the_settings_say_so(own_shop):
    arms = {"plain": {}, "capped": {"scenario": "home"}}
    toy_space(own_shop).set_scenario("home", caps={"brand": 1})
    app = app_of(
        spaces={"shop": own_shop},
        log=True,
        retention=7.0,
        experiment={"name": "t", "arms": arms, "key": "k"},
    )
    space = app.state.pipeline.spaces.named("shop").space
    assert space.recommendation_log.keep_days == 7.0
    test = isthmus.Experiment(name="t", arms=arms, key="k")
    users = [f"u{n}" for n in range(8)]
    assert {test.arm_of(user) for user in users} == set(arms)
    for user in users:
        body = {"user": {"id": user}, "domain": ["films"], "k": 6}
        found = send(app, "POST", "/v1/recommend", body).json()
        assert found["arm"] == test.arm_of(user)
        assert len(found["recommendation_id"]) == 32
        assert len(found["hits"]) == (4 if found["arm"] == "capped" else 6)
    body = {"user": {"id": "u1"}, "log": False}
    assert "recommendation_id" not in send(app, "POST", "/v1/recommend", body).json()
    logged = space.recommendations()
    assert logged.column("user_id").to_pylist() == users
    assert set(logged.column("arm").to_pylist()) == set(arms)
    assert {hit.item_id for hit in space.recommend(User(id="u1"), k=2)}


def test_an_experiment_of_the_settings_is_checked_at_the_start(own_shop):
    with pytest.raises(InvalidInput, match="has no two arms"):
        ServeSettings(spaces={"shop": own_shop}, experiment={"name": "t", "arms": {"a": {}}})
    with pytest.raises(
        InvalidInput,
        match="the arm 'b' of 't' names the scenario 'none', which 'shop' does not have",
    ):
        app_of(
            spaces={"shop": own_shop},
            experiment={"name": "t", "arms": {"a": {}, "b": {"scenario": "none"}}},
        )


def test_vectors_of_items_come_in_arrow(things):
    app = plain_app(spaces={"things": things.path})
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.eye(4, dtype=np.float32).ravel()), 4)
    table = pa.table({"item_id": list("wxyz"), "v": vectors})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    arrow = {"content-type": "application/vnd.apache.arrow.stream"}
    path = "/v1/items?domain=things&vector=v"
    assert send(app, "PUT", path, content=body, headers=arrow).json()["added"] == 4
    found = send(app, "POST", "/v1/search", {"vector": [0.0, 0.0, 1.0, 0.0], "k": 1}).json()
    assert found["hits"][0]["item_id"] == "y"

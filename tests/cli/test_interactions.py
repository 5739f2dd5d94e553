from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = (
    "who,what,stars,when,kind\n"
    "7,f1,4.5,2001-09-09T01:46:40Z,rate\n"
    "7,f9,1,2001-09-10T01:46:40Z,rate\n"
    "08,f1,3,2001-09-09T01:46:40Z,rate\n"
)
COLUMNS = ("--user", "who", "--item", "what", "--value", "stars", "--time", "when")


@pytest.fixture
def shop(run_json, tmp_path):
    films = {"item_id": ["f1", "f2"], "domain": ["films", "films"], "text": ["sea", "jazz"]}
    pq.write_table(pa.table(films), tmp_path / "films.parquet")
    run_json("create", "--space", "shop", "--encoder", "toy/words")
    run_json("upsert", "films.parquet", "--space", "shop")
    (tmp_path / "likes.csv").write_text(ROWS)
    return "shop"


def test_the_whole_job(shop, run_json):
    job = ("interactions", "add", "likes.csv", "--space", shop, *COLUMNS, "--event-column", "kind")
    first = run_json(*job)
    assert (first["rows_read"], first["added"], first["users"]) == (3, 3, 2)
    assert first["unknown_items"] == {"items": 1, "interactions": 1, "examples": ["f9"]}
    again = run_json(*job)
    assert (again["added"], again["unchanged"]) == (0, 3)
    counts = {"rows": 3, "users": 2, "items": 2, "events": 1, "waiting": 1, "waiting_items": 1}
    assert run_json("interactions", "count", "--space", shop) == counts
    assert run_json("status", "--space", shop)["interactions"] == counts
    shown = run_json("interactions", "show", "7", "--space", shop)
    assert shown == [
        {
            "user_id": "7",
            "item_id": "f1",
            "event": "rate",
            "value": 4.5,
            "weight": 1.0,
            "time": "2001-09-09T01:46:40+00:00",
            "waits": False,
        },
        {
            "user_id": "7",
            "item_id": "f9",
            "event": "rate",
            "value": 1.0,
            "weight": 1.0,
            "time": "2001-09-10T01:46:40+00:00",
            "waits": True,
        },
    ]
    assert run_json("interactions", "forget-user", "7", "--space", shop) == {
        "user": "7",
        "forgotten": 2,
    }
    assert run_json("interactions", "show", "7", "--space", shop) == []
    assert run_json("interactions", "count", "--space", shop)["rows"] == 1


def test_what_people_see(shop, run):
    added = run("interactions", "add", "likes.csv", "--space", shop, *COLUMNS, "--event", "rating")
    assert added.returncode == 0, added.stderr
    assert "3 rows read: 3 added, 0 unchanged, 0 exact repeats left out, 0 invalid; 2 users" in (
        added.stdout
    )
    assert (
        "1 interactions wait for 1 items that the space does not hold (f9); they count once the "
        "items are added"
    ) in added.stdout
    shown = run("interactions", "show", "7", "--space", shop).stdout.splitlines()
    (waiting,) = [line.split() for line in shown if "f9" in line]
    assert waiting[:6] == ["2001-09-10", "01:46:40+00:00", "f9", "rating", "1", "1"]
    assert waiting[6:] == ["waits", "for", "its", "item"]
    assert "waiting: 1" in run("status", "--space", shop).stdout


def test_what_does_not_fit_is_refused_or_left_out(shop, run, run_json, tmp_path):
    refused = run("interactions", "add", "likes.csv", "--space", shop)
    assert refused.returncode == 1
    assert "likes.csv has no column 'user_id'; its columns are: who, what, stars" in refused.stderr
    (tmp_path / "bad.csv").write_text("user_id,item_id,rating\nu,f1,4\n,f1,4\nu,f2,much\n")
    refused = run("interactions", "add", "bad.csv", "--space", shop)
    assert refused.returncode == 1
    assert (
        "bad.csv: line 3: no user id in 'user_id'; line 4: column 'rating' holds "
        "'much', which is no finite number. Nothing was added."
    ) in refused.stderr
    job = ("interactions", "add", "bad.csv", "--space", shop, "--skip-invalid")
    left = run_json(*job)
    assert (left["added"], left["invalid"]) == (1, 2)
    said = run(*job)
    assert "left out line 3: no user id in 'user_id'" in said.stderr
    assert "1 unchanged, 0 exact repeats left out, 2 invalid" in said.stdout


def test_all_that_is_stored_of_a_user_is_written_as_json(shop, run, tmp_path):
    run("interactions", "add", "likes.csv", "--space", shop, *COLUMNS, "--event-column", "kind")
    written = run("users", "export", "7", "--space", shop, "--out", "7.json")
    assert (written.returncode, written.stdout) == (0, "")
    assert written.stderr == "7.json: 2 interactions of 7\n"
    exported = json.loads((tmp_path / "7.json").read_text())
    assert [row["item_id"] for row in exported["interactions"]] == ["f1", "f9"]
    shown = json.loads(run("users", "export", "7", "--space", shop).stdout)
    assert {**shown, "exported": exported["exported"]} == exported


def test_what_is_left_of_a_forgotten_user_is_named_until_nothing_is(shop, run, run_json):
    run("interactions", "add", "likes.csv", "--space", shop, *COLUMNS, "--event-column", "kind")
    search = ("verify", "--forgotten", "7", "--space", shop)
    stored = run(*search)
    assert stored.returncode == 1
    assert "2 rows; isthmus interactions forget-user 7 --space " in stored.stdout
    run("interactions", "forget-user", "7", "--space", shop)
    left = run(*search)
    assert (left.returncode, "; isthmus compact --keep-days 0 --space " in left.stdout) == (1, True)
    run("compact", "--space", shop, "--keep-days", "0")
    assert run(*search).returncode == 0
    found = run_json(*search)
    assert (found["user_id"], found["traces"], found["forgotten"]) == ("7", [], True)
    assert "an id of fewer than 6 bytes stands in vectors by chance" in found["notes"][1]

"""Interactions through the space: added, read, waiting for their items, deleted, counted."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from isthmus import Space
from isthmus.data.interactions.ingest import UnknownItems
from isthmus.errors import InvalidInput, InvalidInteractions, SpaceLocked
from isthmus.index.catalog.lock import write_lock
from isthmus.schema import INTERACTIONS
from tests.toy import item, two_encoders

NONE = {"rows": 0, "users": 0, "items": 0, "events": 0, "waiting": 0, "waiting_items": 0}


def did(user, item_id, value=1.0, **more):
    return {"user_id": user, "item_id": item_id, "value": value, **more}


def pairs(table):
    return [(row["user_id"], row["item_id"]) for row in table.to_pylist()]


@pytest.fixture
def shop(space):
    space.upsert([item("f1", "sea storm"), item("f2", "jazz club")])
    return space


def test_a_space_without_interactions_has_none(shop):
    assert shop.interactions().schema == INTERACTIONS
    assert len(shop.interactions()) == len(shop.interactions("u")) == 0
    assert shop.status()["interactions"] == NONE
    assert shop.forget_user("u") == 0
    assert not (shop.path / "interactions.lance").exists()


def test_adding_reports_what_it_did(shop):
    rows = [did("u", "f1", 4), did("u", "f2", 5), did("v", "f1", 3), did("v", "f1", 3)]
    report = shop.add_interactions(rows)
    assert report.as_dict() | {"seconds": 0} == {
        "rows_read": 4,
        "added": 3,
        "unchanged": 0,
        "repeated": 1,
        "invalid": 0,
        "events": {"interaction": 3},
        "without_value": 0,
        "users": 2,
        "unknown_items": {"items": 0, "interactions": 0, "examples": []},
        "seconds": 0,
        "problems": [],
        "notes": [],
    }
    again = shop.add_interactions([did("u", "f1", 4), did("u", "f2", 1), did("w", "f2")])
    assert (again.added, again.unchanged, again.users) == (2, 1, 2)


def test_interactions_are_read_by_user_oldest_first(shop):
    days = [datetime(2020, 1, day, tzinfo=UTC) for day in (1, 2)]
    shop.add_interactions(
        [
            did("u", "f1", time=days[1], event="buy"),
            did("u", "f2", time=days[0], event="buy"),
            did("u", "f2", time=None, event="view"),
            did("it's", "f1", time=days[0], event="buy"),
            did("v", "f1", time=days[0], event="buy"),
        ]
    )
    found = shop.interactions("u").to_pylist()
    assert [(row["item_id"], row["event"], row["time"]) for row in found] == [
        ("f2", "view", None),
        ("f2", "buy", days[0]),
        ("f1", "buy", days[1]),
    ]
    assert pairs(shop.interactions(["v", "it's"])) == [("it's", "f1"), ("v", "f1")]
    assert len(shop.interactions()) == 5
    assert len(shop.interactions("nobody")) == len(shop.interactions([])) == 0


def test_interactions_with_unknown_items_wait_for_them(shop):
    items = ["f1", "g3", "g1", "g2", "g4", "g5", "g6", "g1"]
    rows = [did(f"u{n}", name) for n, name in enumerate(items)]
    report = shop.add_interactions(rows)
    assert report.added == 8
    assert report.unknown_items == UnknownItems(6, 7, ["g1", "g2", "g3", "g4", "g5"])
    assert pairs(shop.interactions()) == [("u0", "f1")]
    assert len(shop.interactions("u1")) == 0
    assert pairs(shop.interactions("u1", waiting=True)) == [("u1", "g3")]
    assert len(shop.interactions(waiting=True)) == 8
    counts = shop.status()["interactions"]
    assert counts == {
        "rows": 8,
        "users": 8,
        "items": 7,
        "events": 1,
        "waiting": 7,
        "waiting_items": 6,
    }
    shop.upsert([item("g1", "snow hill")])
    assert sorted(pairs(shop.interactions())) == [("u0", "f1"), ("u2", "g1"), ("u7", "g1")]
    assert shop.status()["interactions"]["waiting"] == 5


def test_interactions_with_a_deleted_item_wait_for_it(shop):
    shop.add_interactions([did("u", "f1"), did("u", "f2")])
    shop.delete("f1")
    assert pairs(shop.interactions("u")) == [("u", "f2")]
    assert shop.status()["interactions"]["waiting"] == 1
    shop.upsert([item("f1", "sea storm")])
    assert pairs(shop.interactions("u")) == [("u", "f1"), ("u", "f2")]


def test_many_unknown_items_are_counted_too(shop):
    rows = pa.table({"user_id": ["u"] * 6_000, "item_id": [f"g{n}" for n in range(5_999)] + ["f1"]})
    report = shop.add_interactions(rows)
    assert (report.unknown_items.items, report.unknown_items.interactions) == (5_999, 5_999)
    assert report.unknown_items.examples == ["g0", "g1", "g10", "g100", "g1000"]


def test_invalid_rows_stop_the_job_or_are_skipped(shop):
    rows = [did("u", "f1"), did(None, "f1"), did("u", "f2", float("inf"))]
    with pytest.raises(InvalidInteractions, match="2 invalid row"):
        shop.add_interactions(rows)
    assert shop.status()["interactions"] == NONE
    report = shop.add_interactions(rows, skip_invalid=True)
    assert (report.rows_read, report.added, report.invalid) == (3, 1, 2)
    assert report.problems == [
        "row 1: no user id in 'user_id'",
        "row 2: column 'value' holds inf, which is no finite number",
    ]


def test_an_invalid_row_replaces_no_stored_row(shop):
    report = shop.add_interactions(
        [did("u", "f1", 4.0), did("u", "f1", float("nan"))], skip_invalid=True
    )
    assert (report.added, report.repeated, report.invalid) == (1, 0, 1)
    assert shop.interactions("u").column("value").to_pylist() == [4.0]


def test_a_user_is_deleted_at_once(shop):
    other = Space.open(shop.path, encoder=two_encoders())
    shop.add_interactions([did("u", "f1"), did("u", "f2"), did("it's", "f1")])
    assert len(other.interactions("u")) == 2
    assert shop.forget_user("u") == 2
    assert len(other.interactions("u")) == 0
    assert other.forget_user("it's") == 1
    assert shop.status()["interactions"] == NONE
    assert shop.forget_user("u") == 0


def holders(folder, text):
    command = ["grep", "-rlF", text, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.parametrize("others", [3, 60_000])
def test_a_deleted_user_is_gone_from_the_disk_after_compaction(shop, others):
    """With many rows there is an index of users, which must not hold them either."""
    table = shop.path / "interactions.lance"
    users = [f"somebody{n}" for n in range(others)]
    # Far from the others, so that their name is not stored as a difference from a neighbour's.
    whose = "zebra-crossing-quartz"
    shop.add_interactions(pa.table({"user_id": [*users, whose], "item_id": ["f1"] * (others + 1)}))
    shop.add_interactions([did(whose, "f2")])
    assert holders(table, whose)
    shop.forget_user(whose)
    shop.compact(keep_days=0)
    assert holders(table, whose) == []
    assert len(shop.interactions()) == others
    assert len(shop.interactions(["somebody1", whose])) == 1


def test_large_tables_have_an_index_of_users(shop):
    users = [f"u{n % 20_000}" for n in range(60_000)]
    items = [f"i{n // 20_000}" for n in range(60_000)]
    shop.add_interactions(pa.table({"user_id": users, "item_id": items}))
    plan = shop.opened.interactions._latest().scanner(filter="user_id = 'u7'").explain_plan()
    assert "ScalarIndexQuery" in plan
    assert pairs(shop.interactions("u7", waiting=True)) == [("u7", f"i{n}") for n in range(3)]
    shop.add_interactions([did("u7", "i3"), did("u7", "i1", 3.0)])
    found = shop.interactions("u7", waiting=True).to_pylist()
    assert [(row["item_id"], row["value"]) for row in found] == [
        ("i0", 1.0),
        ("i1", 1.0),
        ("i1", 3.0),
        ("i2", 1.0),
        ("i3", 1.0),
    ]


def test_compacting_keeps_every_interaction_in_few_files(shop):
    for n in range(40):
        shop.add_interactions([did(f"u{n}", "f1")])
    assert len(shop.opened.interactions._latest().get_fragments()) < 40
    reports = {report.table: report for report in shop.compact(keep_days=0)}
    assert reports["interactions.lance"].fragments == 1
    assert len(shop.interactions()) == 40


def test_publishing_drops_versions_that_are_too_old(shop):
    toml = shop.path / "space.toml"
    toml.write_text(toml.read_text().replace("keep_versions_days = 14.0", "keep_versions_days = 0"))
    space = Space.open(shop.path, encoder=two_encoders())
    space.publish()
    space.add_interactions([did("zebra-crossing-quartz", "f1"), did("u", "f1")])
    space.forget_user("zebra-crossing-quartz")
    with write_lock(space.path, "interactions"):
        space.publish()
    assert holders(space.path / "interactions.lance", "zebra-crossing-quartz")
    space.publish()
    assert holders(space.path / "interactions.lance", "zebra-crossing-quartz") == []
    assert pairs(space.interactions()) == [("u", "f1")]


def test_only_a_change_raises_the_version(shop):
    store = shop.opened.interactions
    assert store.version == 0
    shop.add_interactions([did("u", "f1")])
    first = store.version
    assert first > 0
    shop.add_interactions([did("u", "f1")])
    shop.forget_user("nobody")
    assert store.version == first
    shop.forget_user("u")
    assert store.version > first


def test_a_second_writer_waits_and_then_names_the_first(shop):
    hasty = Space.open(shop.path, encoder=two_encoders(), wait_s=0.1)
    with write_lock(shop.path, "interactions"):
        with pytest.raises(SpaceLocked, match=r"being written by process \d+"):
            hasty.add_interactions([did("u", "f1")])
        with pytest.raises(SpaceLocked, match="being written"):
            hasty.forget_user("u")
        assert hasty.upsert([item("f3", "snow")]).added == 1
    assert hasty.add_interactions([did("u", "f1")]).added == 1


@pytest.mark.parametrize("verb", ["compact", "publish"])
def test_interactions_are_deleted_when_they_are_older_than_they_are_kept(shop, verb):
    ages = {"view": (1, 80, 100), "Purchase": (100, 729, 731), "other": (100, 731)}
    now = datetime.now(UTC)
    rows = [
        did(f"{kind}-{days}", "f1", event=kind, time=now - timedelta(days=days))
        for kind, of_kind in ages.items()
        for days in of_kind
    ]
    shop.add_interactions([*rows, did("without a time", "f1", event="view")], event_column="event")
    path = shop.path / "space.toml"
    kept = "[retention]\ndays = 730\n\n[retention.events]\nVIEW = 90\n"
    path.write_text(f"{path.read_text()}\n{kept}")
    space = Space.open(shop.path, encoder=two_encoders())
    assert len(space.interactions()) == 9
    done = getattr(space, verb)()
    assert sorted(space.interactions().column("user_id").to_pylist()) == [
        "Purchase-100", "Purchase-729", "other-100", "view-1", "view-80", "without a time",
    ]  # fmt: skip
    if verb == "compact":
        assert {report.table: report.expired for report in done if report.expired} == {
            "interactions.lance": 3
        }
    assert all(report.expired == 0 for report in space.compact())


@pytest.mark.parametrize("bad", ["days = 0", "events = { view = -1 }", "weeks = 3"])
def test_a_retention_that_makes_no_sense_is_refused(shop, bad):
    path = shop.path / "space.toml"
    path.write_text(f"{path.read_text()}\n[retention]\n{bad}\n")
    with pytest.raises(InvalidInput, match=r"space\.toml is invalid: retention\."):
        Space.open(shop.path, encoder=two_encoders())

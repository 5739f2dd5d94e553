"""Every event is kept as it came; only exact repeats are left out, and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import isthmus.data.interactions.ingest
from isthmus.data.interactions.ingest import add_interactions
from isthmus.data.interactions.reader import InteractionReader
from isthmus.data.interactions.store import InteractionStore

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event", pa.string()),
        ("value", pa.float64()),
        ("weight", pa.float64()),
        ("time", pa.timestamp("us", "UTC")),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["a", "b"]),
        "item_id": st.sampled_from(["a", "b", "x"]),
        "event": st.sampled_from(["view", "buy"]),
        "value": st.sampled_from([None, 0.0, 1.0, 2.0]),
        "weight": st.sampled_from([1.0, 2.0]),
        "time": st.one_of(
            st.none(), st.integers(0, 3).map(lambda day: EPOCH + timedelta(days=day))
        ),
    }
)


def key_of(row):
    return tuple(row[name] for name in SCHEMA.names)


def stored(store):
    found = [key_of(row) for row in store.table().to_pylist()]
    assert len(set(found)) == len(found)
    return found


def add(store, rows):
    reader = InteractionReader(pa.Table.from_pylist(rows, SCHEMA))
    return add_interactions(store, reader, lambda names: pa.array([True] * len(names), pa.bool_()))


@settings(max_examples=40)
@given(jobs=st.lists(st.lists(ROW, max_size=12), max_size=4), commit_rows=st.integers(1, 5))
def test_any_sequence_of_jobs_keeps_each_distinct_event_once(tmp_path_factory, jobs, commit_rows):
    store = InteractionStore(tmp_path_factory.mktemp("s"))
    model = {}
    original = isthmus.data.interactions.ingest.COMMIT_ROWS
    isthmus.data.interactions.ingest.COMMIT_ROWS = commit_rows
    try:
        for rows in jobs:
            before = len(model)
            model |= {key_of(row): None for row in rows}
            report = add(store, rows)
            assert stored(store) == list(model)  # in the order in which they came
            distinct = len({key_of(row) for row in rows})
            assert report.rows_read == len(rows)
            assert report.added == len(model) - before
            assert report.repeated == len(rows) - distinct
            assert report.unchanged == distinct - report.added
            assert report.without_value <= distinct == sum(report.events.values())
            version = store.version
            again = add(store, rows)
            assert (again.added, again.unchanged) == (0, distinct)
            assert store.version == version
            assert stored(store) == list(model)
    finally:
        isthmus.data.interactions.ingest.COMMIT_ROWS = original


def row(value, time=None, **more):
    return {
        "user_id": "u",
        "item_id": "i",
        "event": "view",
        "value": value,
        "weight": 1.0,
        "time": time,
        **more,
    }


def test_rows_that_differ_in_anything_are_different_events(tmp_path):
    store = InteractionStore(tmp_path)
    rows = [
        row(2.0),
        row(None),
        row(1.0),
        row(1.0, EPOCH),
        row(1.0, EPOCH + timedelta(1)),
        row(1.0, EPOCH, weight=2.0),
        row(1.0, EPOCH, event="buy"),
    ]
    report = add(store, [*rows, row(1.0, EPOCH), row(None)])
    assert (report.added, report.repeated, report.without_value) == (7, 2, 1)
    assert report.events == {"view": 6, "buy": 1}
    assert [one["value"] for one in store.of_users(["u"]).to_pylist()[:3]] == [2.0, None, 1.0]


def test_user_and_item_ids_are_not_interchangeable(tmp_path):
    store = InteractionStore(tmp_path)
    report = add(store, [row(1.0, user_id="a", item_id="b"), row(1.0, user_id="b", item_id="a")])
    assert (report.added, report.repeated) == (2, 0)

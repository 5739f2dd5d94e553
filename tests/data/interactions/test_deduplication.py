"""One row for each user, item and event: the latest, or the one added last."""

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
        "value": st.sampled_from([0.0, 1.0, 2.0]),
        "weight": st.sampled_from([1.0, 2.0]),
        "time": st.one_of(
            st.none(), st.integers(0, 3).map(lambda day: EPOCH + timedelta(days=day))
        ),
    }
)


def key_of(row):
    return row["user_id"], row["item_id"], row["event"]


def apply(model, row):
    """Apply the rule for one row."""
    there = model.get(key_of(row))
    oldest = datetime.min.replace(tzinfo=UTC)
    if there is None or (row["time"] or oldest) >= (there["time"] or oldest):
        model[key_of(row)] = row


def stored(store):
    rows = store.table().to_pylist()
    found = {key_of(row): row for row in rows}
    assert len(found) == len(rows)
    return found


def add(store, rows):
    reader = InteractionReader(pa.Table.from_pylist(rows, SCHEMA))
    return add_interactions(store, reader, lambda names: pa.array([True] * len(names), pa.bool_()))


@settings(max_examples=40, deadline=None)
@given(jobs=st.lists(st.lists(ROW, max_size=12), max_size=4), commit_rows=st.integers(1, 5))
def test_any_sequence_of_jobs_equals_the_rule_applied_row_by_row(
    tmp_path_factory, jobs, commit_rows
):
    store = InteractionStore(tmp_path_factory.mktemp("s"))
    model = {}
    original = isthmus.data.interactions.ingest.COMMIT_ROWS
    isthmus.data.interactions.ingest.COMMIT_ROWS = commit_rows
    try:
        for rows in jobs:
            before = dict(model)
            for row in rows:
                apply(model, row)
            report = add(store, rows)
            assert stored(store) == model
            keys = {key_of(row) for row in rows}
            assert report.rows_read == len(rows)
            assert report.added == len(keys - before.keys())
            assert report.changed == sum(k in before and before[k] != model[k] for k in keys)
            assert report.repeated == len(rows) - len(keys)
            assert report.added + report.changed + report.unchanged == len(keys)
            version = store.version
            again = add(store, rows)
            assert (again.added, again.changed, again.unchanged) == (0, 0, len(keys))
            assert store.version == version
            assert stored(store) == model
    finally:
        isthmus.data.interactions.ingest.COMMIT_ROWS = original


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(ROW, min_size=2, max_size=12), data=st.data())
def test_rows_with_distinct_times_can_come_in_any_order(tmp_path_factory, rows, data):
    rows = [{**row, "time": EPOCH + timedelta(hours=n)} for n, row in enumerate(rows)]
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    store = InteractionStore(tmp_path_factory.mktemp("s"))
    add(store, shuffled[:cut])
    add(store, shuffled[cut:])
    assert stored(store) == {key_of(row): row for row in rows}


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


def value_after(tmp_path, *rows):
    store = InteractionStore(tmp_path)
    for one in rows:
        add(store, [one])
    (found,) = store.table().to_pylist()
    return found["value"]


def test_the_latest_time_wins_in_any_order(tmp_path):
    assert value_after(tmp_path, row(2.0, EPOCH + timedelta(1)), row(1.0, EPOCH)) == 2.0


def test_without_times_the_last_wins(tmp_path):
    assert value_after(tmp_path, row(2.0), row(1.0)) == 1.0


def test_at_equal_times_the_last_wins(tmp_path):
    assert value_after(tmp_path, row(2.0, EPOCH), row(1.0, EPOCH)) == 1.0


def test_a_row_without_a_time_is_older_than_a_row_with_one(tmp_path):
    assert value_after(tmp_path, row(2.0, EPOCH), row(1.0)) == 2.0


def test_a_later_time_alone_is_a_change(tmp_path):
    store = InteractionStore(tmp_path)
    add(store, [row(1.0, EPOCH)])
    report = add(store, [row(1.0, EPOCH + timedelta(1))])
    assert (report.changed, report.unchanged) == (1, 0)


def test_user_and_item_ids_are_not_interchangeable(tmp_path):
    store = InteractionStore(tmp_path)
    report = add(store, [row(1.0, user_id="a", item_id="b"), row(1.0, user_id="b", item_id="a")])
    assert (report.added, report.repeated) == (2, 0)

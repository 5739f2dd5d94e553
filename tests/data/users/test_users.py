"""Users with attributes, through the space: typed, merged, deleted, checked, never half stored."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.data.users.store import UserStore
from isthmus.errors import CorruptTable, InvalidInput, InvalidMapping, InvalidUsers
from tests.toy import text_encoder

ROWS = [
    {"user_id": "u1", "country": "NL", "age": 34, "joined": "2020-01-31"},
    {"user_id": "u2", "country": None, "age": 51, "joined": "2021-02-28"},
]


@pytest.fixture
def space(tmp_path):
    return Space.create(tmp_path / "s", text_encoder())


def types_of(space):
    return {row["attribute"]: row["type"] for row in space.user_attributes()}


def test_users_are_added_typed_changed_and_deleted(space):
    first = space.add_users(ROWS)
    assert (first.rows_read, first.added, first.changed, first.unchanged) == (2, 2, 0, 0)
    assert types_of(space) == {"country": "string", "age": "int64", "joined": "string"}
    again = space.add_users(ROWS)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)
    more = [{"user_id": "u2", "country": "DE"}, {"user_id": "u0", "country": "FR"}]
    changed = space.add_users(more)
    assert (changed.added, changed.changed, changed.unchanged) == (1, 1, 0)
    assert space.user_ids() == ["u0", "u1", "u2"]
    assert space.users(["u2", "u0"]) == [
        {"user_id": "u2", "country": "DE", "age": 51, "joined": "2021-02-28"},
        {"user_id": "u0", "country": "FR", "age": None, "joined": None},
    ]
    rows = {row["attribute"]: row for row in space.user_attributes()}
    assert (rows["age"]["filled"], rows["age"]["examples"]) == (2 / 3, ["34", "51"])
    assert space.delete_users(["u2", "nobody"]) == 1
    assert Space.open(space.path).user_ids() == ["u0", "u1"]
    with pytest.raises(InvalidInput, match=r"no attributes of user 'u2'; it has those of 2 users"):
        space.users("u2")


def test_a_csv_is_typed_by_all_its_values_and_a_type_widens(space, tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("customer,age,member,note,born\n007,34,true,,1990-01-31\n8,NA,false,x y,\n")
    report = space.add_users(file, user="c-{customer}", null_values="NA", exclude="customer")
    assert report.attributes == {"age": "int64", "member": "bool", "note": "string", "born": "date"}
    assert space.users("c-007")[0]["age"] == 34
    wider = space.add_users([{"user_id": "c-8", "age": 40.5}])
    assert "was int64 and becomes double" in wider.notes[0]
    assert [user["age"] for user in space.users(["c-007", "c-8"])] == [34.0, 40.5]
    only = space.add_users(pa.table({"user_id": ["z"], "a": [1], "b": [2]}), columns="a")
    assert only.attributes == {"a": "int64"}


def test_bad_users_are_refused_whole_with_the_row_and_the_remedy(space):
    space.add_users(ROWS)
    bad = [*ROWS, {"user_id": "u1", "age": 1}, {"user_id": None}, {"user_id": "v", "age": "old"}]
    with pytest.raises(InvalidUsers) as found:
        space.add_users(bad)
    assert [row for row, _ in found.value.problems] == [2, 3, 4]
    assert "user id 'u1' stands in row 0 already" in str(found.value)
    assert "column 'age' holds 'old', which is no int64" in str(found.value)
    assert space.user_ids() == ["u1", "u2"]
    left = space.add_users(bad, skip_invalid=True)
    assert (left.rows_read, left.invalid, left.unchanged) == (5, 3, 2)
    with pytest.raises(InvalidMapping, match="no column 'customer'; its columns are: user_id"):
        space.add_users(ROWS, user="customer")
    with pytest.raises(InvalidMapping, match="cannot be an attribute, which Isthmus uses itself"):
        space.add_users([{"user_id": "u", "_key": 1}])


def test_forgetting_a_user_deletes_attributes_too(space):
    space.add_users(ROWS)
    space.add_interactions([{"user_id": "u1", "item_id": "i"}])
    assert space.forget_user("u1") == 1
    assert space.user_ids() == ["u2"]
    assert space.forget_user("u2") == 0
    assert space.user_ids() == []


def test_a_damaged_table_is_named_and_dropped_only_on_request(space):
    space.add_users(ROWS)
    assert space.verify().sound
    (file,) = (space.path / "users.lance" / "data").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CorruptTable, match=r"users\.lance"):
        Space.open(space.path).user_ids()
    (damage,) = Space.open(space.path).verify().damages
    assert damage.file.startswith("users.lance/data/")
    assert damage.lost.startswith("2 attributes of users")
    assert "users add FILES" in damage.remedy
    assert Space.open(space.path).verify(repair=True, drop_damaged=True).sound
    reopened = Space.open(space.path)
    assert reopened.user_ids() == []
    assert reopened.add_users(ROWS).added == 2


def test_compaction_drops_versions_with_what_was_deleted(space):
    space.add_users(ROWS)
    space.delete_users("u1")
    reports = {report.table: report for report in space.compact(keep_days=0)}
    assert reports["users.lance"].versions_removed >= 1
    stored = b"".join(f.read_bytes() for f in (space.path / "users.lance/data").iterdir())
    assert b"NL" not in stored
    assert space.user_ids() == ["u2"]


values = st.fixed_dictionaries(
    {}, optional={"a": st.none() | st.integers(-5, 5), "b": st.none() | st.sampled_from(["x", "y"])}
)
inputs = st.dictionaries(st.sampled_from(["u", "v", "w"]), values, min_size=1)


@given(jobs=st.lists(inputs | st.sampled_from(["u", "v"]), max_size=5))
@settings(max_examples=15)
def test_the_store_is_a_dictionary_of_dictionaries(tmp_path_factory, jobs):
    folder = tmp_path_factory.mktemp("s")
    store, expected = UserStore(folder), {}
    for job in jobs:
        if isinstance(job, str):
            assert UserStore(folder).delete([job]) == (expected.pop(job, None) is not None)
            continue
        names = sorted({name for row in job.values() for name in row})
        columns = {"user_id": pa.array(list(job))}
        types = {"a": pa.int64(), "b": pa.string()}
        for name in names:
            columns[name] = pa.array([row.get(name) for row in job.values()], types[name])
        before = {user: dict(row) for user, row in expected.items()}
        for user, row in job.items():
            expected.setdefault(user, {}).update({name: row.get(name) for name in names})
        added, changed = UserStore(folder).put(pa.table(columns))
        assert added == len(expected) - len(before)
        plain = ({n: v for n, v in expected[u].items() if v is not None} for u in before)
        former = ({n: v for n, v in row.items() if v is not None} for row in before.values())
        assert changed == sum(a != b for a, b in zip(plain, former, strict=True))
        found = {row.pop("user_id"): row for row in store.table().to_pylist()}
        assert found.keys() == expected.keys()
        for user, row in found.items():
            assert {n: v for n, v in row.items() if v is not None} == {
                n: v for n, v in expected[user].items() if v is not None
            }


def test_parquet_and_lists(space, tmp_path):
    tags = pa.array([["a", "b"], None], pa.list_(pa.string()))
    pq.write_table(pa.table({"user_id": [1, 2], "tags": tags}), tmp_path / "u.parquet")
    assert space.add_users(tmp_path / "u.parquet").attributes == {"tags": "list<string>"}
    assert space.add_users(tmp_path / "u.parquet").unchanged == 2
    assert space.users("1") == [{"user_id": "1", "tags": ["a", "b"]}]

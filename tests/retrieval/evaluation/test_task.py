"""Tasks, and the folders they are read from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.errors import InvalidInput
from isthmus.evaluation.task import TestUser, read_protocol
from isthmus.numerics.metrics import ranking_metrics
from tests.retrieval.evaluation.worlds import interactions, small_task


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "few3_films_to_books"
    made.mkdir()
    train = {
        "user_id": ["u", "u", "v"],
        "item_id": ["f1", "f2", "b1"],
        "domain": ["films", "films", "books"],
    }
    pq.write_table(pa.table(train), made / "train.parquet")
    lists = pa.list_(pa.string())
    rows = {
        "user_id": ["u"],
        "history": pa.array([["f1", "b1"]], lists),
        "truth": pa.array([["b2"]], lists),
        "exclude": pa.array([["b1"]], lists),
    }
    pq.write_table(pa.table(rows), made / "test.parquet")
    nothing = {**rows, "exclude": pa.array([[]], pa.list_(pa.null()))}
    pq.write_table(pa.table(nothing), made / "val.parquet")
    pq.write_table(pa.table({"item_id": ["b1", "b2", "b3"]}), made / "candidates.parquet")
    return made


def test_a_folder_becomes_a_task(folder):
    task = read_protocol(folder)
    assert (task.name, task.kind, task.split) == ("few3_films_to_books", "few-shot", "test")
    assert task.users == [TestUser("u", ("f1", "b1"), ("b2",), ("b1",))]
    assert task.candidates == ["b1", "b2", "b3"]
    assert task.target_domain == "books"
    assert task.domains == {
        "f1": "films", "f2": "films", "b1": "books", "b2": "books", "b3": "books",
    }  # fmt: skip
    assert task.train.column_names == ["user_id", "item_id", "value", "time"]
    assert task.train.column("value").to_pylist() == [1.0, 1.0, 1.0]
    assert task.train.column("time").null_count == 3
    assert read_protocol(folder, "val").users[0].exclude == ()


def test_val_has_candidates_of_its_own_where_they_exist(folder):
    assert len(read_protocol(folder, "val").candidates) == 3
    pq.write_table(pa.table({"item_id": ["b2", "b9"]}), folder / "candidates_val.parquet")
    assert read_protocol(folder, "val").candidates == ["b2", "b9"]
    assert len(read_protocol(folder, "test").candidates) == 3


def test_candidates_that_nobody_used_get_their_domain_from_the_folders_name(folder):
    pq.write_table(pa.table({"item_id": ["b2", "b3"]}), folder / "candidates.parquet")
    cold = folder.rename(folder.with_name("cold_item_books"))
    task = read_protocol(cold)
    assert (task.kind, task.target_domain) == ("cold item", "books")
    assert read_protocol(cold, target_domain="films").target_domain == "films"


def test_what_is_missing_is_named(folder):
    (folder / "val.parquet").unlink()
    with pytest.raises(InvalidInput, match=r"there is no .*val\.parquet"):
        read_protocol(folder, "val")
    pq.write_table(pa.table({"item": ["b2"]}), folder / "candidates.parquet")
    with pytest.raises(InvalidInput, match=r"candidates\.parquet has no column item_id"):
        read_protocol(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": interactions([]).drop(["time"])}, "has no column time"),
        ({"kind": "luke-warm"}, "cannot be 'luke-warm'"),
        ({"users": [TestUser("u", (), ())]}, "truth of user 'u' .* is empty"),
        ({"users": [TestUser("u", (), ("b0", "b0"))]}, "names an item twice"),
        ({"users": [TestUser("u", (), ("a0",))]}, "'a0', which is no candidate"),
        ({"users": [TestUser("u", (), ("b0",), ("b0",))]}, "'b0', which is excluded"),
        ({"users": [TestUser("u", (), ("b0",), (), (1.0, 2.0))]}, "2 ratings for 1 items"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(InvalidInput, match=said):
        small_task(**changes)


def test_popularity_counts_users_and_not_interactions():
    task = small_task()
    assert task.popularity == {"a0": 2, "a1": 2, "b0": 2, "b1": 1}
    assert task.train_users == 4


def test_evidence_is_what_is_known_in_the_target():
    task = small_task()
    assert [task.visible_in_target(user) for user in task.users] == [0, 1]
    anywhere = small_task(target_domain=None)
    assert [anywhere.visible_in_target(user) for user in anywhere.users] == [1, 2]


def test_a_user_or_candidate_that_is_listed_twice_is_refused(folder):
    test = pq.read_table(folder / "test.parquet")
    pq.write_table(pa.concat_tables([test, test]), folder / "test.parquet")
    with pytest.raises(InvalidInput, match=r"test split of task .* lists user 'u' 2 times"):
        read_protocol(folder)
    pq.write_table(pa.table({"item_id": ["b2", "b1", "b2"]}), folder / "candidates.parquet")
    with pytest.raises(InvalidInput, match=r"val split .* lists candidate 'b2' 2 times"):
        read_protocol(folder, "val")


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_user_without_an_id_is_refused(folder, nobody):
    test = pq.read_table(folder / "test.parquet")
    names = pa.array([nobody, *test.column("user_id").to_pylist()[1:]], pa.string())
    place = test.schema.get_field_index("user_id")
    pq.write_table(test.set_column(place, "user_id", names), folder / "test.parquet")
    with pytest.raises(InvalidInput, match=r"test split of task .* has no user id in row 1; leave"):
        read_protocol(folder)


def test_a_split_without_users_is_refused(folder):
    pq.write_table(pq.read_table(folder / "test.parquet").slice(0, 0), folder / "test.parquet")
    with pytest.raises(InvalidInput, match=r"test split of task .* has no users"):
        read_protocol(folder)


def test_metrics_of_lists_longer_than_the_catalogue():
    hits = np.array([[True, False, True], [False, False, False]])  # of three items in all
    metrics = ranking_metrics(hits, np.array([2, 1]), [3, 50])
    found = {name: values.tolist() for name, values in metrics.items()}
    for name in ("recall", "ndcg", "hit_rate"):
        assert found[f"{name}@50"] == found[f"{name}@3"]
    assert found["recall@50"] == [1.0, 0.0]
    assert found["precision@50"] == [2 / 50, 0.0]

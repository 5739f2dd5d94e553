from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import Interaction, User
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.users import recommend_file
from tests.toy import item

THEMES = ["sea ship", "snow hill", "jazz club", "robot mind"]


@pytest.fixture
def themed(space):
    """Films and books of four themes: the right answer to a film is the books of its theme."""
    space.upsert(
        [
            item(f"{domain[0]}-{theme.split()[0]}-{n}", f"{theme} extra{domain}{n}", domain)
            for domain in ("films", "books")
            for theme in THEMES
            for n in range(5)
        ]
    )
    return space


def themes(hits):
    return [hit.item_id.split("-")[1] for hit in hits]


def test_a_user_of_one_domain_gets_their_theme_in_another(themed):
    for theme in ("sea", "snow", "jazz", "robot"):
        user = User(history=[f"f-{theme}-0", f"f-{theme}-1"])
        assert themes(themed.recommend(user, domain="books", k=5)) == [theme] * 5


def test_several_interests_are_kept_apart_and_share_the_list(themed):
    user = User(history=["f-sea-0", "f-jazz-0", "f-sea-1", "f-jazz-1"])
    found = themes(themed.recommend(user, domain="books", k=10))
    assert sorted(found[:10]) == ["jazz"] * 5 + ["sea"] * 5


def test_strong_interactions_weigh_more(themed):
    user = User(history=[("f-sea-0", 5.0), ("f-jazz-0", 1.0)])
    assert themes(themed.recommend(user, domain="books", k=3)) == ["sea"] * 3


def test_recent_interactions_weigh_more(themed):
    old_sea = [("f-sea-0", 1.0, datetime(2020, 1, 1))]
    many = [("f-jazz-0", 1.0, datetime(2026, 1, 1 + n)) for n in range(3)]
    user = User(history=many + old_sea)
    assert user.history[0].item_id == "f-sea-0"
    assert themes(themed.recommend(user, domain="books", k=2)) == ["jazz"] * 2


def test_seen_items_are_left_out_even_where_disliked(themed):
    seen = [f"b-sea-{n}" for n in range(4)]
    hits = themed.recommend(User(history=[*seen[:3], (seen[3], -1.0)]), k=40)
    assert not set(seen) & {hit.item_id for hit in hits}
    assert len(hits) == 36


def test_a_disliked_item_is_no_interest(themed):
    user = User(history=[("f-sea-0", 0.0), ("f-jazz-0", 1.0)])
    assert set(themes(themed.recommend(user, domain="books", k=5))) == {"jazz"}


def test_a_text_is_an_interest(themed):
    assert themes(themed.recommend(User(text="robot mind"), domain="books", k=5)) == ["robot"] * 5
    both = User(history=["f-sea-0"], text="robot mind")
    assert set(themes(themed.recommend(both, domain="books", k=6))) == {"robot", "sea"}


def test_nothing_known_gives_a_diverse_list(themed):
    found = themed.recommend(User(), domain="books", k=4)
    assert len(set(themes(found))) == 4
    assert {hit.domain for hit in found} == {"books"}


def test_a_history_of_unknown_items_counts_as_nothing(themed):
    assert len(themed.recommend(User(history=["gone"]), k=7)) == 7


def test_scores_fall_and_a_longer_list_begins_with_the_shorter(themed):
    user = User(history=["f-sea-0", "f-jazz-0", "f-snow-1"])
    long = themed.recommend(user, k=20)
    scores = [hit.score for hit in long]
    assert scores == sorted(scores, reverse=True)
    assert [h.item_id for h in themed.recommend(user, k=5)] == [h.item_id for h in long[:5]]


def test_filters_hold(themed):
    hits = themed.recommend(User(history=["f-sea-0"]), k=40, where="item_id LIKE '%-3'")
    assert len(hits) == 8
    assert all(hit.item_id.endswith("-3") for hit in hits)


def test_a_batch_gives_what_single_calls_give(themed):
    users = [(f"u{n}", User(history=[f"f-{t.split()[0]}-{n}"])) for n, t in enumerate(THEMES)]
    users.append(("nobody", User()))
    table = themed.recommend_batch(users, domain="books", k=6)
    for name, user in users:
        rows = table.filter(pa.compute.equal(table["user_id"], name)).to_pylist()
        single = themed.recommend(user, domain="books", k=6)
        assert [row["item_id"] for row in rows] == [hit.item_id for hit in single]
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose([r["score"] for r in rows], [h.score for h in single], rtol=1e-6)


def test_a_file_of_users(themed, tmp_path):
    table = pa.table(
        {
            "user_id": [1, 2, 3],
            "history": [["f-sea-0"], None, []],
            "text": [None, "jazz club", None],
        }
    )
    pq.write_table(table, tmp_path / "users.parquet")
    counts = themed.recommend_file(tmp_path / "users.parquet", tmp_path / "out.parquet", k=3)
    out = pq.read_table(tmp_path / "out.parquet")
    assert counts == {"users": 3, "rows": 9, "unknown_users": 1}
    assert out.column_names == ["user_id", "item_id", "rank", "score"]
    assert out["user_id"].to_pylist() == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert [name.split("-")[1] for name in out["item_id"].to_pylist()[3:6]] == ["jazz"] * 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a"]}, "has no column 'user_id'"),
        ({"user_id": ["a", "a"]}, "row 1: user id 'a' is there twice"),
        ({"user_id": ["a", None]}, "row 1: the user id is missing"),
        (
            {"user_id": ["a", "b"], "history": [None, [7.5]]},
            "row 1: history entry 0: its item id is",
        ),
        ({"user_id": ["a"], "clicks": ["f-sea-0"]}, "row 0: clicks is 'f-sea-0'; give a list"),
    ],
)
def test_a_bad_file_of_users_is_refused(themed, tmp_path, table, message):
    pq.write_table(pa.table(table), tmp_path / "users.parquet")
    with pytest.raises(InvalidInput, match=message):
        themed.recommend_file(tmp_path / "users.parquet", tmp_path / "out.parquet", k=3)


EVIDENCE = {
    "user_id": "007",
    "history": ["f-sea-0"],
    "clicks": ["f-sea-1"],
    "ratings": {"f-sea-2": 5.0, "f-jazz-0": 1.0},
    "text": "storm",
}


def test_all_that_is_known_of_users_may_stand_in_a_file(themed, tmp_path):
    lines = [EVIDENCE, {"user_id": "rated", "ratings": {"f-jazz-1": 4.0}}, {"user_id": "nobody"}]
    (tmp_path / "users.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "users.csv").write_text("user_id,text\n007,storm\n")
    pairs = [{"item_id": item_id, "value": v} for item_id, v in EVIDENCE["ratings"].items()]
    table = pa.Table.from_pylist([{**EVIDENCE, "ratings": pairs}])
    pq.write_table(table, tmp_path / "users.parquet")
    evidence = {name: value for name, value in EVIDENCE.items() if name != "user_id"}
    whole, text = User(**evidence, id="007"), User(text="storm", id="007")
    for name, users in {
        "jsonl": [whole, User(ratings={"f-jazz-1": 4.0}), User()],
        "parquet": [whole],
        "csv": [text],
    }.items():
        themed.recommend_file(tmp_path / f"users.{name}", tmp_path / "out.parquet", k=5)
        found = pq.read_table(tmp_path / "out.parquet")["item_id"].to_pylist()
        assert found == [hit.item_id for user in users for hit in themed.recommend(user, k=5)]


def test_where_lists_cannot_be_written_nobody_is_answered(tmp_path):
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "users.parquet")
    out = tmp_path / "no" / "out.parquet"
    with pytest.raises(InvalidInput, match="cannot write "):
        recommend_file(lambda users: pytest.fail("answered"), tmp_path / "users.parquet", out)


@pytest.mark.parametrize("entry", [5.5, ("a", 1, 2, 3), ("a", float("nan")), (True, 1.0)])
def test_a_history_that_cannot_be_understood_is_refused(entry):
    with pytest.raises(InvalidInput, match="history entry 1"):
        User(history=["fine", entry])


def test_histories_come_in_many_forms():
    user = User(history=["a", ("b", 2), {"item_id": "c", "value": 3.0}, Interaction("d")])
    assert [(i.item_id, i.value) for i in user.history] == [("a", 1), ("b", 2), ("c", 3), ("d", 1)]

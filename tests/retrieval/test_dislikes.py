"""Dislikes: the item is left out, and what is like it comes later."""

from __future__ import annotations

import pytest

from isthmus import Interaction, Space, User
from tests.retrieval.crowd import ids
from tests.toy import PointEncoder, item


@pytest.fixture
def arc(tmp_path):
    """Twenty points on a quarter of a circle, and their names from one end to the other."""
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert([item(f"p{n:02}", f"{19 - n} {n}") for n in range(20)])
    return space


def test_a_dislike_leaves_its_item_out_and_moves_the_list(arc):
    liked = [Interaction("p10")]
    before = ids(arc.recommend(User(history=liked), k=20))
    after = ids(arc.recommend(User(history=[*liked, Interaction("p05", -1.0)]), k=20))
    assert set(before[:2]) == {"p09", "p11"}
    assert after[0] == "p11"  # as near, and less like what is disliked
    assert "p05" not in after
    assert set(after) == set(before) - {"p05"}
    assert after.index("p04") > before.index("p04")
    assert after.index("p15") < before.index("p15")


def test_a_stored_dislike_counts_as_a_given_one(arc):
    arc.add_interactions(
        [
            {"user_id": "u", "item_id": "p10", "event": "purchase"},
            {"user_id": "u", "item_id": "p05", "event": "dislike"},
        ]
    )
    given = User(history=[Interaction("p10"), Interaction("p05", -1.0)])
    assert ids(arc.recommend(User(id="u"), k=20)) == ids(arc.recommend(given, k=20))
    table = arc.recommend_batch([User(id="u")], k=20)
    assert table["item_id"].to_pylist() == ids(arc.recommend(given, k=20))


def test_a_longer_list_begins_with_the_shorter_one_beside_dislikes(arc):
    user = User(history=[Interaction("p10"), Interaction("p02", -1.0)])
    whole = ids(arc.recommend(user, k=18))
    assert [ids(arc.recommend(user, k=k)) for k in range(1, 18)] == [
        whole[:k] for k in range(1, 18)
    ]


def test_only_seen_items_do_not_move_the_list(arc):
    liked = [Interaction("p10")]
    before = ids(arc.recommend(User(history=liked), k=20))
    after = ids(arc.recommend(User(history=[*liked, Interaction("p05", 0.0)]), k=20))
    assert after == [name for name in before if name != "p05"]

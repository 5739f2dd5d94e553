"""Lists of a trained recommender: longer ones begin with the shorter, equal items are equal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Interaction, User
from tests.retrieval.recommend.test_freshness import USERS, copy_of
from tests.retrieval.recommend.worlds import name

DISLIKING = User(history=[Interaction(name("films", 1, 0)), Interaction(name("films", 1, 1), -1.0)])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "domain": st.sampled_from(["films", "books", ["books", "films"]]),
        "diversity": st.sampled_from([0.3, 0.9]),
        "quotas": st.sampled_from([{"films": 0.5, "books": 0.5}, {"books": 0.3}, {"films": 1}]),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*USERS, DISLIKING]), OPTIONS, st.integers(1, 30), st.integers(1, 40))
def test_a_longer_list_begins_with_the_shorter_one(board, user, options, short, more):
    if options.get("domain") in ("films", "books"):
        options = {o: v for o, v in options.items() if o != "quotas"}
    first = board.recommend(user, k=short, **options)
    whole = board.recommend(user, k=short + more, **options)
    assert [(h.item_id, h.score) for h in whole[:short]] == [(h.item_id, h.score) for h in first]


@pytest.fixture
def with_twins(copied):
    """Thirty new films with one text, a copy of an item, and a domain that no ranker knows."""
    space = copied()
    films = [copy_of(name("films", 4, 2), f"twin{n:02}") for n in range(30)]
    space.upsert([*films[1::2], *films[::2]])
    space.upsert([{**item, "item_id": item["item_id"].replace("twin", "new"), "domain": "songs"}
                  for item in films[:9]])  # fmt: skip
    return space


@pytest.mark.parametrize("user", [*USERS, DISLIKING])
@pytest.mark.parametrize("domain", ["films", "songs", None])
def test_equal_items_have_equal_scores_in_the_order_of_their_ids(with_twins, user, domain):
    for k in (15, 60, 180):
        hits = with_twins.recommend(user, domain=domain, k=k)
        for kind in ("twin", "new"):
            equal = [(hit.score, hit.item_id) for hit in hits if hit.item_id.startswith(kind)]
            assert len({score for score, _ in equal}) <= 1
            assert [item_id for _, item_id in equal] == sorted(item_id for _, item_id in equal)
    assert len(equal) == (0 if domain == "films" else 9)

"""Attributes of users as keys, and the generators that serve users of whom only these are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.users.attributes import UserAttributes, labels_of
from isthmus.retrieval.candidates.attribute_regression import AttributeRegression
from isthmus.retrieval.candidates.segment_popularity import SegmentPopularity
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, TASTES, make_training_data

ITEMS, USERS = 24, 120
MAKERS = {
    "segments": SegmentPopularity,
    "regression": lambda: AttributeRegression(factors=8, regularization=1.0, l2=1.0),
}


@pytest.fixture(scope="module")
def data():
    """Users say their taste as a segment; it is unknown of one in five."""
    plain = make_training_data(items=ITEMS, users=USERS)
    rows = [
        {"taste": None if user % 5 == 0 else f"t{user % TASTES}", "age": 20 + user % 40}
        for user in range(USERS)
    ]
    matrix = replace(plain.interactions, attributes=UserAttributes.of(rows))
    return replace(plain, interactions=matrix)


def users_with(*attributes):
    """Users without a history."""
    empty = UserHistories.from_lists([np.zeros(0, np.int64) for _ in attributes])
    return replace(empty, attributes=UserAttributes.of(attributes))


def lists_of(generator, data, users, target=FILMS, n=5):
    scorer = generator.scorer(data, users, target)
    found = scorer.top_k(n, data.in_domain(target), users.seen(len(data)))
    return [
        found.items[found.starts[user] : found.starts[user + 1]].tolist()
        for user in range(len(users))
    ]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("target", [BOOKS, FILMS])
def test_a_user_of_whom_only_attributes_are_known_gets_items_of_the_segment(data, make, target):
    generator = make().fit(data)
    users = users_with(*({"taste": f"t{taste}"} for taste in range(TASTES)))
    for taste, items in enumerate(lists_of(generator, data, users, target, 4)):
        assert {item % TASTES for item in items} == {taste}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_missing_is_missing(data, make):
    generator = make().fit(data)
    assert lists_of(generator, data, users_with({}, {"taste": None}, {"other": "x"})) == [
        [],
        [],
        [],
    ]
    nobody = UserHistories.from_lists([np.zeros(0, np.int64)])
    assert lists_of(generator, data, nobody) == [[]]
    matrix = replace(data.interactions, attributes=None)
    without = make().fit(replace(data, interactions=matrix))
    assert lists_of(without, data, users_with({"taste": "t1"})) == [[]]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_was_learned_is_stored(data, make):
    generator = make().fit(data)
    again = make().restore(generator.state())
    users, grown = users_with({"taste": "t1", "age": 33}), make_training_data(items=ITEMS, new=3)
    assert lists_of(again, grown, users) == lists_of(generator, data, users)
    pairs = np.zeros(len(grown), np.int64), np.arange(len(grown))
    scores = again.scorer(grown, users, FILMS).score_pairs(*pairs)
    assert np.isfinite(scores).all()


def test_segment_popularity_by_hand():
    plain = make_training_data(items=4, users=0)
    matrix = replace(
        plain.interactions,
        users=np.array(list("abcd"), object),
        starts=np.array([0, 1, 2, 3, 4]),
        columns=np.array([4, 4, 5, 5]),
        strengths=np.ones(4, np.float32),
        moments=np.arange(4.0),
        likes=np.ones(4, bool),
        attributes=UserAttributes.of([{"c": "x"}, {"c": "x"}, {"c": "x"}, {}]),
    )
    data = replace(plain, interactions=matrix)
    generator = SegmentPopularity(shrink=2.0, min_users=1).fit(data)
    scorer = generator.scorer(data, users_with({"c": "x"}), FILMS)
    scores = scorer.score_pairs(np.zeros(8, np.int64), np.arange(8))
    # two of four users have each item: two of three in the segment have the first, one the second
    assert scores[4:6].tolist() == pytest.approx([2 * (1 + 2 / (2 * 0.5)), 2 * (1 + 1 / (2 * 0.5))])
    assert not scores[[0, 1, 2, 3, 6, 7]].any()


values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.sampled_from(["", "NL", "a b", "B a"])
)
rows = st.lists(st.dictionaries(st.sampled_from("abc"), values), min_size=1, max_size=6)


@given(rows)
def test_keys_depend_on_the_user_alone(users):
    whole = UserAttributes.of(users)
    for place, row in enumerate(users):
        alone, taken = UserAttributes.of([row]), whole.take(np.array([place]))
        assert alone.keys.tolist() == taken.keys.tolist()
        assert len(alone.keys) == len({label for n, v in row.items() for label in labels_of(n, v)})
    keys = np.unique(whole.keys)
    assert whole.matrix(keys).sum() == len(whole.keys)
    assert UserAttributes.of([{}]).matrix(keys).nnz == 0


def test_close_numbers_share_keys():
    found = {n: set(labels_of("age", n)) for n in (34, 34.0, 39, 61, 0, -34)}
    assert found[34] == found[34.0] == {"age~30", "age~34"}
    assert found[34] & found[39] == {"age~30"}
    assert not found[34] & (found[61] | found[-34] | found[0])
    assert list(labels_of("age", float("nan"))) == []

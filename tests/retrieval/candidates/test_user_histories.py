"""Histories against plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.user_histories import HALF_LIFE, UserHistories

ITEMS = 12
entry = st.tuples(
    st.integers(0, ITEMS - 1), st.sampled_from([0.0, 0.25, 1.0]), st.integers(0, 9), st.booleans()
)
users = st.lists(st.lists(entry, max_size=6, unique_by=lambda history: history[0]), max_size=5)


def made(lists) -> UserHistories:
    columns, strengths, ages, assumed = (
        [np.array([e[part] for e in history], kind) for history in lists]
        for part, kind in enumerate((np.int64, np.float32, np.float32, bool))
    )
    return UserHistories.from_lists(columns, strengths, ages, assumed)


def as_tuples(histories: UserHistories) -> list[list[tuple]]:
    """Return each user's entries as tuples: item, weight, recency, assumed."""
    columns = (histories.columns, histories.weights, histories.recency, histories.assumed)
    entries = list(zip(*(column.tolist() for column in columns), strict=True))
    return [entries[a:b] for a, b in zip(histories.starts[:-1], histories.starts[1:], strict=True)]


def expected(lists) -> list[list[tuple]]:
    return [
        [
            (
                item,
                float(np.float32(strength * 0.5 ** (age / HALF_LIFE))),
                float(np.float32(0.5 ** (age / HALF_LIFE))),
                assumed,
            )
            for item, strength, age, assumed in sorted(history)
        ]
        for history in lists
    ]


@given(users)
def test_entries_are_those_given_by_column(lists):
    histories = made(lists)
    assert len(histories) == len(lists)
    assert as_tuples(histories) == expected(lists)
    assert histories.owners.tolist() == [u for u, history in enumerate(lists) for _ in history]


@given(users, st.data())
def test_some_entries_are_kept_and_users_keep_their_places(lists, data):
    histories = made(lists)
    n = len(histories.columns)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    flags = iter(kept.tolist())
    assert as_tuples(histories.filter(kept)) == [
        [history for history in user if next(flags)] for user in as_tuples(histories)
    ]


@given(users.filter(bool), st.data())
def test_some_users_are_taken_in_any_order(lists, data):
    histories = made(lists)
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    assert as_tuples(histories.take_users(np.array(chosen, np.int64))) == [
        as_tuples(histories)[user] for user in chosen
    ]


@given(users)
def test_rows_hold_weights_and_matrices_what_was_seen(lists):
    histories = made(lists)
    weights, seen = np.zeros((2, len(lists), ITEMS), np.float32)
    for user, history in enumerate(as_tuples(histories)):
        for item, weight, _, assumed in history:
            weights[user, item], seen[user, item] = weight, not assumed
    before = as_tuples(histories)
    rows = histories.rows
    table = np.zeros_like(weights)
    table[rows.owners, rows.columns] = rows.values
    assert table.tolist() == weights.tolist()
    assert rows.values.all()
    assert histories.seen(ITEMS).toarray().tolist() == seen.tolist()
    assert as_tuples(histories) == before  # nothing is changed by looking


@given(users, st.sets(st.integers(0, ITEMS - 1)))
def test_entries_are_counted(lists, some):
    histories = made(lists)
    assert histories.counts().tolist() == [len(history) for history in lists]
    among = np.isin(np.arange(ITEMS), sorted(some))
    assert histories.counts(among).tolist() == [
        sum(e[0] in some for e in history) for history in lists
    ]


def matrix_of(columns, strengths, moments, likes) -> InteractionMatrix:
    return InteractionMatrix(
        users=np.array(["u"], object),
        items=ITEMS,
        starts=np.array([0, len(columns)]),
        columns=np.array(columns),
        strengths=np.array(strengths, np.float32),
        moments=np.array(moments, np.float64),
        likes=np.array(likes, bool),
    )


def test_weights_are_strength_over_the_strongest_times_recency():
    histories = UserHistories.from_interactions(
        matrix_of([1, 4, 6, 9], [5, 2.5, 1, 4], [30, 40, 10, 20], [True, True, False, True])
    )
    ages = np.array([1, 0, 3, 2])
    np.testing.assert_allclose(histories.recency, 0.5 ** (ages / HALF_LIFE), rtol=1e-6)
    np.testing.assert_allclose(
        histories.weights, np.array([1, 0.5, 0, 0.8]) * histories.recency, rtol=1e-6
    )
    assert not histories.assumed.any()


def test_nothing_has_an_age_where_a_time_is_missing():
    histories = UserHistories.from_interactions(
        matrix_of([1, 4], [5, 5], [3, np.nan], [True, True])
    )
    assert histories.recency.tolist() == [1, 1]


@pytest.mark.parametrize("strengths", [[0.0, 0.0], [-1.0, -2.0]])
def test_whoever_liked_nothing_has_entries_without_weight(strengths):
    histories = UserHistories.from_interactions(
        matrix_of([1, 4], strengths, [1, 2], [False, False])
    )
    assert histories.weights.tolist() == [0, 0]
    assert histories.columns.tolist() == [1, 4]

"""The matrix of interactions against matrices made by hand, and against a plain loop."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.errors import InvalidInput
from isthmus.schema import INTERACTIONS

ITEMS = ["a", "b", "c", "d"]


def find(item_ids):
    return np.array([ITEMS.index(name) if name in ITEMS else -1 for name in item_ids], np.int64)


def table(*rows):
    names = ("user_id", "item_id", "event", "value", "weight", "time")
    made = [dict(zip(names, row, strict=True)) for row in rows]
    for row in made:
        if row["time"] is not None:
            row["time"] = datetime.fromtimestamp(row["time"], UTC)
    return pa.Table.from_pylist(made, INTERACTIONS)


def matrix(*rows, **options):
    feedback = Feedback.of(table(*rows), **options) if options else None
    return InteractionMatrix.from_table(table(*rows), find, len(ITEMS), feedback=feedback)


@pytest.fixture
def few():
    return matrix(
        ("v", "c", "rate", 5.0, 1.0, 100),
        ("u", "b", "rate", 2.0, 1.0, 50.5),
        ("u", "a", "rate", -1.0, 1.0, None),
        ("v", "gone", "rate", 5.0, 1.0, 7),
        ("w", "gone", "rate", 5.0, 1.0, 7),
        ("u", "d", "rate", 0.0, 1.0, 9),
    )


def test_rows_are_users_and_columns_are_items(few):
    assert few.users.tolist() == ["u", "v"]  # w has no item that is there
    assert few.shape == (2, 4)
    assert len(few) == 4
    assert few.values.toarray().tolist() == [[-1, 2, 0, 0], [0, 0, 5, 0]]
    assert few.values.dtype == np.float32
    assert few.values.nnz == 4  # a value of zero is an entry


def test_values_up_to_zero_are_seen_and_not_liked(few):
    assert few.seen.toarray().tolist() == [[1, 1, 0, 1], [0, 0, 1, 0]]
    assert few.liked.toarray().tolist() == [[0, 2, 0, 0], [0, 0, 5, 0]]
    assert few.liked.nnz == 2


def test_the_threshold_of_liked_values_can_be_higher():
    few = matrix(
        ("u", "a", "rate", 3.5, 1.0, None),
        ("u", "b", "rate", 4.0, 1.0, None),
        ("u", "c", "rate", 5.0, 0.5, None),
        positive_from=4,
    )
    assert few.liked.toarray().tolist() == [[0, 4, 2.5, 0]]
    assert few.seen.toarray().tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("positive_from", [0, -1.0, math.nan])
def test_the_threshold_of_liked_values_is_above_zero(positive_from):
    with pytest.raises(InvalidInput, match="give a value above zero"):
        matrix(positive_from=positive_from)


def test_times_are_seconds_and_nan_where_there_is_none(few):
    times = few.times
    assert times.dtype == np.float64
    np.testing.assert_array_equal(times.data, [np.nan, 50.5, 9, 100])
    assert times.indices.tolist() == few.values.indices.tolist() == [0, 1, 3, 2]
    assert times.indptr.tolist() == [0, 3, 4]


def test_several_events_with_an_item_are_one_entry():
    few = matrix(
        ("u", "a", "view", 1.0, 0.25, 30),
        ("u", "a", "buy", 2.0, 1.5, 20),
        ("u", "a", "rate", -4.0, 1.0, None),
        ("u", "b", "view", -1.0, 0.0, None),
        ("u", "b", "buy", 5.0, 0.0, 10),
    )
    assert few.values.toarray().tolist() == [[3.0, 0.0, 0, 0]]
    assert few.times.toarray().tolist() == [[30, 10, 0, 0]]
    assert few.likes.tolist() == [True, True]


def test_restricting_keeps_the_numbers_of_users_and_columns(few):
    part = few.restricted_to(np.array([True, False, True, False]))
    assert part.shape == (2, 4)
    assert part.values.toarray().tolist() == [[-1, 0, 0, 0], [0, 0, 5, 0]]
    assert part.liked.toarray().tolist() == [[0, 0, 0, 0], [0, 0, 5, 0]]
    np.testing.assert_array_equal(part.times.data, [np.nan, 100])
    assert few.restricted_to(np.zeros(4, bool)).seen.nnz == 0


def test_users_are_found_by_their_ids(few):
    assert few.rows_of(["v", "nobody", "u", "w", "zz"]).tolist() == [1, -1, 0, -1, -1]
    assert few.rows_of([]).tolist() == []


def test_users_are_sorted_as_python_sorts_text():
    users = ["é", "z", "Z", "😀", "\uffff", "a\u0000", "a"]
    made = matrix(*[(user, "a", "rate", 1.0, 1.0, None) for user in users])
    assert made.users.tolist() == sorted(users)
    assert made.rows_of(users).tolist() == [sorted(users).index(user) for user in users]


def test_no_interactions_make_an_empty_matrix():
    empty = matrix()
    assert empty.shape == (0, 4)
    assert empty.liked.shape == empty.values.shape == (0, 4)
    assert empty.rows_of(["u"]).tolist() == [-1]


ROW = st.tuples(
    st.sampled_from(["u", "v", "w"]),
    st.sampled_from([*ITEMS, "gone"]),
    st.sampled_from(["view", "buy"]),
    st.sampled_from([-1.0, 0.0, 1.0, 2.5]),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.one_of(st.none(), st.integers(0, 5)),
)


@settings(max_examples=100)
@given(rows=st.lists(ROW, max_size=20), mask=st.lists(st.booleans(), min_size=4, max_size=4))
def test_the_matrix_is_what_a_plain_loop_makes(rows, mask):
    made = matrix(*rows).restricted_to(np.array(mask))
    kept = [row for row in rows if row[1] in ITEMS]
    users = sorted({row[0] for row in kept})
    assert made.users.tolist() == users
    expected = {}
    for user, name, _, value, weight, time in kept:
        place = users.index(user), ITEMS.index(name)
        if mask[place[1]]:
            expected.setdefault(place, []).append((value, weight, time))
    coo = made.values.tocoo()
    places = list(zip(coo.row.tolist(), coo.col.tolist(), strict=True))
    assert places == sorted(expected)
    for n, place in enumerate(places):
        events = expected[place]
        assert coo.data[n] == max(value * weight for value, weight, _ in events)
        times = [time for *_, time in events if time is not None]
        assert made.times.data[n] == max(times) if times else np.isnan(made.times.data[n])
        in_order = sorted(events, key=lambda event: -1 if event[2] is None else event[2])
        liked_values = [value > 0 for value, _, _ in in_order if value]
        assert (place in _nonzero(made.likes, coo)) == (bool(liked_values) and liked_values[-1])


def _nonzero(likes, coo):
    return {(coo.row[n], coo.col[n]) for n in np.flatnonzero(likes)}

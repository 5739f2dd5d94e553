"""How events count: weights of kinds, values, dislikes, age; and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.data.interactions.feedback import (
    DEFAULT_WEIGHTS,
    EventSummary,
    Feedback,
    canonical,
    default_weight,
)
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.interactions.ratings import latest_ratings
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.users import stored_histories
from isthmus.schema import INTERACTIONS

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def log(*rows):
    """Return a log of (event, value, days, item, user), the last three of them optional."""
    made = []
    for row in rows:
        event, value, days, item, user = (*row, *("x", None, None, "i", "u")[len(row) :])
        time = None if days is None else DAY + timedelta(days=days)
        made.append((user, item, event, value, 1.0, time))
    rows = [dict(zip(INTERACTIONS.names, row, strict=True)) for row in made]
    return pa.Table.from_pylist(rows, INTERACTIONS)


def labels(rows, **options):
    table = log(*rows)
    found = Feedback.of(table, **options).label(table)
    words = np.where(found.disliked, "disliked", np.where(found.liked, "liked", "seen"))
    words[~found.used] = "unused"
    return [(word, pytest.approx(float(n))) for word, n in zip(words, found.strengths, strict=True)]


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("view", 0.1),
        ("Page View", 0.1),
        ("click", 0.3),
        ("add_to_cart", 0.5),
        ("addtocart", 0.5),
        ("play", 0.7),
        ("purchase", 1.0),
        ("dislike", -1.0),
        ("interaction", 1.0),
        ("something else", 1.0),
    ],
)
def test_default_weights(name, weight):
    assert default_weight(name) == weight


def test_default_weights_are_spelt_as_they_are_looked_up():
    assert all(canonical(name) == name for name in DEFAULT_WEIGHTS)


def test_the_reference_lists_the_default_weights():
    page = (Path(__file__).parents[3] / "docs/reference/events.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    listed = {kind: float(weight) for weight, kinds in rows[2:] for kind in kinds.split(", ")}
    assert listed == DEFAULT_WEIGHTS


def test_kinds_of_event_weigh_by_their_default_and_relative_to_the_strongest():
    assert labels([("view", None), ("purchase", None), ("dislike", None)]) == [
        ("liked", 0.1),
        ("liked", 1.0),
        ("disliked", -1.0),
    ]
    assert labels([("view", None), ("click", None)]) == [("liked", 1 / 3), ("liked", 1.0)]


def test_given_weights_replace_the_default_ones():
    weights = {"View": 0, "rate": 2, "buy": -1}
    assert labels([("view", None), ("rate", None), ("buy", None)], event_weights=weights) == [
        ("unused", 0.0),
        ("liked", 1.0),
        ("disliked", -0.5),
    ]


def test_ratings_have_a_threshold_and_amounts_have_none():
    rows = [("rate", 5.0), ("rate", 3.5), ("rate", 4.0), ("rate", None), ("rate", 0.0)]
    assert [word for word, _ in labels(rows)] == ["liked", "seen", "liked", "liked", "seen"]
    assert [word for word, _ in labels(rows, positive_from=5)] == [
        *("liked", "seen", "seen", "liked", "seen")
    ]
    hours = labels([("play", 1.0), ("play", 3.0), ("play", 1_023.0)])
    assert hours == [("liked", 1.0), ("liked", 2.0), ("liked", 10.0)]
    skewed = labels([("hours", 90.0), *[("hours", 1.0)] * 9])
    assert {word for word, _ in skewed} == {"liked"}
    percent = labels([("score", 90.0), ("score", 80.0), ("score", 40.0), ("score", 20.0)])
    assert [word for word, _ in percent] == ["liked", "liked", "seen", "seen"]


def test_a_value_below_zero_is_a_dislike():
    assert labels([("thumb", 1.0), ("thumb", -1.0)]) == [("liked", 1.0), ("disliked", -1.0)]


def test_old_events_count_less_with_a_half_life():
    rows = [("view", None, 0), ("view", None, 30), ("view", None, 60), ("view", None)]
    strengths = [n for _, n in labels(rows, half_life_days=30)]
    assert strengths == [0.25, 0.5, 1.0, 1.0]
    assert [n for _, n in labels(rows)] == [1.0] * 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"positive_from": 0}, "give a value above zero"),
        ({"positive_from": float("nan")}, "give a value above zero"),
        ({"event_weights": {"view": float("nan")}}, "weight of event 'view' is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, said):
    with pytest.raises(InvalidInput, match=said):
        Feedback.of(log(("view", None)), **options)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 4.0, 5.0]), min_size=1, max_size=20))
def test_a_log_of_one_kind_counts_as_it_always_did(values):
    table = log(*[("interaction", value, None, f"i{n}") for n, value in enumerate(values)])
    matrix = InteractionMatrix.from_table(
        table, lambda ids: np.arange(len(ids)), len(values), feedback=Feedback.of(table)
    )
    positive = [value for value in values if value > 0]
    threshold = 0.8 * max(positive) if positive and min(positive) < max(positive) else 1e-9
    names = sorted(f"i{n}" for n in range(len(values)))
    assert matrix.likes.tolist() == [values[int(n[1:])] >= threshold for n in names]
    assert matrix.strengths.tolist() == [values[int(n[1:])] for n in names]


def test_the_last_of_like_and_dislike_counts():
    table = log(
        ("buy", None, 1, "a"), ("dislike", None, 2, "a"), ("view", None, 3, "a"),
        ("dislike", None, 1, "b"), ("buy", None, 2, "b"),
        ("dislike", None, None, "c"),
    )  # fmt: skip
    feedback = Feedback.of(table, {"view": 0})
    items = ["a", "b", "c"]
    matrix = InteractionMatrix.from_table(
        table, lambda ids: np.array([items.index(i) for i in ids]), 3, feedback=feedback
    )
    assert matrix.likes.tolist() == [False, True, False]
    order = np.lexsort((table.column("time").fill_null(DAY).to_numpy(),))
    ((history, ordered),) = stored_histories(table.take(pa.array(order)), feedback).values()
    assert not ordered
    assert {entry.item_id: entry.value for entry in history} == {"a": -1.0, "b": 1.0, "c": -1.0}


def test_a_history_tells_the_strongest_event_and_when_it_was():
    table = log(("view", None, 1), ("purchase", None, 2), ("view", None, 9))
    ((entry,), ordered) = stored_histories(table)["u"]
    assert (entry.event, entry.happened, entry.time) == (
        "purchase", DAY + timedelta(days=2), DAY + timedelta(days=9),
    )  # fmt: skip
    assert ordered


def test_the_latest_rating_counts():
    table = log(("rate", 5.0, 3), ("rate", 2.0, 7), ("rate", None, 9), ("view", 1.0, 10))
    assert latest_ratings(table, ["rate"]).column("value").to_pylist() == [2.0]
    without_times = log(("rate", 5.0), ("rate", 1.0))
    assert latest_ratings(without_times, ["rate"]).column("value").to_pylist() == [1.0]


def test_the_summary_counts_every_event_once():
    rows = [("rate", 5.0), ("rate", 2.0), ("rate", None), ("dislike", None), ("spin", None)]
    table = log(*rows, *[("view", None)] * 3)
    summary = EventSummary.of(
        table, Feedback.of(table, {"view": 0}, positive_from=4), {"view": 0}, waiting=2
    )
    assert summary.describe() == (
        "8 events -> 3 positives: 2 rate positive by value >= 4, 1 of them without a value, 1 "
        "rate below count as seen; 3 view not used: weight 0; 1 dislike exclude the item and what "
        "is like it; 1 spin positive (no weight is known for this kind: it counts 1); 2 wait for "
        "their item"
    )
    for kind in summary.kinds:
        unused = kind.events if kind.rule.weight == 0 else 0
        assert kind.events == kind.positive + kind.seen + kind.disliked + unused

"""What protocols hide stays hidden, whoever asks and in whatever order the rows come."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.evaluation.protocols import (
    cold_item,
    cold_user,
    few_shot,
    rating,
    warm,
)
from isthmus.evaluation.time_splits import session, temporal
from tests.retrieval.evaluation.worlds import hidden, interactions, pairs, two_shops, user_ids

MAKERS = {
    "cold user": lambda t, d, s: cold_user(t, d, "b", share=0.2, seed=s),
    "one domain": lambda t, d, s: cold_user(
        t, dict.fromkeys(d, "b"), "b", share=0.2, seed=s
    ),
    "few-shot": lambda t, d, s: few_shot(t, d, "b", 3, share=0.2, seed=s),
    "warm": lambda t, d, s: warm(t, d, "b", share=0.2, seed=s),
    "cold item": lambda t, d, s: cold_item(t, d, "b", share=0.4, seed=s),
    "rating": lambda t, d, s: rating(t, d, seed=s),
    "temporal": lambda t, d, s: temporal(t, d, "b"),
    "session": lambda t, d, s: session(t, d, "b", gap_s=60.0, shares=(0.5, 0.75)),
}  # fmt: skip
worlds = st.builds(
    two_shops,
    users=st.integers(30, 50),
    items=st.integers(24, 30),
    each=st.integers(5, 8),
    seed=st.integers(0, 1000),
)


def described(task):
    return (task.train.to_pydict(), task.users, task.candidates, task.facts)


@pytest.mark.parametrize("name", MAKERS)
@given(world=worlds, seed=st.integers(0, 5))
@settings(max_examples=8)
def test_nothing_hidden_is_in_the_train_table_history_or_exclusions(name, world, seed):
    table, domains = world
    made = MAKERS[name](table, domains, seed)
    assert [task.split for task in made] == ["val", "test"]
    for task in made:
        assert not hidden(task) & pairs(task.train)
        assert hidden(task) <= pairs(table)
        assert pairs(task.train) <= pairs(table)
        for user in task.users:
            assert user.truth
            assert not set(user.truth) & {*user.history, *user.exclude}
            assert {(user.user_id, item) for item in user.history} <= pairs(table)
        assert all(task.domains[item] == "b" for item in task.candidates) or name == "rating"
    if name not in ("temporal", "session"):
        assert made.val.train.equals(made.test.train)
        assert not (hidden(made.val) | hidden(made.test)) & pairs(made.val.train)


@pytest.mark.parametrize("name", ["cold user", "one domain", "few-shot", "warm"])
@given(world=worlds, seed=st.integers(0, 5))
@settings(max_examples=6)
def test_nobody_is_in_val_and_test(name, world, seed):
    val, test = MAKERS[name](*world, seed)
    assert not user_ids(val) & user_ids(test)


@given(world=worlds, seed=st.integers(0, 5))
@settings(max_examples=6)
def test_no_item_is_in_val_and_test_of_cold_items(world, seed):
    val, test = MAKERS["cold item"](*world, seed)
    trained = set(val.train.column("item_id").to_pylist())
    assert not set(val.candidates) & set(test.candidates)
    assert not trained & {*val.candidates, *test.candidates}
    assert all(user.history for task in (val, test) for user in task.users)


@pytest.mark.parametrize("name", MAKERS)
@given(world=worlds, order=st.randoms(use_true_random=False))
@settings(max_examples=4)
def test_the_order_of_rows_and_domains_does_not_matter(name, world, order):
    table, domains = world
    rows = list(range(len(table)))
    order.shuffle(rows)
    shuffled = dict(order.sample(list(domains.items()), len(domains)))
    before = MAKERS[name](table, domains, 0)
    after = MAKERS[name](table.take(rows), shuffled, 0)
    assert [described(task) for task in before] == [described(task) for task in after]


@given(world=worlds)
@settings(max_examples=8)
def test_a_split_by_time_never_trains_on_the_future(world):
    table, domains = world
    times = dict.fromkeys(pairs(table), np.inf)
    for row in table.to_pylist():
        pair = (row["user_id"], row["item_id"])
        times[pair] = min(times[pair], row["time"])
    for task in temporal(table, domains):
        start = float(task.facts["from"])
        assert max(task.train.column("time").to_pylist()) < start
        assert min(times[pair] for pair in hidden(task)) >= start
    assert max(times[pair] for pair in hidden(temporal(table, domains).val)) < start


def test_another_seed_hides_others_and_the_same_the_same():
    table, domains = two_shops()
    first, again, other = (user_ids(cold_user(table, domains, "b", seed=s).test) for s in (0, 0, 1))
    assert first == again != other


def test_a_user_who_joins_moves_nobody_else():
    table, domains = two_shops(users=60)
    more = pa.concat_tables(
        [table, interactions([("zoe", f"{d}{i}") for d in "ab" for i in range(9)])]
    )
    before, after = (cold_user(t, domains, "b").test for t in (table, more))
    assert user_ids(after) - {"zoe"} == user_ids(before)


def test_cold_users_keep_their_source_history_in_order_and_lose_all_of_the_target():
    rows = [(f"u{u}", f"{d}{i}", 1.0, 10.0 - i) for u in range(40) for d in "ab" for i in range(5)]
    rows += [(f"thin{u}", f"b{i}", 1.0, 1.0) for u in range(40) for i in range(5)]
    domains = {f"{d}{i}": d for d in "ab" for i in range(7)}
    val, test = cold_user(interactions(rows), domains, "b", share=0.5)
    assert len(user_ids(val) | user_ids(test)) == 40
    for user in [*val.users, *test.users]:
        assert user.user_id.startswith("u")
        assert user.history == ("a4", "a3", "a2", "a1", "a0")
        assert user.truth == ("b4", "b3", "b2", "b1", "b0")
        assert user.exclude == ()
    assert val.candidates == [f"b{i}" for i in range(7)]
    train = pairs(val.train)
    assert train == {(f"u{u}", f"a{i}") for u in range(40) for i in range(5)} | {
        (f"thin{u}", f"b{i}") for u in range(40) for i in range(5)
    }


def test_users_of_too_few_interactions_are_not_held_out():
    rows = [("u", f"{d}{i}") for d in "ab" for i in range(4)]
    domains = {f"{d}{i}": d for d in "ab" for i in range(4)}
    with pytest.raises(InvalidInput, match="hides nothing for val"):
        cold_user(interactions(rows), domains, "b", share=0.5)


def test_within_one_domain_cold_users_have_no_history():
    table, domains = two_shops()
    for task in cold_user(table, dict.fromkeys(domains, "b"), "b"):
        assert {user.history for user in task.users} == {()}
        assert not user_ids(task) & set(task.train.column("user_id").to_pylist())


def test_few_shots_are_the_first_by_time_of_the_same_users():
    table, domains = two_shops()
    cold, few = cold_user(table, domains, "b").test, few_shot(table, domains, "b", 3).test
    times = {(r["user_id"], r["item_id"]): r["time"] for r in table.to_pylist()}
    assert user_ids(cold) == user_ids(few)
    assert cold.train.equals(few.train)
    for before, after in zip(cold.users, few.users, strict=True):
        assert len(after.exclude) == 3
        assert set(after.exclude) < set(after.history)
        assert set(before.truth) == {*after.truth, *after.exclude}
        latest = max(times[after.user_id, item] for item in after.exclude)
        assert all(times[after.user_id, item] >= latest for item in after.truth)


def test_few_shots_without_times_are_not_the_first_by_id():
    rows = [(f"u{u}", f"{d}{i}") for u in range(60) for d in "ab" for i in range(8)]
    domains = {f"{d}{i}": d for d in "ab" for i in range(8)}
    few = few_shot(interactions(rows), domains, "b", 1, share=0.5)
    revealed = Counter(user.exclude[0] for task in few for user in task.users)
    assert sum(revealed.values()) == 60
    assert len(revealed) > 4


def test_users_with_nothing_left_to_hide_are_dropped():
    rows = [(f"u{u}", f"a{i}") for u in range(40) for i in range(5)]
    rows += [(f"u{u}", f"b{i}") for u in range(40) for i in range(5 if u % 2 else 6)]
    domains = {f"{d}{i}": d for d in "ab" for i in range(6)}
    val, test = few_shot(interactions(rows), domains, "b", 5, share=0.5)
    assert len(val.users) + len(test.users) == 20
    with pytest.raises(InvalidInput, match="0 shots reveal nothing"):
        few_shot(interactions(rows), domains, "b", 0)


def test_warm_hides_a_share_and_shows_the_rest():
    table, domains = two_shops(each=8)
    for task in warm(table, domains, "b", hidden=0.3):
        for user in task.users:
            assert (len(user.truth), len(user.exclude), len(user.history)) == (3, 5, 13)
            assert all(domains[item] == "b" for item in user.exclude)


def test_repeated_interactions_are_hidden_together():
    table, domains = two_shops()
    again = pa.concat_tables([table, table.slice(0, 400), table])
    for name, make in MAKERS.items():
        for task in make(again, domains, 0):
            assert not hidden(task) & pairs(task.train), name


def test_ratings_keep_their_values_and_a_tenth_is_hidden():
    table, domains = two_shops()
    values = {(r["user_id"], r["item_id"]): r["value"] for r in table.to_pylist()}
    val, test = rating(table, domains)
    for task in (val, test):
        assert 0.07 < len(hidden(task)) / len(table) < 0.13
        for user in task.users:
            assert user.ratings == tuple(values[user.user_id, item] for item in user.truth)
    assert not hidden(val) & hidden(test)
    only_b = rating(table, domains, "b").val
    assert {domains[item] for _, item in hidden(only_b)} == {"b"}


def test_who_and_what_starts_after_the_cut_is_kept_and_counted():
    rows = [
        ("old", "x", 1.0, 1.0), ("old", "y", 1.0, 2.0), ("old", "x", 1.0, 11.0),
        ("old", "new", 1.0, 12.0), ("late", "y", 1.0, 13.0), ("late", "new", 1.0, 21.0),
        ("old", "y", 1.0, 22.0), ("later", "newer", 1.0, 23.0),
    ]  # fmt: skip
    domains = dict.fromkeys(("x", "y", "new", "newer"), "d")
    val, test = temporal(interactions(rows), domains, times=(10.0, 20.0))
    assert [(u.user_id, u.history, u.truth, u.exclude) for u in val.users] == [
        ("late", (), ("y",), ()),
        ("old", ("x", "y"), ("new",), ("x", "y")),
    ]
    assert val.facts == {
        "from": "10.0", "users that start later": 1, "items that start later": 1,
        "hidden of items that start later": 1,
    }  # fmt: skip
    assert [(u.user_id, u.history, u.truth) for u in test.users] == [
        ("late", ("y",), ("new",)),
        ("later", (), ("newer",)),
    ]
    assert len(val.train) == 2
    assert len(test.train) == 5


def test_the_second_half_of_the_first_session_after_the_cut_is_hidden():
    rows = [
        ("u", "x", 1.0, 1.0), ("u", "away", 1.0, 2.0),  # before the cut
        ("u", "p", 1.0, 11.0),  # a session with one new item is passed over
        ("u", "x", 1.0, 14.0), ("u", "q", 1.0, 14.5), ("u", "r", 1.0, 15.5),
        ("u", "away", 1.0, 15.8), ("u", "s", 1.0, 16.0),  # three new items: q is visible
        ("u", "y", 1.0, 18.0), ("u", "z", 1.0, 18.5),  # a later session is not asked for
        ("v", "q", 1.0, 9.5), ("v", "r", 1.0, 10.1), ("v", "s", 1.0, 10.9),  # began before the cut
        ("w", "q", 1.0, 21.0), ("w", "r", 1.0, 21.5),
    ]  # fmt: skip
    domains = {**dict.fromkeys("xpqrsyz", "d"), "away": "e"}
    val, test = session(interactions(rows), domains, "d", gap_s=1.0, times=(10.0, 20.0))
    assert [(u.user_id, u.history, u.truth, u.exclude) for u in val.users] == [
        ("u", ("x", "away", "p", "q"), ("r", "s"), ("x", "p", "q"))
    ]
    assert pairs(val.train) == {("u", "x"), ("u", "away"), ("v", "q")}
    assert [(u.user_id, u.history, u.truth) for u in test.users] == [("w", ("q",), ("r",))]
    assert (val.kind, val.facts) == ("session", {"from": "10.0", "session gap (s)": 1.0})
    one = session(interactions(rows), domains, "d", gap_s=3.0, times=(10.0, 20.0)).val
    assert [(u.user_id, u.truth) for u in one.users] == [("u", ("s", "y", "z"))]
    with pytest.raises(InvalidInput, match="a gap above 0 seconds, not 0"):
        session(interactions(rows), domains, gap_s=0.0)


@given(world=worlds, gap=st.sampled_from([20.0, 60.0, 200.0]))
@settings(max_examples=8)
def test_sessions_never_train_on_the_future_and_hide_no_more_than_their_later_half(world, gap):
    table, domains = world
    times = {}
    for row in table.to_pylist():
        times.setdefault((row["user_id"], row["item_id"]), []).append(row["time"])
    for task in session(table, domains, "b", gap_s=gap, shares=(0.4, 0.7)):
        start = float(task.facts["from"])
        assert max(task.train.column("time").to_pylist()) < start
        for user in task.users:
            hidden_at = [min(times[user.user_id, item]) for item in user.truth]
            known_at = [min(times[user.user_id, item]) for item in user.history]
            assert start <= max(known_at) <= min(hidden_at)
            of_user = {t for (who, _), at in times.items() if who == user.user_id for t in at}
            known_in_b = max(min(times[user.user_id, item]) for item in user.exclude)
            session_times = sorted(t for t in of_user if known_in_b <= t <= max(hidden_at))
            assert all(b - a <= gap for a, b in pairwise(session_times))


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_may_be_timestamps(zone):
    table, domains = two_shops()
    start = datetime(2024, 1, 1, tzinfo=UTC if zone else None)
    times = [start + timedelta(hours=t) for t in table.column("time").to_pylist()]
    stamped = table.set_column(3, "time", pa.array(times, pa.timestamp("us", zone)))
    plain = temporal(table, domains, times=(700.0, 800.0))
    cuts = (start + timedelta(hours=700), start + timedelta(hours=800))
    timed = temporal(stamped, domains, times=cuts)
    assert [task.users for task in timed] == [task.users for task in plain]
    assert timed.val.facts["from"] == str(cuts[0])
    hours = session(table, domains, gap_s=60.0, times=(700.0, 800.0))
    seconds = session(stamped, domains, gap_s=60.0 * 3600, times=cuts)
    assert [task.users for task in seconds] == [task.users for task in hours]


def test_a_split_by_time_needs_times_in_order():
    table, domains = two_shops()
    with pytest.raises(InvalidInput, match="3 interactions have no time"):
        temporal(pa.concat_tables([table, interactions([("u", "a1")] * 3)]), domains)
    with pytest.raises(InvalidInput, match="not ascending"):
        temporal(table, domains, times=(5.0, 5.0))
    with pytest.raises(InvalidInput, match="give two rising shares"):
        temporal(table, domains, shares=(0.9, 0.8))
    with pytest.raises(InvalidInput, match="'noon' is no cut-off"):
        temporal(table, domains, times=("noon", "night"))


def test_interactions_that_cannot_be_used_are_refused():
    table, domains = two_shops()
    with pytest.raises(InvalidInput, match="no column value"):
        cold_user(table.drop(["value"]), domains, "b")
    with pytest.raises(InvalidInput, match="1 items have no domain, the first is 'z'"):
        cold_user(pa.concat_tables([table, interactions([("u", "z")])]), domains, "b")
    with pytest.raises(InvalidInput, match="1 interactions have no item_id"):
        cold_user(pa.concat_tables([table, interactions([("u", None)])]), domains, "b")
    with pytest.raises(InvalidInput, match=r"share is 0\.7"):
        cold_user(table, domains, "b", share=0.7)

"""Evaluations from the log: of a scenario, and of the arms of an A/B test."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from isthmus import Experiment, Space, User
from isthmus.errors import InvalidInput, ReleaseNotFound
from tests.retrieval.crowd import ids
from tests.toy import PointEncoder, item

ARMS = {"a": {}, "b": {"scenario": "last"}}


def make_shop(folder):
    space = Space.create(folder / "s", PointEncoder(2))
    space.upsert([item(f"i{n:02}", f"10 {n}", "shop", n=n) for n in range(40)])
    space.set_scenario("last", boost={"n >= 30": "+1000"})
    return space


@pytest.fixture
def shop(tmp_path):
    return make_shop(tmp_path)


def clicks(hits, user, places):
    """Events of clicks on some places of a list."""
    return [
        {
            "event_id": f"{hits.recommendation_id}-{place}",
            "user_id": user,
            "item_id": hits[place].item_id,
            "event": "click",
            "recommendation_id": hits.recommendation_id,
        }
        for place in places
    ]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Forty users got a list each; every third clicks its first item, every fifth an explored one.

    Returns the space, the sum of rewards over propensities of the ranker's items, found by hand,
    how many places have one of these, and how many clicks there are.
    """
    shop = make_shop(tmp_path_factory.mktemp("logged"))
    users = [f"u{n}" for n in range(40)]
    before = time.time() - 60
    shop.add_interactions([{"user_id": u, "item_id": "i00", "time": before} for u in users])
    lists = [shop.recommend(User(id=user), k=5, explore=0.3, log=True) for user in users]
    propensities = {
        row["recommendation_id"]: row["propensity"] for row in shop.recommendations().to_pylist()
    }
    events, earned, matched = [], 0.0, 0
    for n, (user, hits) in enumerate(zip(users, lists, strict=True)):
        explored = [place for place, hit in enumerate(hits) if hit.rule == "explored"]
        chosen = [0] if n % 3 == 0 else []
        chosen += [place for place in explored[:1] if n % 5 == 0 and place not in chosen]
        events += clicks(hits, user, chosen)
        matched += 5 - len(explored)
        shown = propensities[hits.recommendation_id]
        earned += sum(1 / shown[place] for place in chosen if place not in explored)
    shop.record_events(events)
    return shop, earned, matched, len(events)


def test_a_log_says_what_lists_without_exploration_would_earn(logged):
    shop, earned, matched, n_clicks = logged
    found = shop.evaluate_log(resamples=200)
    assert (found.lists, found.users, found.places, found.skipped) == (40, 40, 200, 0)
    assert found.rewards == n_clicks
    assert found.logged.value == pytest.approx(n_clicks / 200)
    assert found.matched == pytest.approx(matched / 200)
    assert found.ips.value == pytest.approx(earned / 200)
    for estimate in (found.logged, found.ips, found.snips, found.doubly_robust):
        assert 0 <= estimate.low <= estimate.value <= estimate.high
    # The clicks came after the lists: they are no history of the replayed ones.
    assert found.effective_size > 100


def test_a_scenario_that_shows_other_items_matches_only_what_exploration_showed(logged):
    shop = logged[0]
    found = shop.evaluate_log(scenario="last", resamples=100)
    assert 0 <= found.matched < 0.1
    with pytest.raises(InvalidInput, match="no scenario 'other'"):
        shop.evaluate_log(scenario="other")
    with pytest.raises(InvalidInput, match=r"no event of the kind 'purchase'.*there are: click"):
        shop.evaluate_log(reward="purchase")


def test_nothing_logged_is_said(shop):
    with pytest.raises(InvalidInput, match="no logged list can be replayed"):
        shop.evaluate_log()
    shop.recommend(User(history=["i03"]), log=True)
    with pytest.raises(InvalidInput, match="no logged list can be replayed"):
        shop.evaluate_log()
    with pytest.raises(InvalidInput, match="no list of the experiment 'test'; there is none"):
        shop.evaluate_ab("test")


def test_users_are_split_by_a_keyed_hash():
    test = Experiment(name="t", arms={"a": {"share": 3}, "b": {}, "c": {}})
    counts = Counter(test.arm_of(f"u{n}") for n in range(20_000))
    for name, share in (("a", 0.6), ("b", 0.2), ("c", 0.2)):
        assert abs(counts[name] / 20_000 - share) < 4 * np.sqrt(share * (1 - share) / 20_000)
    users = [f"u{n}" for n in range(2_000)]
    arms = [test.arm_of(user) for user in users]
    assert [test.arm_of(user) for user in users] == arms
    halves = {"arms": {"a": {}, "b": {}}}
    first = [Experiment(name="t", **halves).arm_of(user) for user in users]
    for other in (Experiment(name="t", key="k", **halves), Experiment(name="t2", **halves)):
        same = sum(a == other.arm_of(user) for a, user in zip(first, users, strict=True))
        assert abs(same - 1_000) < 4 * np.sqrt(500)


def test_an_arm_answers_with_its_scenario_and_is_compared(shop):
    test = {"name": "boots", "arms": ARMS, "key": "k"}
    plain = ids(shop.recommend(User(), k=5))
    last = ids(shop.recommend(User(), k=5, scenario="last"))
    assert plain != last
    events, users = [], Counter()
    for n in range(60):
        user = f"u{n}"
        hits = shop.recommend(User(id=user), k=5, experiment=test, log=True)
        assert hits.arm == Experiment(**test).arm_of(user)
        assert hits.as_dict()["arm"] == hits.arm
        assert ids(hits) == (plain if hits.arm == "a" else last)
        users[hits.arm] += 1
        events += clicks(hits, user, [0, 1] if hits.arm == "b" else [0])
    nobody = shop.recommend(User(), k=5, experiment=test, log=True)
    assert (nobody.arm, ids(nobody)) == (None, plain)
    shop.record_events(events)
    found = shop.evaluate_ab("boots", resamples=100)
    assert {arm.arm: (arm.users, arm.lists, arm.rate.value) for arm in found.arms} == {
        "a": (users["a"], users["a"], pytest.approx(0.2)),
        "b": (users["b"], users["b"], pytest.approx(0.4)),
    }
    (compared,) = found.comparisons
    assert (compared.arm, compared.control) == ("b", "a")
    assert compared.difference == pytest.approx(0.2)
    # Sixty users are too few for the normal approximation.
    assert (compared.low, compared.high, compared.p_value) == (None, None, 1.0)
    assert shop.evaluate_ab("boots", control="b", resamples=50).comparisons[0].arm == "a"
    with pytest.raises(InvalidInput, match="no arm 'c'; there are: a, b"):
        shop.evaluate_ab("boots", control="c")
    with pytest.raises(InvalidInput, match="no list of the experiment 'other'; there are: boots"):
        shop.evaluate_ab("other")


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            "boots",
            "experiment is 'boots'; give a mapping of names to values, or an isthmus.Experiment",
        ),
        ({"name": "t", "arms": {"a": {}}}, "'t' has no two arms"),
        ({"name": " ", "arms": ARMS}, "name of an experiment is empty"),
        ({"name": "t", "arms": {"a": {}, "b": 3}}, "arm 'b' of 't' is 3; give a mapping"),
        ({"name": "t", "arms": {"a": {}, "b": {"scenery": 1}}}, "arm 'b' of 't': there is no"),
        ({"name": "t", "arms": {"a": {}, "b": {"share": 0}}}, "arm 'b' of 't': share is 0"),
    ],
)
def test_experiments_that_make_no_sense_are_refused(shop, test, words):
    with pytest.raises(InvalidInput, match=words):
        shop.recommend(User(id="u1"), experiment=test)


def test_a_scenario_beside_an_experiment_and_a_release_that_is_none_are_refused(shop):
    test = Experiment(name="t", arms={"a": {"scenario": "last"}, "b": {"scenario": "last"}})
    with pytest.raises(InvalidInput, match="whose arms have their own; leave it out"):
        shop.recommend(User(id="u1"), experiment=test, scenario="last")
    test = Experiment(name="t", arms={"a": {"release": 7}, "b": {"release": 7}})
    with pytest.raises(ReleaseNotFound, match="no release 7"):
        shop.recommend(User(id="u1"), experiment=test)
    shop.publish()
    shop.upsert([item("new", "1 1", "shop", n=50)])
    shop.publish()
    test = Experiment(name="t", arms={"a": {"release": 1}, "b": {"release": 1}})
    with pytest.raises(InvalidInput, match="release 1 has no recommender"):
        shop.recommend(User(id="u1"), experiment=test)

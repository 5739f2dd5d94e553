"""Scenarios: named sets of rules that requests refer to, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import EvaluationPlan, Space, User
from isthmus.errors import InvalidFilter, InvalidInput
from tests.retrieval.crowd import ids
from tests.retrieval.evaluation.shops import make_shop
from tests.toy import PointEncoder, item


@pytest.fixture
def shop(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    brands = ("acme", "best")
    space.upsert(
        [item(f"i{n}", f"10 {n}", "shop", price=n, brand=brands[n % 2]) for n in range(10)]
    )
    return space


def test_a_request_that_names_a_scenario_has_its_rules(shop):
    rules = {"boost": {"price = 7": "+6", "price = 8": 0.5}, "pin": ["i9"], "caps": {"brand": 3}}
    assert shop.set_scenario("home", **rules) == rules
    assert shop.scenarios() == {"home": rules}
    expected = ids(shop.search("1 0", **rules))
    assert expected == ["i9", "i0", "i7", "i1", "i2", "i4"]
    hits = shop.search("1 0", scenario="home")
    assert ids(hits) == expected
    assert ids(shop.similar("i0", scenario="home")) == ids(shop.similar("i0", **rules))
    user = User(history=["i3"])
    assert ids(shop.recommend(user, scenario="home")) == ids(shop.recommend(user, **rules))
    table = shop.recommend_batch([("u", user)], scenario="home")
    assert table["item_id"].to_pylist() == ids(shop.recommend(user, **rules))


def test_arguments_of_the_request_take_the_place_of_rules_but_filters_and_bans_add_up(shop):
    shop.set_scenario("cheap", where="price < 6", ban=["i0"], pin=["i5"], boost={"price = 4": 9})
    hits = shop.search("1 0", scenario="cheap", where="price > 1", ban=["i3"], pin=["i4"])
    assert ids(hits) == ["i4", "i2", "i5"]


def test_another_process_sees_a_scenario_at_once_and_pages_end_with_it(shop):
    reader = Space.open(shop.path, encoder=PointEncoder(2))
    with pytest.raises(InvalidInput, match="no scenario 'home'; there is none yet; set it with"):
        reader.search("1 0", scenario="home")
    shop.set_scenario("home", ban=["i0"])
    page = reader.search("1 0", scenario="home", k=2)
    assert ids(page) == ["i1", "i2"]
    more = reader.search("1 0", scenario="home", k=2, cursor=page.cursor)
    assert ids(more) == ["i3", "i4"]
    shop.set_scenario("home", ban=["i1"])
    assert ids(reader.search("1 0", scenario="home", k=2)) == ["i0", "i2"]
    with pytest.raises(InvalidInput, match="of another request"):
        reader.search("1 0", scenario="home", k=2, cursor=page.cursor)
    shop.delete_scenario("home")
    with pytest.raises(InvalidInput, match="no scenario 'home'"):
        reader.search("1 0", scenario="home")
    with pytest.raises(InvalidInput, match="no scenario 'home'"):
        shop.delete_scenario("home")


@pytest.mark.parametrize(
    ("rules", "error", "words"),
    [
        ({"boost": {"colour = 'red'": 2}}, InvalidFilter, "scenario 'home': .*colour"),
        ({"where": "colour = 'red'"}, InvalidFilter, "scenario 'home': .*colour"),
        ({"caps": {"colour": 2}}, InvalidInput, "scenario 'home': .*'colour', which no domain has"),
        ({"pin": ["i77"]}, InvalidInput, "scenario 'home': pin names i77"),
        ({"quotas": {"films": 2}}, InvalidInput, "scenario 'home': .*films"),
        ({"boost": {"price < 2": 0}}, InvalidInput, "boost of 'price < 2' is 0; give a factor"),
        ({"exclude_shown_for": "soon"}, InvalidInput, "exclude_shown_for is 'soon'; give"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_not_stored(shop, rules, error, words):
    with pytest.raises(error, match=words):
        shop.set_scenario("home", **rules)
    assert shop.scenarios() == {}


def test_a_file_edited_by_hand_is_read_and_its_faults_are_named(shop):
    file = shop.path / "scenarios.toml"
    file.write_text('[home]\nban = ["i0"]\n')
    assert ids(shop.search("1 0", k=1, scenario="home")) == ["i1"]
    file.write_text('[home]\nboots = ["i0"]\n')
    with pytest.raises(InvalidInput, match="scenario 'home' has boots"):
        shop.search("1 0", scenario="home")
    file.write_text('[home]\nexclude_shown_for = "7d"\n')
    with pytest.raises(InvalidInput, match="has exclude_shown_for, which this verb does not take"):
        shop.search("1 0", scenario="home")
    assert len(shop.recommend(User(), scenario="home")) == 10
    file.write_text("home = 3\n")
    with pytest.raises(InvalidInput, match="'home' is 3 and no scenario"):
        shop.search("1 0", scenario="home")
    file.write_text("[home\n")
    with pytest.raises(InvalidInput, match="is not valid TOML"):
        shop.scenarios()


def test_an_evaluation_says_what_a_rule_costs(tmp_path):
    space = make_shop(tmp_path, users=120)
    space.set_scenario(
        "odd", ban=[f"b-{theme}-{n}" for theme in ("sea", "snow") for n in range(12)]
    )
    space.set_scenario("nothing", where="item_id <> 'none'")
    plan = EvaluationPlan(
        protocols=["warm"], targets=["books"], baselines=["popularity"], quick=True,
        systems=["interests"], scenario=["odd", "nothing"], ks=(5, 10), n=20, resamples=200,
        min_users=3,
    )  # fmt: skip
    evaluation = space.evaluate(plan)
    for task in evaluation.tasks:
        values = {system.name: system for system in task.systems}
        assert [system.error for system in task.systems] == [None] * len(values)
        whole = values["isthmus"].metrics["ndcg@10"].value
        costs = {one.system: one for one in task.ablations}
        assert set(costs) == {"isthmus + odd", "isthmus + nothing"}
        odd = costs["isthmus + odd"]
        assert odd.reference == "isthmus"
        assert odd.difference.value == pytest.approx(
            values["isthmus + odd"].metrics["ndcg@10"].value - whole
        )
        # Two thirds of the books are gone: the users whose theme is among them find nothing.
        assert odd.difference.value < 0 < whole
        assert odd.difference.low <= odd.difference.value <= odd.difference.high <= 0
        same = costs["isthmus + nothing"].difference
        assert np.allclose([same.low, same.value, same.high], 0)
    with pytest.raises(InvalidInput, match="no scenario 'other'; there are: "):
        space.evaluate(EvaluationPlan(protocols=["warm"], scenario="other"))

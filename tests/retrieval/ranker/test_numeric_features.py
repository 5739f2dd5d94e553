"""Numbers of items: their ranks, what they tell, and how near candidates are in them."""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import Space, User
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.numeric_features import NUMERIC_COLUMNS, NumericAttributes
from isthmus.retrieval.recommend.space_data import space_training_data
from isthmus.retrieval.recommend.store import load_recommender, read_description
from tests.retrieval.candidates.toy_data import BOOKS, SONGS, histories_of, make_training_data
from tests.retrieval.recommend.worlds import BRIEF, QUICK
from tests.toy import item, text_encoder

ITEMS = 24
TASTE = (np.arange(2 * ITEMS) % 4).astype(float)


def counted(training_data, **numbers):
    """Return a training_data whose items have these numbers."""
    vectors = training_data.features.take(np.arange(len(training_data)))
    return replace(training_data, features=InMemoryItemFeatures(vectors, attributes=numbers))


@pytest.fixture(scope="module")
def training_data():
    return make_training_data(users=200, items=ITEMS)


def pool_of(*items):
    """Return a pool of one user."""
    nothing = np.zeros((1, len(items)))
    starts = np.array([0, len(items)])
    return CandidatePool(("one",), starts, np.array(items), nothing, nothing.astype(np.int64))


def nearness(numbers, training_data, history, items, target=BOOKS):
    found = numbers.features(training_data, history, pool_of(*items), target)
    return {name: found[:, at].tolist() for at, name in enumerate(NUMERIC_COLUMNS)}


def test_an_attribute_by_which_nobody_chooses_is_not_informative(training_data):
    rng = np.random.default_rng(0)
    chance = rng.permutation(2 * ITEMS).astype(float)
    same = np.ones(2 * ITEMS)
    none = np.full(2 * ITEMS, np.nan)
    world = counted(training_data, chance=chance, same=same, none=none)
    assert not NumericAttributes().fit(world).informative
    assert NumericAttributes().fit(counted(training_data, chance=chance, taste=TASTE)).names == (
        "taste",
    )


def test_without_numbers_there_is_nothing_to_compare(training_data):
    numbers = NumericAttributes().fit(training_data)
    found = nearness(numbers, training_data, histories_of([0, 4]), [1, 8])
    assert all(values == [0, 0] for values in found.values())


def test_closeness_is_one_minus_the_difference_of_ranks(training_data):
    world = counted(training_data, taste=TASTE)
    numbers = NumericAttributes().fit(world)
    found = nearness(numbers, world, histories_of([0, 24]), [4, 1, 3])  # of ranks 1/8, 3/8, 7/8
    apart = np.array([0, 0.25, 0.75])
    for where in ("", " in domain"):
        np.testing.assert_allclose(found[f"nearest{where}"], 1 - apart, rtol=1e-6)
        np.testing.assert_allclose(found[f"mean{where}"], 1 - apart, rtol=1e-6)
        np.testing.assert_allclose(found[f"soft match{where}"], np.exp(-10 * apart), rtol=1e-5)
    assert found["comparable"] == [1, 1, 1]


def test_closeness_is_weighted_by_the_history_and_ignores_dislikes(training_data):
    world = counted(training_data, taste=TASTE)
    weights = [np.array([1, 0.5, 0], np.float32)]
    history = UserHistories.from_lists(
        [np.array([0, 2, 3])], weights
    )  # tastes 0, 2 and one disliked
    found = nearness(NumericAttributes().fit(world), world, history, [4])
    assert found["nearest"] == [1]
    np.testing.assert_allclose(found["mean"], 1 - 0.5 * (0.5 / 1.5), rtol=1e-6)


def test_another_domain_has_ranks_of_its_own(training_data):
    prices = np.where(np.arange(2 * ITEMS) < ITEMS, TASTE, 1_000 + 500 * TASTE)
    world = counted(training_data, price=prices)
    found = nearness(
        NumericAttributes().fit(world), world, histories_of([25]), [1, 2]
    )  # a film, taste 1
    np.testing.assert_allclose(found["nearest"], [1, 0.75], rtol=1e-6)
    assert found["nearest in domain"] == [0, 0]
    assert found["comparable"] == [1, 1]


def test_an_item_without_a_number_is_not_compared(training_data):
    gone = TASTE.copy()
    gone[[4, 8]] = np.nan
    world = counted(training_data, taste=gone)
    numbers = NumericAttributes().fit(world)
    assert nearness(numbers, world, histories_of([0]), [4, 12])["comparable"] == [0, 1]
    assert nearness(numbers, world, histories_of([8]), [12])["comparable"] == [0]


def test_attributes_are_weighted_by_informativeness(training_data):
    blurred = np.where(np.arange(2 * ITEMS) % 8 < 4, TASTE, 3 - TASTE)
    world = counted(training_data, taste=TASTE, blurred=blurred)
    found = nearness(NumericAttributes().fit(world), world, histories_of([0]), [7, 3])
    # 7 is far by what tells much and near by what tells little, 3 is far by both
    assert 0.2 < found["nearest"][0] < 0.5
    np.testing.assert_allclose(found["nearest"][1], 0.25, rtol=1e-5)


def test_numeric_attributes_are_restored_with_the_statistics(training_data):
    world = counted(training_data, taste=TASTE, other=-TASTE)
    statistics = ItemStatistics().fit(world)
    kept = {key: np.array(value) for key, value in statistics.state().items()}
    again = ItemStatistics().restore(kept)
    assert again.numeric.names == ("taste", "other")
    query = world, histories_of([0, 5]), [1, 2, 3]
    assert nearness(again.numeric, *query) == nearness(statistics.numeric, *query)
    bare = ItemStatistics().restore(ItemStatistics().fit(training_data).state())
    assert not bare.numeric.informative


def test_new_items_are_ranked_among_the_learned_ones(training_data):
    numbers = NumericAttributes().fit(counted(training_data, taste=TASTE))
    grown = make_training_data(users=0, items=ITEMS, new=4)
    grown = counted(grown, taste=np.concatenate([TASTE, [0, 9, 0.5, np.nan]]))
    domains = grown.domains.copy()
    domains[-4:] = BOOKS
    grown = replace(grown, domains=domains)
    new = [2 * ITEMS + n for n in range(4)]
    found = nearness(numbers, grown, histories_of([0]), new)
    np.testing.assert_allclose(found["nearest"], [1, 1 - 7 / 8, 1 - 1 / 8, 0], rtol=1e-6)
    assert found["comparable"] == [1, 1, 1, 0]


def test_a_domain_that_nobody_used_is_not_compared(training_data):
    numbers = NumericAttributes().fit(counted(training_data, taste=TASTE))
    world = counted(training_data, taste=TASTE)
    assert not any(nearness(numbers, world, histories_of([0]), [1], SONGS)["comparable"])


@given(
    scale=st.floats(0.001, 1_000),
    offset=st.floats(-1_000, 1_000),
    values=st.lists(st.integers(0, 5), min_size=2 * ITEMS, max_size=2 * ITEMS),
)
def test_units_do_not_matter(scale, offset, values):
    training_data = make_training_data(users=60, items=ITEMS)
    one, other = (
        counted(training_data, value=np.array(value))
        for value in (np.array(values, float), scale * np.array(values, float) + offset)
    )
    query = histories_of([0, 25]), [1, 2, 3]
    first = nearness(NumericAttributes().fit(one), one, *query)
    assert nearness(NumericAttributes().fit(other), other, *query) == first
    assert all(0 <= value <= 1 for values in first.values() for value in values)


def test_numeric_attributes_are_read_from_the_catalog(tmp_path):
    space = Space.create(tmp_path / "s.space", {"text": text_encoder()})
    day = datetime.date(1970, 1, 2)
    moment = datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    space.upsert(
        [
            item("a", "x", price=7, size=1.5, sold=True, day=day, at=moment, brand="n"),
            item("b", "x", price=None, size=None, sold=False, day=None, at=None, brand="n"),
        ]
    )
    contents = space_training_data(space.opened.view(), {}, space.interactions()).features
    names = contents.number_names
    assert set(names) == {"price", "size", "sold", "day", "at"}
    found = contents.numbers(np.arange(2), ("price", "size", "sold", "day", "at", "brand", "no"))
    np.testing.assert_array_equal(
        found,
        [
            [7, 1.5, 1, 86_400e6, 1e6, np.nan, np.nan],
            [np.nan, np.nan, 0, np.nan, np.nan, np.nan, np.nan],
        ],
    )


PRICES = 40
PRICED = replace(QUICK, exclude_generators=BRIEF.exclude_generators, check_source_domains=False)


def price_world(path, *, priced=True):
    """Books and films that only a price tells apart; users buy what is cheap, or what is dear."""
    rng = np.random.default_rng(3)
    space = Space.create(path, {"text": text_encoder()})
    space.upsert(
        [
            item(f"{domain}{n}", f"word{rng.integers(5)}", domain, **cost(n, priced=priced))
            for domain in ("books", "films")
            for n in range(PRICES)
        ]
    )
    space.add_interactions(
        [
            {"user_id": f"u{user}", "item_id": f"{domain}{n}"}
            for user in range(160)
            for domain in ("books", "films")
            for n in rng.choice(np.arange(PRICES // 2) + PRICES // 2 * (user % 2), 5, replace=False)
        ]
    )
    return space


def cost(n, *, priced=True):
    return {"price": 10 + n} if priced else {}


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    space = price_world(tmp_path_factory.mktemp("prices") / "s.space")
    space.train("books", settings=PRICED)
    space.publish()
    return space


def test_new_items_are_ordered_by_the_price_that_a_user_pays(priced):
    prices = (12, 15, 44, 47)
    priced.upsert([item(f"new{price}", "word1", "books", price=price) for price in prices])
    cheap, dear = {"new12", "new15"}, {"new44", "new47"}
    for films, first, last in (((2, 5, 9), cheap, dear), ((22, 30, 37), dear, cheap)):
        user = User(history=[f"films{n}" for n in films])
        hits = priced.recommend(user, domain="books", k=2 * PRICES)
        found = [hit.item_id for hit in hits if hit.item_id.startswith("new")]
        assert set(found[: len(first)]) == first
        assert set(found[len(first) :]) <= last


def test_a_stored_ranker_names_the_numeric_features_that_it_needs(priced):
    folder = priced.path / "training" / "recommender"
    needed = read_description(folder).rankers["books"]["features"]
    assert {f"numeric: {name}" for name in NUMERIC_COLUMNS} <= set(needed)
    assert load_recommender(folder).statistics.numeric.names == ("price",)


def numeric_features(space):
    """Return how many numeric features the stored ranker of books needs."""
    stored = read_description(space.path / "training" / "recommender").rankers["books"]
    return sum(name.startswith("numeric: ") for name in stored["features"])


def test_rankers_are_fine_tuned_where_there_are_numbers_and_where_there_are_none(priced, tmp_path):
    plain = price_world(tmp_path / "plain.space", priced=False)
    plain.train("books", start_from=priced.path, settings=BRIEF)
    plain.publish()
    assert numeric_features(plain) == len(NUMERIC_COLUMNS)
    other = price_world(tmp_path / "other.space")
    bare = price_world(tmp_path / "bare.space", priced=False)
    bare.train("books", settings=BRIEF)
    bare.publish()
    assert numeric_features(bare) == 0
    other.train("books", start_from=bare.path, settings=BRIEF)
    other.publish()
    for space in (plain, other):
        assert len(space.recommend(User(history=["films3"]), domain="books", k=5)) == 5

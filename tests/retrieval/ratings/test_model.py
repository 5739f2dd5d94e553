"""The rating model through its public face, in worlds with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.retrieval.ratings.components import RatingSettings
from isthmus.retrieval.ratings.model import TERMS, RatingModel
from isthmus.retrieval.ratings.ratings import History, Ratings
from tests.retrieval.ratings.worlds import additive, history, one_domain, ratings_of, tastes

NOBODY = History((), ())
PLAIN = RatingSettings(factors=0)


def empty(items):
    return np.zeros((items, 0), np.float32)


def fit_plain(table, domains=None):
    items = table.shape[1]
    codes = one_domain(items) if domains is None else domains
    return RatingModel.fit(ratings_of(table), empty(items), codes, settings=PLAIN)


@pytest.fixture(scope="module")
def two_camps():
    table, vectors, kind = tastes()
    model = RatingModel.fit(ratings_of(table), vectors, one_domain(len(kind)))
    return model, table, vectors, kind


def test_an_additive_world_is_recovered():
    whole, known = additive(users=200, items=100)
    model = fit_plain(known)
    people = range(20)
    found = model.predict([history(known, u) for u in people], [np.arange(100)] * 20)
    assert np.sqrt(np.mean((np.array(found) - whole[:20]) ** 2)) < 1e-2


def test_a_user_without_ratings_gets_the_shrunk_mean_of_the_item():
    model, table = _noisy()
    items = table.shape[1]
    (found,) = model.explain([NOBODY], [np.arange(items)])
    expected = sum(found.terms[name] for name in ("global", "domain", "content", "item"))
    np.testing.assert_allclose(found.predicted, np.clip(expected, *model.limits), atol=1e-6)
    for name in ("user", "factors", "neighbours", "adjustment"):
        np.testing.assert_array_equal(found.terms[name], 0)
    mean, counts = np.nanmean(table, axis=0), (~np.isnan(table)).sum(axis=0)
    shrunk = (found.predicted - model.components.scale.biases.mean) / (
        mean - model.components.scale.biases.mean
    )
    assert ((shrunk > 0) & (shrunk < 1.1)).all()
    few, many = shrunk[counts <= 3].mean(), shrunk[counts >= 20].mean()
    assert few < many


def _noisy():
    generator = np.random.default_rng(1)
    effects = np.where(np.arange(40) % 2, 1.0, -1.0)
    table = 3 + effects + generator.normal(size=(80, 40))
    kept = generator.random(table.shape) < np.where(np.arange(40) < 20, 0.03, 0.5)
    kept[:2] = True
    table = np.where(kept, table, np.nan)
    return fit_plain(table), table


def test_a_new_item_is_rated_like_one_with_its_content(two_camps):
    model, table, vectors, _ = two_camps
    more = model.extended(vectors[:2], np.zeros(2, np.int64))
    likes_even, likes_odd = history(table, 0), history(table, 1)
    new = more.predict([likes_even, likes_odd], [[60, 61]] * 2)
    np.testing.assert_allclose(new, [[4, 2], [2, 4]], atol=0.35)
    old = model.predict([likes_even], [np.arange(60)])[0]
    np.testing.assert_array_equal(more.predict([likes_even], [np.arange(60)])[0], old)


def test_one_rating_of_a_new_user_moves_the_next_prediction(two_camps):
    model, *_ = two_camps
    before, after = model.predict([NOBODY, History([0], [4.2])], [[2, 3]] * 2)
    assert after[0] > before[0] + 0.3
    assert after[1] < after[0] - 0.5


def test_an_item_of_a_domain_without_ratings_gets_the_mean_of_all():
    _, known = additive(items=40)
    domains = np.repeat([0, 1], 20)
    known[:, 20:] = np.nan
    model = fit_plain(known, domains)
    found = model.predict([NOBODY], [np.arange(20, 40)])[0]
    np.testing.assert_allclose(found, np.nanmean(known), atol=1e-6)


def test_a_domain_above_the_others_stays_above_for_new_items():
    _, known = additive(items=60, users=100, noise=0.1)
    known[:, 30:] += 2
    model = fit_plain(known, np.repeat([0, 1], 30))
    more = model.extended(empty(3), np.array([0, 1, 7]))
    low, high, unknown = more.predict([NOBODY], [[60, 61, 62]])[0]
    assert high - low == pytest.approx(2, abs=0.4)
    assert unknown == pytest.approx(np.nanmean(known), abs=1e-5)


@pytest.mark.parametrize("scale", [(0.5, 5.0), (1, 10), (0, 1), (-100, 100)])
def test_predictions_lie_within_the_rating_scale(scale):
    table, vectors, kind = tastes(users=60, items=30)
    low, high = scale
    moved = low + (np.clip(table, 1.5, 4.5) - 1.5) / 3 * (high - low)
    model = RatingModel.fit(
        ratings_of(moved), vectors, one_domain(30), settings=RatingSettings(2, 8)
    )
    found = np.array(model.predict([history(moved, u) for u in range(4)], [np.arange(30)] * 4))
    assert low <= found.min()
    assert found.max() <= high
    liked = kind == np.arange(4)[:, None] % 2
    assert found[liked].min() > (low + high) / 2 > found[~liked].max()


@settings(max_examples=20)
@given(st.integers(0, 119), st.randoms(use_true_random=False))
def test_the_order_of_a_history_and_of_the_items_does_not_matter(two_camps, user, random):
    model, table, *_ = two_camps
    known = history(table, user)
    order = list(range(len(known.columns)))
    random.shuffle(order)
    wanted_items = list(range(60))
    random.shuffle(wanted_items)
    straight = model.predict([known], [np.arange(60)])[0]
    mixed = model.predict([History(known.columns[order], known.values[order])], [wanted_items])[0]
    np.testing.assert_allclose(mixed, straight[wanted_items], atol=1e-6)


def test_users_of_a_batch_do_not_affect_each_other(two_camps):
    model, table, *_ = two_camps
    people = [history(table, u) for u in range(5)]
    together = model.predict([*people, NOBODY], [np.arange(60)] * 6)
    for known, found in zip([*people, NOBODY], together, strict=True):
        np.testing.assert_allclose(model.predict([known], [np.arange(60)])[0], found, atol=1e-6)


def test_the_terms_add_up(two_camps):
    model, table, *_ = two_camps
    (found,) = model.explain([history(table, 3)], [np.arange(60)])
    assert list(found.terms) == list(TERMS)
    whole = np.clip(sum(found.terms.values()), *model.limits)
    np.testing.assert_allclose(whole, found.predicted, atol=1e-5)
    np.testing.assert_array_equal(
        model.predict([history(table, 3)], [np.arange(60)])[0], found.predicted
    )


def test_one_seed_gives_one_model():
    table, vectors, _ = tastes(users=60, items=30)
    models = [
        RatingModel.fit(ratings_of(table), vectors, one_domain(30), seed=seed) for seed in (3, 3)
    ]
    first, second = (m.predict([history(table, 0)], [np.arange(30)])[0] for m in models)
    np.testing.assert_array_equal(first, second)


def test_empty_batches_and_lists_are_fine(two_camps):
    model, *_ = two_camps
    assert model.predict([], []) == []
    assert [len(known) for known in model.predict([NOBODY, NOBODY], [[], [1]])] == [0, 1]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_handful_of_ratings_is_enough_to_fit(count):
    ratings = Ratings(np.arange(count), np.arange(count) % 3, np.arange(count) + 1.0, (count, 3))
    model = RatingModel.fit(ratings, np.eye(3, dtype=np.float32), one_domain(3))
    found = model.predict([NOBODY, History([0], [1.0])], [[0, 1, 2]] * 2)
    assert (np.array(found) >= 1).all()
    assert (np.array(found) <= count).all()


def test_ratings_that_are_all_alike_are_predicted():
    table = np.full((20, 10), 4.0)
    found = fit_plain(table).predict([history(table, 0)], [np.arange(10)])[0]
    np.testing.assert_array_equal(found, 4)


@pytest.mark.parametrize(
    ("known", "wanted_items", "message"),
    [
        (History([0], [1.0, 2.0]), [0], "history 0 has 1 items and 2 values"),
        (History([0], [np.nan]), [0], "history 0 has no finite value for item 0"),
        (History([1, 1], [1.0, 2.0]), [0], "history 0 rates item 1 twice"),
        (History([99], [1.0]), [0], "history 0 has item 99, but the model knows items 0 to 59"),
        (NOBODY, [-1], "list 0 has item -1"),
        (NOBODY, [0.5], "list 0 has items of type float64"),
    ],
)
def test_malformed_requests_are_refused(two_camps, known, wanted_items, message):
    with pytest.raises(InvalidInput, match=message):
        two_camps[0].predict([known], [wanted_items])


def test_histories_and_lists_go_together(two_camps):
    with pytest.raises(InvalidInput, match="1 histories and 0 lists"):
        two_camps[0].predict([NOBODY], [])


def test_malformed_training_is_refused():
    _, known = additive()
    ratings = ratings_of(known)
    with pytest.raises(InvalidInput, match="3 vectors for 40 items"):
        RatingModel.fit(ratings, empty(3), one_domain(3))
    with pytest.raises(InvalidInput, match="item 0 has a domain below 0"):
        RatingModel.fit(ratings, empty(40), np.full(40, -1))
    with pytest.raises(InvalidInput, match="domains of shape"):
        RatingModel.fit(ratings, empty(40), np.zeros(40))
    with pytest.raises(InvalidInput, match="there are no ratings"):
        RatingModel.fit(ratings.filter(np.zeros(len(ratings), bool)), empty(40), one_domain(40))
    bad = np.zeros((40, 2), np.float32)
    bad[7] = np.inf
    with pytest.raises(InvalidInput, match="the vector of item 7 is not finite"):
        RatingModel.fit(ratings, bad, one_domain(40))
    model = RatingModel.fit(ratings, np.ones((40, 2)), one_domain(40), settings=PLAIN)
    with pytest.raises(InvalidInput, match="5 numbers, those of the training had 2"):
        model.extended(np.ones((1, 5), np.float32), np.zeros(1, np.int64))

"""Held-out ratings are not seen by the models that predict them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.ratings.components import Items, RatingSettings
from isthmus.retrieval.ratings.cross_fitting import FOLDS, cross_fitted, make_folds
from isthmus.retrieval.ratings.ratings import Ratings
from tests.retrieval.ratings.worlds import one_domain, ratings_of, tastes


@pytest.fixture(scope="module")
def world():
    table, vectors, _ = tastes(users=60, items=40)
    return ratings_of(table), Items(vectors, one_domain(40))


def keys(ratings):
    return set(zip(ratings.rows.tolist(), ratings.columns.tolist(), strict=True))


def test_held_out_ratings_are_not_visible_and_every_rating_is_held_out(world):
    ratings, _ = world
    predicted = set()
    for fold in make_folds(ratings, seed=0):
        for question in fold.held_out:
            to_predict = set(zip(*map(np.ndarray.tolist, question.pairs), strict=True))
            assert not to_predict & keys(fold.training)
            assert not to_predict & keys(question.histories)
        assert keys(fold.known_users.histories) <= keys(fold.training)
        assert keys(fold.thinned_users.histories) <= keys(fold.training)
        assert not set(fold.new_users.pairs.rows.tolist()) & set(fold.training.rows.tolist())
        predicted |= set(zip(*map(np.ndarray.tolist, fold.known_users.pairs), strict=True))
        predicted |= set(zip(*map(np.ndarray.tolist, fold.new_users.pairs), strict=True))
    assert len(predicted) > 0.95 * len(ratings)


def test_a_rating_does_not_change_the_components_of_its_own_fold(world):
    ratings, items = world
    settings = RatingSettings(2, 8)
    before = list(cross_fitted(ratings, items, settings, 0))
    changed = ratings.values.copy()
    entry = 17
    changed[entry] += 10
    after = list(cross_fitted(replace(ratings, values=changed), items, settings, 0))
    assert len(before) == FOLDS
    same = 0
    for (fold, old), (_, new) in zip(before, after, strict=True):
        pair = (ratings.rows[entry], ratings.columns[entry])
        if pair in set(zip(*map(np.ndarray.tolist, fold.known_users.pairs), strict=True)):
            same += 1
            np.testing.assert_array_equal(old[0].components.values, new[0].components.values)
            np.testing.assert_array_equal(old[0].components.evidence, new[0].components.evidence)
            np.testing.assert_array_equal(old[0].components.bias, new[0].components.bias)
    assert same == 1


def test_folds_of_few_ratings_may_be_empty_but_do_not_fail():
    ratings = Ratings(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1), (1, 1))
    for fold in make_folds(ratings, seed=0):
        assert len(fold.training) == 1

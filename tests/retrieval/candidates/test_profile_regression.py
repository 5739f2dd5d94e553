"""Regression of factors on the content of histories: without shared users, and targets without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.profile_regression import MIN_USERS, ProfileRegression
from tests.retrieval.candidates.generator_contract import best, pairs
from tests.retrieval.candidates.toy_data import (
    BOOKS,
    FILMS,
    SONGS,
    TASTES,
    histories_of,
    make_training_data,
)

ITEMS = 40  # of each domain: numbers 0 to 39 are books, 40 to 79 films


def make_world(users=200, *, shared=False):
    """Users of books alone and of films alone, unless they are shared; each likes one taste."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(users):
        items = np.arange(ITEMS)[user // 2 % TASTES :: TASTES]
        sides = (0, 1) if shared else (user % 2,)
        rows.append(np.sort([ITEMS * side + n for side in sides for n in rng.choice(items, 5)]))
    rows = [np.unique(row) for row in rows]
    columns = np.concatenate(rows)
    return replace(
        make_training_data(users=0, items=ITEMS),
        interactions=InteractionMatrix(
            users=np.array([f"u{n:04}" for n in range(users)], object),
            items=2 * ITEMS,
            starts=np.cumsum([0, *map(len, rows)]),
            columns=columns,
            strengths=np.ones(len(columns), np.float32),
            moments=np.full(len(columns), np.nan),
            likes=np.ones(len(columns), bool),
        ),
    )


def regression(**settings):
    return ProfileRegression(**{"factors": 8, "regularization": 1.0, "l2": 0.1} | settings)


@pytest.mark.parametrize("shared", [False, True])
def test_taste_carries_over_by_content(shared):
    data = make_world(shared=shared)
    generator = regression().fit(data)
    found = []
    for taste in range(TASTES):
        for history in ([taste, taste + 8], [taste]):
            ((items, _),) = best(generator, data, histories_of(history), FILMS, 8)
            found.append(((items - ITEMS) % TASTES == taste).mean())
    assert np.mean(found) >= 6 / 8  # by chance 2 of 8


def test_a_history_of_both_domains_has_the_weighted_mean():
    data = make_world()
    generator = regression().fit(data)
    books, films, both = pairs(
        generator, data, histories_of([0, 4], [ITEMS + 1], [0, 4, ITEMS + 1]), FILMS
    )
    np.testing.assert_allclose(both, (2 * books + films) / 3, atol=1e-5)


def test_nobody_known_has_no_scores():
    data = make_world()
    nobody, someone = pairs(regression().fit(data), data, histories_of([], [0]), FILMS)
    assert not nobody.any()
    assert someone[ITEMS:].any()


def test_targets_with_too_few_users_have_no_scores():
    data = make_world(users=2 * MIN_USERS - 2)
    generator = regression().fit(data)
    assert not pairs(generator, data, histories_of([0], [ITEMS]), FILMS).any()
    enough = regression().fit(make_world(users=2 * MIN_USERS))
    assert pairs(enough, data, histories_of([0], [ITEMS]), FILMS).any()
    assert not pairs(enough, data, histories_of([0]), SONGS).any()


def test_a_penalty_draws_predictions_to_the_mean_user():
    data = make_world()
    spread = [
        pairs(regression(l2=l2).fit(data), data, histories_of([0], [1], [2], [3]), FILMS)
        for l2 in (0.1, 1e6)
    ]
    assert spread[0].std(axis=0).max() > 0.1
    assert spread[1].std(axis=0).max() < 1e-4
    grid = list(regression().fit_grid(data))
    assert [configuration.l2 for configuration in grid] == [0.1, 1.0, 10.0]
    alone = regression(l2=10.0).fit(data)
    np.testing.assert_allclose(
        pairs(grid[2], data, histories_of([0]), FILMS),
        pairs(alone, data, histories_of([0]), FILMS),
        atol=1e-6,
    )


def test_contents_are_centred_in_each_domain_and_shared_by_folds():
    data = make_world()
    contents = data.contents
    assert contents.shape[0] == 2 * ITEMS
    for domain in (BOOKS, FILMS):
        words = contents[data.in_domain(domain), : -data.features.dim]
        np.testing.assert_allclose(words.mean(axis=0), 0, atol=1e-5)
    fold = data.without_entries(np.arange(len(data.interactions)) % 2 == 0)
    assert fold.contents is contents

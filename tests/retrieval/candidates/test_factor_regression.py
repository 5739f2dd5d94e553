"""Cross-domain factor regression: the map, its corrections, and targets without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.factor_regression import FactorRegression
from isthmus.retrieval.candidates.implicit_factors import FoldIn
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.generator_contract import best, pairs
from tests.retrieval.candidates.toy_data import (
    BOOKS,
    FILMS,
    TASTES,
    histories_of,
    make_training_data,
)

ITEMS = 40  # of each domain: numbers 0 to 39 are books, 40 to 79 films


def make_world(*, shared, apart, domains=2):
    """Users whose taste in books implies another one in films; most are known in one domain only.

    Who likes books of taste t likes films of taste t + 1. With a third domain, songs, the users
    of books are users of songs of their taste too.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(shared + 2 * apart):
        taste = user % TASTES
        books = rng.choice(np.arange(ITEMS)[taste::TASTES], 5, replace=False)
        films = ITEMS + rng.choice(np.arange(ITEMS)[(taste + 1) % TASTES :: TASTES], 5, False)
        songs = 2 * ITEMS + rng.choice(np.arange(ITEMS)[taste::TASTES], 5, False)
        kinds = [books, films] if user < shared else [books] if user % 2 else [films]
        if domains == 3 and len(kinds) + user % 2 > 1:
            kinds.append(songs)
        rows.append(np.sort(np.concatenate(kinds)))
    columns = np.concatenate(rows)
    data = make_training_data(users=0, items=ITEMS)
    n_items = domains * ITEMS
    return replace(
        data,
        item_ids=np.array([f"i{n}" for n in range(n_items)], object),
        domains=np.repeat(np.arange(domains), ITEMS),
        interactions=InteractionMatrix(
            users=np.array([f"u{n:04}" for n in range(len(rows))], object),
            items=n_items,
            starts=np.cumsum([0, *map(len, rows)]),
            columns=columns,
            strengths=np.ones(len(columns), np.float32),
            moments=np.full(len(columns), np.nan),
            likes=np.ones(len(columns), bool),
        ),
    )


def regression(**settings):
    return FactorRegression(**{"factors": 8, "regularization": 1.0, "l2": 0.01} | settings)


@pytest.mark.parametrize("domains", [2, 3])
def test_a_planted_map_is_recovered_from_few_shared_users(domains):
    data = make_world(shared=60, apart=200, domains=domains)
    generator = regression().fit(data)
    assert generator.shared_users[FILMS] == 60
    for taste in range(TASTES):
        ((items, _),) = best(generator, data, histories_of([taste, taste + 8]), FILMS, 8)
        assert ((items - ITEMS) % TASTES == (taste + 1) % TASTES).all()


def test_what_is_known_in_the_target_corrects_the_map():
    data = make_world(shared=60, apart=200)
    generator = regression(alpha=100.0).fit(data)
    known = [ITEMS + 3, ITEMS + 7, ITEMS + 11, ITEMS + 15]  # of taste 3, where the map says 1
    table = pairs(generator, data, histories_of([0, 4], [0, 4, *known]), FILMS)[:, ITEMS + 16 :]
    before, after = table.reshape(2, -1, TASTES).mean(axis=1)  # the mean score of each taste
    assert np.argmax(before) == 1
    assert before[3] < 0.3 * before[1]
    assert after[3] > 0.7 * before[1]
    assert max(after[0], after[2]) < 0.3 * before[1]


def test_users_known_in_the_target_alone_are_served():
    data = make_world(shared=60, apart=200)
    generator = regression().fit(data)
    ((items, _),) = best(generator, data, histories_of([ITEMS + 2, ITEMS + 6]), FILMS, 8)
    assert ((items - ITEMS) % TASTES == 2).all()


def test_with_too_few_shared_users_there_is_no_map_and_no_score():
    data = make_world(shared=40, apart=50)
    generator = regression().fit(data)
    assert generator.shared_users == {}
    users = histories_of([0, 4], [ITEMS, ITEMS + 4], [])
    for target in (BOOKS, FILMS):
        assert not pairs(generator, data, users, target).any()
        assert [len(items) for items, _ in best(generator, data, users, target)] == [0, 0, 0]
    assert generator.missing(FILMS) == (
        "40 users liked something of the domain and of another one, and a map between domains is "
        "learned from 50 on"
    )
    restored = regression().restore(generator.state())
    assert restored.missing(FILMS) == generator.missing(FILMS)
    mapped = regression(min_shared=40).fit(data)
    assert mapped.shared_users == {BOOKS: 40, FILMS: 40}
    assert mapped.missing(FILMS) is None
    of_one_domain = replace(
        data, interactions=data.interactions.restricted_to(data.in_domain(FILMS))
    )
    assert regression().fit(of_one_domain).missing(FILMS) is None


def test_only_targets_are_mapped():
    data = replace(make_world(shared=60, apart=20), targets=("films",))
    generator = regression().fit(data)
    assert generator.shared_users == {FILMS: 60}
    assert not pairs(generator, data, histories_of([ITEMS]), BOOKS).any()


def test_scores_of_several_seeds_are_the_mean_of_each_alone():
    data = make_world(shared=60, apart=20)
    users = histories_of([0, 4], [1, ITEMS + 2])
    alone = [pairs(regression(seeds=1, seed=n).fit(data), data, users, FILMS) for n in (5, 6)]
    together = pairs(regression(seeds=2, seed=5).fit(data), data, users, FILMS)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-5)


def test_als_of_several_seeds_has_the_mean_of_each_alone():
    data = make_world(shared=60, apart=20)
    users = histories_of([0, 4], [1, ITEMS + 2])
    alone = [pairs(ALS(8, 1.0, seed=n).fit(data), data, users, FILMS) for n in (5, 6)]
    together = pairs(ALS(8, 1.0, seed=5, seeds=2).fit(data), data, users, FILMS)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-5)


def test_predicted_factors_are_corrected_in_closed_form():
    """Both with fewer known items than factors and with more."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((12, 5)).astype(np.float32)
    prior = rng.standard_normal((3, 5)).astype(np.float32)
    columns = [np.array([1, 4, 7]), np.empty(0, np.int64), np.arange(9)]
    weights = [np.array([1.0, 0.3, 0.5], np.float32), np.empty(0, np.float32), np.ones(9)]
    found = FoldIn(items, 0.7).update(prior, UserHistories.from_lists(columns, weights), 3.0)
    gram = items.T.astype(np.float64) @ items + 0.7 * np.eye(5)
    for user, (part, weight) in enumerate(zip(columns, weights, strict=True)):
        v, c, m = items[part], 1 + 3.0 * weight, prior[user]
        left = gram + v.T @ (c[:, None] * v)
        expected = m + np.linalg.solve(left, v.T @ (c * (1 - v @ m)))
        np.testing.assert_allclose(found[user], expected, atol=1e-4)

"""The factored form of EASE against the exact solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.retrieval.candidates.ease import EASE
from tests.retrieval.candidates.generator_contract import best, pairs
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, histories_of, make_training_data

ITEMS = 24
USERS = histories_of([0, 4, 8], [25, 29, 33, 37], [3, 27, 40, 41], [7], [])


def unseen_of(table, data, target):
    """Return the scores of the items of a domain that are not in the histories."""
    table = np.where(data.in_domain(target), table, np.nan)
    table[USERS.owners, USERS.columns] = np.nan
    return table


@pytest.mark.parametrize("users", [30, 90])
@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_at_full_rank_it_is_the_exact_solution(users, l2):
    """Both where users are fewer than items, and where items are fewer than users."""
    data = make_training_data(users=users, items=ITEMS)
    factored, exact = EASE(l2=l2).fit(data), EASE(l2=l2, rank=None).fit(data)
    for target in (BOOKS, FILMS):
        np.testing.assert_allclose(
            unseen_of(pairs(factored, data, USERS, target), data, target),
            unseen_of(pairs(exact, data, USERS, target), data, target),
            atol=2e-4,
        )


def test_the_exact_solution_is_that_of_the_paper():
    data = make_training_data(users=90, items=ITEMS)
    x = data.liked.toarray()
    used = np.flatnonzero(x.any(axis=0))
    x = x[:, used].astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 20 * np.eye(len(used)))
    weights = np.zeros((len(data), len(data)))
    weights[np.ix_(used, used)] = np.eye(len(used)) - inverse / np.diag(inverse)
    expected = USERS.weights_matrix(len(data)) @ weights
    found = pairs(EASE(l2=20.0).fit(data), data, USERS, FILMS)
    np.testing.assert_allclose(
        unseen_of(found, data, FILMS), unseen_of(expected, data, FILMS), atol=2e-4
    )


def test_one_decomposition_serves_other_penalties_and_lower_ranks():
    data = make_training_data(users=90, items=ITEMS)
    whole = EASE(l2=5.0, rank=30)
    parts = whole.decompose(data)
    for l2, rank in ((5.0, 30), (50.0, 30), (5.0, 8)):
        other = replace(whole, l2=l2, rank=rank)
        assert other.weights(parts).shape == (len(data), rank)
        np.testing.assert_allclose(
            np.abs(other.weights(parts)[:, :4]),
            np.abs(other.weights(other.decompose(data))[:, :4]),
            atol=2e-2,
        )


def test_models_in_domain_do_not_look_at_other_domains():
    data = make_training_data(users=90, items=ITEMS)
    generator = EASE("EASE (in-domain)", l2=5.0, in_domain=True).fit(data)
    both, part = histories_of([0, 4, 25, 29]), histories_of([0, 4])
    np.testing.assert_allclose(
        pairs(generator, data, both, BOOKS), pairs(generator, data, part, BOOKS), atol=1e-6
    )
    assert not pairs(generator, data, part, FILMS).any()
    alone = replace(data, interactions=data.interactions.restricted_to(data.in_domain(BOOKS)))
    np.testing.assert_allclose(
        pairs(generator, data, part, BOOKS)[:, :ITEMS],
        pairs(EASE(l2=5.0).fit(alone), data, part, BOOKS)[:, :ITEMS],
        atol=1e-4,
    )


def test_items_that_nobody_liked_are_not_proposed():
    data = make_training_data(users=10, items=ITEMS)
    unused = np.flatnonzero(data.popularity == 0)
    assert len(unused)
    ((items, _),) = best(EASE(l2=5.0).fit(data), data, histories_of([0, 4, 25]), BOOKS)
    assert len(items)
    assert not np.isin(items, unused).any()

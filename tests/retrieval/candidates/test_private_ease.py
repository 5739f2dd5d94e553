"""EASE from sums with noise: the model of EASE where there is next to no noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import InvalidInput
from isthmus.privacy.accountant import Mechanism
from isthmus.privacy.contributions import unit_rows
from isthmus.privacy.statistics import GRAM, POPULARITY, release_statistics
from isthmus.retrieval.candidates.private_ease import PrivateEASE
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, make_training_data

L2, MODELLED = 2.0, 30


def private(noise: float, modelled: int = MODELLED) -> TrainingData:
    data = make_training_data()
    mechanisms = [Mechanism(name=name, noise_multiplier=noise) for name in (POPULARITY, GRAM)]
    users = data.interactions.users.tolist()
    sums = release_statistics(data.liked, users, mechanisms, modelled=modelled)
    return replace(data, private=sums)


def test_without_noise_it_is_ease_on_rows_of_one_length():
    data = private(1e-9)
    items, scales = data.private.items, data.private.scales
    rows = unit_rows((data.liked[:, items] * scales).tocsr()).toarray().astype(np.float64)
    inverse = np.linalg.inv(rows.T @ rows + L2 * np.eye(len(items)))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    expected *= scales[:, None] / scales
    model = PrivateEASE(l2=L2).fit(data)
    liked = [items[[0, 3]], items[[5]], np.empty(0, np.int64)]
    for target in (BOOKS, FILMS):
        scorer = model.scorer(data, UserHistories.from_lists(liked), target)
        inside = np.flatnonzero(data.domains[items] == target)
        for user, history in enumerate(([0, 3], [5])):
            owners = np.full(len(inside), user)
            scores = scorer.score_pairs(owners, items[inside])
            assert scores == pytest.approx(expected[history].sum(axis=0)[inside], abs=1e-4)
        assert not scorer.score_pairs(np.full(len(items), 2), items).any()


def test_items_that_are_not_modelled_have_no_score():
    data = private(1e-9)
    others = np.setdiff1d(np.arange(len(data)), data.private.items)
    model = PrivateEASE(l2=L2).fit(data)
    histories = UserHistories.from_lists([data.private.items[:2], others[:2]])
    scorer = model.scorer(data, histories, BOOKS)
    assert not scorer.score_pairs(np.zeros(len(others), np.int64), others).any()
    everything = np.arange(len(data))
    assert not scorer.score_pairs(np.ones(len(data), np.int64), everything).any()


def test_it_is_restored_from_its_state():
    data = private(0.5)
    model = PrivateEASE(l2=L2).fit(data)
    restored = PrivateEASE(**model.settings()).restore(model.state())
    histories = UserHistories.from_lists([data.private.items[:3]])
    pairs = np.zeros(len(data), np.int64), np.arange(len(data))
    first, second = (
        one.scorer(data, histories, FILMS).score_pairs(*pairs) for one in (model, restored)
    )
    assert (first == second).all()
    assert first.any()


def test_a_matrix_of_noise_alone_can_be_inverted():
    weights = PrivateEASE(l2=1e-3).fit(private(1e3)).state()["weights"]
    assert np.isfinite(weights).all()


def test_it_needs_sums():
    with pytest.raises(InvalidInput, match="learns from sums with noise, and there are none"):
        PrivateEASE().fit(make_training_data())

"""Factors of users against the equations that they solve."""

from __future__ import annotations

import numpy as np

from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import make_training_data


def test_users_solve_the_equations_of_implicit_feedback():
    """Hu, Koren and Volinsky's: (Y'Y + Y'(C - I)Y + ridge) x = Y'C p, of each user."""
    rng = np.random.default_rng(0)
    items = rng.standard_normal((12, 5)).astype(np.float32)
    generator = ALS(alpha=3.0, regularization=0.7).restore({"items": items})
    columns = [np.array([1, 4, 7]), np.empty(0, np.int64), np.arange(9)]
    weights = [np.array([1.0, 0.0, 0.5], np.float32), np.empty(0, np.float32), np.ones(9)]
    histories = UserHistories.from_lists(columns, weights)
    found = generator.scorer(make_training_data(users=0, items=12), histories, 0).users
    for user, (liked, weight) in enumerate(zip(columns, weights, strict=True)):
        extra = np.zeros(12)
        extra[liked] = 3.0 * weight
        left = items.T @ ((1 + extra)[:, None] * items) + 0.7 * np.eye(5)
        expected = np.linalg.solve(left, items.T @ ((1 + extra) * (extra > 0)))
        np.testing.assert_allclose(found[user], expected, atol=1e-4)

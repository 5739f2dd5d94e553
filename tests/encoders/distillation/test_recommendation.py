"""Recommendation by the vectors of teacher and student."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.encoders.training.distillation.report import (
    UserCase,
    measure_recommendation,
    read_user_items,
    split_users,
)
from isthmus.errors import InvalidInput, InvalidMapping


def test_ndcg_of_ranking_by_the_mean_vector_of_the_history():
    teacher = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    student = teacher[[0, 2, 3, 1]]  # each held out is like the wrong one
    users = [UserCase(np.array([0]), np.array([1])), UserCase(np.array([2]), np.array([3]))]
    found = measure_recommendation(teacher, student, users, np.array([1, 3]))
    assert (found.users, found.items, found.ndcg_teacher) == (2, 2, 1.0)
    second = 1 / np.log2(3)
    assert found.ndcg_student == pytest.approx((second + second) / 2)
    assert found.ndcg_kept == pytest.approx(second)
    assert found.low <= found.ndcg_student - found.ndcg_teacher <= found.high


def test_the_items_of_users_are_split_by_the_held_out_contents():
    places = {"a": 0, "b": 1, "again b": 1, "c": 2}
    liked = {"one": ["a", "b", "again b", "gone"], "two": ["a", "c"], "three": ["b"]}
    (case,) = split_users(liked, places, np.array([1]))
    assert (case.history.tolist(), case.relevant.tolist()) == ([0], [1])
    with pytest.raises(InvalidInput, match="no user liked both an item that is held out"):
        split_users({"two": ["a", "c"]}, places, np.array([1]))


def test_interactions_need_users_and_items():
    assert read_user_items(
        [{"user_id": "u", "item_id": "a"}, {"user_id": None, "item_id": "b"}]
    ) == {"u": ["a"]}
    with pytest.raises(InvalidMapping, match="no column 'item_id', only user_id"):
        read_user_items([{"user_id": "u"}])

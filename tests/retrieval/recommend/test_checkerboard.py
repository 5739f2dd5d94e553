"""A world of eight tastes: books for a user of films must be of the same taste."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import EvaluationPlan, User
from isthmus.errors import InvalidInput
from tests.retrieval.recommend.worlds import TASTES, name, taste_of


@pytest.mark.parametrize("taste", range(TASTES))
def test_a_cold_start_user_gets_the_taste_of_another_domain(board, taste):
    user = User(history=[name("films", taste, n) for n in range(3)])
    hits = board.recommend(user, domain="books", k=4)
    assert [taste_of(hit.item_id) for hit in hits] == [taste] * 4


def test_items_of_the_history_are_left_out(board):
    user = User(history=[name("books", 2, n) for n in range(5)])
    hits = board.recommend(user, domain="books", k=1)
    assert [hit.item_id for hit in hits] == [name("books", 2, 5)]


def test_an_unknown_user_gets_popular_items(board):
    table = board.interactions()
    ids, counts = np.unique(table.column("item_id").to_pylist(), return_counts=True)
    popular = {i: n for i, n in zip(ids, counts, strict=True) if i.startswith("books")}
    hits = board.recommend(User(), domain="books", k=10)
    found = [popular[hit.item_id] for hit in hits]
    assert found == sorted(popular.values(), reverse=True)[:10]


def test_stored_interactions_are_the_history_of_an_id(board):
    hits = board.recommend(User(id="u3"), domain="books", k=2)
    assert [taste_of(hit.item_id) for hit in hits] == [3, 3]


def test_scores_are_descending_shares(board):
    hits = board.recommend(User(history=[name("films", 1, 0)]), k=20)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1 + 1e-6


def test_evaluations_train_on_the_interactions_of_the_task(board):
    plan = EvaluationPlan(
        targets=["books"], protocols=["cold_item"], baselines=["popularity"], systems=["isthmus"]
    )
    test = board.evaluate(plan).tasks[1]
    found = {system.name: system.metrics["ndcg@10"].value for system in test.systems}
    assert found["isthmus"] > found["popularity"]
    with pytest.raises(InvalidInput, match="no system 'magic'; it has isthmus, "):
        board.evaluate(EvaluationPlan(systems=["magic"]))

"""The hyperparameter search of a ranker: stored, resumed, and used."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from isthmus import Space
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.retrieval.ranker.selection import SituationTraining
from tests.retrieval.recommend.worlds import BRIEF, checkerboard

THREE = replace(BRIEF, tuning_trials=3)


@pytest.fixture
def board(tmp_path) -> Space:
    return checkerboard(tmp_path / "shop.space", users=64)


def test_the_best_of_three_trials_is_trained(board):
    made = board.train("books", settings=THREE)
    report = made.reports["books"]
    assert len(report.tuning.trials) == 3
    first, best = report.tuning.trials[0].settings, report.tuning.best
    assert first == {name: getattr(BRIEF.training, name) for name in first}
    finished = [trial for trial in report.tuning.trials if not trial.pruned]
    winner = max(finished, key=lambda trial: trial.score)
    assert winner.settings == best
    found = [max(part.models.values()) for part in report.situations.values()]
    assert winner.score == pytest.approx(sum(found) / len(found))


def test_an_interrupted_search_resumes_and_ends_the_same(board, monkeypatch):
    report = board.train("books", settings=THREE).reports["books"]
    whole, situations = report.tuning, report.situations
    tried = []
    cross_validated = SituationTraining.cross_validated_models

    def interrupted(self):
        tried.append(1)
        if len(tried) == len(situations) + 1:
            raise KeyboardInterrupt
        return cross_validated(self)

    with monkeypatch.context() as patch:
        patch.setattr(SituationTraining, "cross_validated_models", interrupted)
        with pytest.raises(KeyboardInterrupt):
            board.train("books", settings=THREE)
    again = board.train("books", settings=THREE).reports["books"].tuning
    assert len(tried) == len(situations) + 1  # one trial finished, one cut off
    assert again == whole


def test_without_optuna_the_extra_is_named_before_training(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[tune\]'"):
        board.train("books", settings=THREE)


def test_a_fine_tuned_ranker_is_not_tuned(board):
    board.train("books", settings=replace(THREE, tuning_trials=0))
    board.publish()
    with pytest.raises(InvalidInput, match=r"keeps its sizes.*start_from.*tuning_trials"):
        board.train("books", settings=THREE, start_from=board.path)

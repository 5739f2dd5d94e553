"""The training of a ranker: it learns, stops at its best epoch, and resumes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.ranker.batches import ExampleBatches
from isthmus.retrieval.ranker.examples import make_examples
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.ranker.training import train_ranker
from tests.retrieval.candidates.toy_data import BOOKS, make_training_data

SETTINGS = TrainingSettings(epochs=4, patience=4, members=2, hidden=8, batch_size=16)


def sources():
    return [Popularity(), ItemKNN(shrink=1.0), Content()]


@pytest.fixture(scope="module")
def batches():
    corpus = make_training_data(users=80, items=24)
    how = ExampleSettings(folds=2, depth=12, seed=3)
    examples = make_examples(corpus, sources, ItemStatistics, BOOKS, how)
    return ExampleBatches.of(examples, corpus, ItemStatistics().fit(corpus))


def fresh(batches):
    names = [source.name for source in sources()]
    return Ranker.untrained(names, batches.contents.shape[1], members=2, hidden=8)


def train(batches, settings=SETTINGS, **options):
    ranker = fresh(batches)
    return ranker, train_ranker(ranker.network, batches, settings, **options)


def same(one, other):
    for key, value in one.state().items():
        np.testing.assert_array_equal(value, other.state()[key], err_msg=key)


@pytest.fixture(scope="module")
def trained(batches):
    return train(batches)


def test_it_learns(trained):
    _, curve = trained
    assert len(curve) == 5
    assert np.isnan(curve[0].loss)
    assert curve[-1].loss < curve[1].loss
    assert max(epoch.score for epoch in curve) > curve[0].score
    assert {"0", "1", "new"} <= set(curve[0].scores)


def test_a_constant_feature_keeps_its_unit(batches, trained):
    ranker, _ = trained
    seen = batches.examples.features.astype(np.float32)
    constant = seen.min(axis=0) == seen.max(axis=0)
    assert 0 < constant.sum() < len(constant)  # numbers for one: these items have none
    deviations = ranker.network.deviation.numpy()
    assert (deviations[constant] == 1).all()
    expected = np.maximum(seen[:, ~constant].std(axis=0), 1e-3)
    np.testing.assert_allclose(deviations[~constant], expected, rtol=1e-5)


def test_it_is_left_at_its_best(batches, trained):
    ranker, curve = trained
    tested = np.flatnonzero(batches.examples.validation)
    found = batches.ndcg(tested, batches.scores(ranker.network, tested, 16))
    case = batches.examples.scenarios[tested]
    means = [found[case == name].mean() for name in curve[0].scores]
    assert np.mean(means) == pytest.approx(max(epoch.score for epoch in curve), abs=1e-9)
    assert not ranker.network.training


@pytest.mark.parametrize("loss", ["listwise", "pairwise"])
def test_equal_seeds_learn_the_same(batches, loss):
    how = TrainingSettings(loss=loss, epochs=2, members=2, hidden=8, batch_size=16)
    (one, first), (other, second) = train(batches, how), train(batches, how)
    same(one, other)
    assert [epoch.score for epoch in first] == [epoch.score for epoch in second]


def test_it_stops_when_nothing_is_gained(batches):
    still = replace(SETTINGS, epochs=9, patience=2, patience_steps=0, learning_rate=0.0)
    ranker, curve = train(batches, still)
    assert len(curve) == 3
    for key, value in fresh(batches).state().items():
        if key not in ("mean", "deviation"):
            np.testing.assert_array_equal(value, ranker.state()[key])


def test_patience_counts_steps_where_epochs_are_short(batches):
    still = replace(SETTINGS, epochs=9, patience=2, learning_rate=0.0)
    learned = np.flatnonzero(~batches.examples.validation)
    assert len(learned) < 16 * 60
    assert len(train(batches, still)[1]) == 10  # 300 steps are more than nine passes


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_resumed_training_ends_the_same(batches, trained, tmp_path, monkeypatch, passes):
    @contextmanager
    def breaking(label, total, *, show):
        steps = []

        def advance(step):
            steps.append(step)
            if len(steps) > passes:  # the first one tells what was done before
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr("isthmus.numerics.training.progress_bar", breaking)
        with pytest.raises(KeyboardInterrupt):
            train(batches, folder=tmp_path)
    torch.manual_seed(99)  # another process
    ranker, curve = train(batches, folder=tmp_path)
    same(ranker, trained[0])
    assert [epoch.scores for epoch in curve] == [epoch.scores for epoch in trained[1]]
    assert [epoch.loss for epoch in curve[1:]] == [epoch.loss for epoch in trained[1][1:]]
    again, _ = train(batches, folder=tmp_path)  # nothing is left to do
    same(again, trained[0])


def test_validation_users_are_never_trained_on(batches, monkeypatch):
    trained_on = []
    make = ExampleBatches.make

    def watching(self, users):
        if torch.is_grad_enabled():
            trained_on.extend(users.tolist())
        return make(self, users)

    monkeypatch.setattr(ExampleBatches, "make", watching)
    train(batches, TrainingSettings(epochs=1, members=2, hidden=8, batch_size=16))
    assert trained_on
    assert not batches.examples.validation[trained_on].any()
    tested = set(batches.examples.users[batches.examples.validation].tolist())
    assert not tested & set(batches.examples.users[trained_on].tolist())


def test_a_batch_holds_each_example_as_it_is(batches):
    examples = batches.examples
    users = np.array([5, 0, 9])
    made = batches.make(users)
    for row, user in enumerate(users):
        span = slice(examples.starts[user], examples.starts[user + 1])
        n = span.stop - span.start
        assert made.batch.mask[row].tolist() == [True] * n + [False] * (made.labels.shape[1] - n)
        assert made.labels[row, :n].tolist() == examples.labels[span].tolist()
        assert not made.labels[row, n:].any()
        np.testing.assert_array_equal(made.batch.features[row, :n], examples.features[span])
        np.testing.assert_array_equal(
            made.batch.candidate_contents[row, :n], batches.contents[examples.items[span]]
        )
        np.testing.assert_allclose(
            made.log_probabilities[row, :n], examples.log_probabilities[span]
        )

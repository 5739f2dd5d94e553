"""What every ranker must do, whatever it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import candidate_pool
from isthmus.retrieval.candidates.situations import situation_weights
from isthmus.retrieval.ranker.examples import make_examples
from isthmus.retrieval.ranker.features import FeatureInputs, compute_features, feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.ranker.training import train_ranker
from tests.retrieval.candidates.toy_data import (
    FILMS,
    histories_of,
    make_training_data,
    quick_generators,
)

USERS = histories_of([0, 4, 8], [], [25, 29, 33, 37, 1], [2], list(range(20)))


def made_generators():
    return [one for one in quick_generators() if one.name not in ("trend", "two-tower")]


@pytest.fixture(scope="module")
def training_data():
    return make_training_data(users=80, items=24)


@pytest.fixture(scope="module")
def statistics(training_data):
    return ItemStatistics().fit(training_data)


@pytest.fixture(scope="module")
def sources(training_data):
    return CandidateGenerators(made_generators()).fit(training_data)


def examples_of(training_data):
    def fitted(data):
        return CandidateGenerators(made_generators()).fit(data), ItemStatistics().fit(data)

    return make_examples(training_data, fitted, FILMS, ExampleSettings(folds=1, depth=10))


@pytest.fixture(scope="module")
def ranker(training_data, sources):
    settings = TrainingSettings(models=("linear", "network"), epochs=3, hidden=8)
    return train_ranker(examples_of(training_data), sources.names, settings).ranker


def pool_of(training_data, sources, histories, n=10):
    scorers = sources.scorers(training_data, histories, FILMS)
    return candidate_pool(
        scorers, n, training_data.in_domain(FILMS), histories.seen(len(training_data))
    )


def lists(pool, scores):
    return np.split(scores, pool.starts[1:-1])


def test_a_user_alone_is_scored_as_in_a_batch(ranker, training_data, statistics, sources):
    pool = pool_of(training_data, sources, USERS)
    together = lists(pool, ranker.score(training_data, USERS, pool, statistics, FILMS))
    for user, expected in enumerate(together):
        single = USERS.take_users(np.array([user]))
        part = slice(pool.starts[user], pool.starts[user + 1])
        alone = replace(
            pool,
            starts=np.array([0, part.stop - part.start]),
            items=pool.items[part],
            scores=pool.scores[:, part],
            ranks=pool.ranks[:, part],
        )
        found = ranker.score(training_data, single, alone, statistics, FILMS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_user_between_two_situations_has_the_mean_of_both(training_data):
    films = np.flatnonzero(training_data.in_domain(FILMS)).tolist()
    counts = [0, 1, 3, 4, 6, 10, 15]
    histories = histories_of([], *([0, *films[:n]] for n in counts))
    weights = situation_weights(histories, training_data, FILMS)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights[0].tolist() == [1, 0, 0, 0]
    assert weights[1].tolist() == [0, 1, 0, 0]
    assert weights[2].tolist() == weights[3].tolist() == [0, 0, 1, 0]
    assert weights[6].tolist() == weights[7].tolist() == [0, 0, 0, 1]
    assert 0 < weights[4, 3] < weights[5, 3] < 1
    assert weights[4, 3] == pytest.approx(np.log(4 / 3) / np.log(10 / 3))


def test_each_situation_is_ranked_by_its_own_model(ranker, training_data, statistics, sources):
    histories = histories_of([], [0, 4], [0, 25])
    pool = pool_of(training_data, sources, histories)
    inputs = FeatureInputs(training_data, histories, pool, statistics, FILMS)
    features = compute_features(inputs, ranker.columns).values
    found = lists(pool, ranker.score(training_data, histories, pool, statistics, FILMS))
    for user, situation in enumerate(("unknown", "cross-domain", "few")):
        rows = slice(pool.starts[user], pool.starts[user + 1])
        starts = np.array([0, rows.stop - rows.start])
        expected = ranker.model_of(situation).log_odds(features[rows], starts)
        np.testing.assert_allclose(found[user], expected, rtol=1e-4, atol=1e-4)


def test_new_items_alone_are_ranked_by_their_model(ranker, sources, statistics):
    data = make_training_data(users=80, items=24, new=8)
    histories = histories_of([0, 4], [])
    allowed = data.in_domain(FILMS) & (np.arange(len(data)) >= 48)
    scorers = sources.scorers(data, histories, FILMS)
    pool = candidate_pool(scorers, 10, allowed, histories.seen(len(data)))
    assert len(pool.items)
    inputs = FeatureInputs(data, histories, pool, statistics, FILMS)
    features = compute_features(inputs, ranker.columns).values
    found = ranker.score(data, histories, pool, statistics, FILMS)
    rows = slice(0, pool.starts[1])
    expected = ranker.model_of("new items").log_odds(features[rows], pool.starts[:2])
    np.testing.assert_allclose(found[rows], expected, rtol=1e-4, atol=1e-4)


def test_where_nobody_was_simulated_the_nearest_situation_ranks(ranker):
    some = replace(ranker, models={"few": ranker.models["few"]})
    for situation in ("unknown", "cross-domain", "more", "new items"):
        assert some.model_of(situation) is ranker.models["few"]


def test_a_restored_ranker_has_the_same_scores(ranker, training_data, statistics, sources):
    kept = {key: np.array(value) for key, value in ranker.state().items()}
    restored = Ranker.restored(ranker.description(), kept)
    assert restored.description() == ranker.description()
    pool = pool_of(training_data, sources, USERS)
    one, other = (
        h.score(training_data, USERS, pool, statistics, FILMS) for h in (ranker, restored)
    )
    assert one.tolist() == other.tolist()


def test_a_pool_of_other_generators_is_refused(ranker, training_data, statistics):
    others = CandidateGenerators(quick_generators()[:2]).fit(training_data)
    pool = pool_of(training_data, others, USERS)
    with pytest.raises(InvalidInput) as refused:
        ranker.score(training_data, USERS, pool, statistics, FILMS)
    message = str(refused.value)
    assert message.startswith(
        "the ranker was trained with other candidate generators: there is no 'item-KNN"
    )
    assert message.endswith(", and it does not know 'trend'")


def test_an_empty_pool_has_no_scores(ranker, training_data, statistics, sources):
    histories = histories_of([0], [])
    scorers = sources.scorers(training_data, histories, FILMS)
    none = np.zeros(len(training_data), bool)
    pool = candidate_pool(scorers, 5, none, histories.seen(len(training_data)))
    assert ranker.score(training_data, histories, pool, statistics, FILMS).tolist() == []


def test_the_order_of_generators_does_not_matter(ranker, training_data, statistics, sources):
    pool = pool_of(training_data, sources, USERS)
    expected = ranker.score(training_data, USERS, pool, statistics, FILMS)
    turned = replace(
        pool, generators=pool.generators[::-1], scores=pool.scores[::-1], ranks=pool.ranks[::-1]
    )
    found = ranker.score(training_data, USERS, turned, statistics, FILMS)
    np.testing.assert_array_equal(found, expected)


def test_features_are_selected_by_name(training_data, statistics, sources):
    """Whatever else the registry computes, in whatever order."""
    pool = pool_of(training_data, sources, USERS)
    columns = feature_columns(sources.names)
    kept = [name for name in columns if not name.startswith(("user:", "numeric:"))][::-1]
    inputs = FeatureInputs(training_data, USERS, pool, statistics, FILMS)
    whole, some = compute_features(inputs, columns), compute_features(inputs, kept)
    for at, name in enumerate(kept):
        np.testing.assert_array_equal(some.values[:, at], whole.values[:, columns.index(name)])


def test_an_unknown_feature_is_named(ranker):
    description = ranker.description()
    description["features"][3] = "item: colour"
    with pytest.raises(InvalidInput, match="no feature 'item: colour' in this version"):
        Ranker.restored(description, ranker.state())

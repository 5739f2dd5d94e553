"""What every ranker model must do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from isthmus.errors import InvalidInput
from isthmus.numerics.listwise import cross_entropy, label_shares, log_softmax
from isthmus.retrieval.ranker.calibration import Calibration, calibration_error, expit, reliability
from isthmus.retrieval.ranker.cross_validation import CrossValidation
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.average import Average, SingleGenerator
from isthmus.retrieval.ranker.models.blend import Blend, stack_weights
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.merging import merged
from isthmus.retrieval.ranker.models.model import Scaling
from isthmus.retrieval.ranker.models.network import Network
from isthmus.retrieval.ranker.models.network_training import (
    TEMPERATURE,
    RankerNetwork,
    divergence,
)
from isthmus.retrieval.ranker.models.registry import MODELS, restored_model
from isthmus.retrieval.ranker.selection import SituationTraining
from isthmus.retrieval.ranker.settings import TrainingSettings

GENERATORS = ("popularity", "item-KNN", "noise")
COLUMNS = (
    "popularity: discounted rank",
    "item-KNN: discounted rank",
    "noise: discounted rank",
    "item: popularity",
    "user: liked items",
    "popularity: relative score",
    "item-KNN: relative score",
    "noise: relative score",
)
SETTINGS = TrainingSettings(epochs=20, hidden=8)


def make(users=60, n=20, seed=0):
    """Make examples in which item-KNN ranks what is liked highly, and noise does not."""
    rng = np.random.default_rng(seed)
    liked = np.zeros((users, n), bool)
    liked[np.arange(users), rng.integers(n, size=users)] = True
    ranks = np.argsort(np.argsort(rng.random((3, users, n)), axis=2), axis=2) + 1
    ranks[1] = np.where(liked, 1, ranks[1] + 1)
    discounted = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    item = np.broadcast_to(np.linspace(1, 0, n), (users, n))
    user = np.broadcast_to(rng.random((users, 1)), (users, n))
    features = np.stack([*discounted, item, user, *discounted], axis=2).reshape(users * n, 8)
    return Examples(
        users=np.arange(users),
        starts=np.arange(users + 1) * n,
        items=np.tile(np.arange(n), users),
        columns=COLUMNS,
        features=features.astype(np.float16),
        labels=liked.ravel(),
        n_relevant=np.ones(users, np.int64),
    )


@pytest.fixture(scope="module")
def examples():
    return make()


def models():
    made = {name: make_model(COLUMNS, SETTINGS) for name, make_model in MODELS.items()}
    return {
        **made,
        "single": SingleGenerator(COLUMNS, "item-KNN"),
        "blend": Blend([Linear(COLUMNS), Blend([Average(COLUMNS), Linear(COLUMNS)])]),
    }


@pytest.mark.parametrize("name", models())
def test_a_restored_model_scores_the_same(examples, name):
    model = models()[name].fit(examples)
    state = {key: np.array(value) for key, value in model.state().items()}
    again = restored_model(model.description(), COLUMNS, state)
    expected = model.score(examples.features, examples.starts)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(again.score(examples.features, examples.starts), expected)
    assert again.description() == model.description()


@pytest.mark.parametrize("name", models())
def test_what_a_generator_finds_is_learned(examples, name):
    start = Linear(COLUMNS).fit(make(seed=3))
    found = models()[name].fit(examples, start).score(examples.features, examples.starts)
    ndcg, _ = examples.metrics(found)
    at_random = examples.metrics(np.random.default_rng(1).random(len(found)).astype(np.float32))[0]
    assert ndcg.mean() > (0.9 if name in ("linear", "network", "single") else 0.5)
    assert ndcg.mean() > at_random.mean() + 0.2


@pytest.mark.parametrize("name", models())
def test_equal_seeds_learn_the_same_and_users_are_scored_alone(examples, name):
    one, two = (models()[name].fit(examples) for _ in range(2))
    together = one.score(examples.features, examples.starts)
    np.testing.assert_array_equal(together, two.score(examples.features, examples.starts))
    part = examples.take(np.array([7]))
    alone = one.score(part.features, part.starts)
    np.testing.assert_allclose(alone, together[examples.candidates_of(7)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", models())
def test_nothing_to_learn_from_is_no_error(examples, name):
    nothing = examples.take(np.arange(0))
    model = models()[name].fit(nothing)
    assert np.isfinite(model.score(examples.features, examples.starts)).all()
    assert model.score(nothing.features, nothing.starts).tolist() == []


def test_an_unknown_model_is_named():
    with pytest.raises(InvalidInput, match="no ranker model 'oracle' in this version"):
        restored_model({"name": "oracle"}, COLUMNS, {})


def test_the_average_is_of_scores_and_ranks_and_ties_go_by_popularity():
    features = np.zeros((3, 8), np.float32)
    features[:, :3] = [[1.0, 0.5, 0.0], [0.63, 0.0, 0.0], [0.0, 0.0, 0.0]]
    features[0, 5] = 0.5
    found = Average(COLUMNS).score(features, np.array([0, 3]))
    np.testing.assert_allclose(found, [2 / 6, 0.63 / 6, 0], rtol=1e-5)
    features[2, 3] = 1.0
    assert Average(COLUMNS).score(features, np.array([0, 3]))[2] > 0


def test_the_listwise_loss_and_its_gradient():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(9).astype(np.float32)
    labels = np.array([True, False, False, True, True, False, False, False, True])
    starts = np.array([0, 3, 7, 9])
    loss, gradient = cross_entropy(scores, label_shares(labels, starts), starts)
    tensor = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    expected = sum(
        -torch.log_softmax(tensor[a:b], 0)[torch.tensor(labels[a:b])].mean()
        for a, b in pairwise(starts)
    )
    (expected / 3).backward()
    assert loss == pytest.approx(float(expected.detach()) / 3, rel=1e-5)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-6)


def test_going_on_from_a_model_stays_near_it(examples):
    before = Linear(COLUMNS).fit(make(seed=1))
    kept = Linear(COLUMNS, l2=1e3).fit(examples, before)
    np.testing.assert_allclose(kept.weights, before.weights, atol=1e-3)
    free = Linear(COLUMNS, l2=1e3).fit(examples)
    np.testing.assert_allclose(free.weights, 0, atol=1e-2)
    assert np.abs(before.weights).max() > 0.5
    network = Network(COLUMNS, SETTINGS).fit(examples)
    still = Network(COLUMNS, TrainingSettings(epochs=1, hidden=8, learning_rate=0.0))
    assert_same(still.fit(make(seed=1), network).weights, network.weights)


def assert_same(one, other):
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_merged_models_score_the_same(examples):
    start = Linear.prior(COLUMNS, Scaling.of(examples.features))
    linear = [Linear(COLUMNS).fit(make(seed=n), start) for n in range(2)]
    two = TrainingSettings(epochs=3, hidden=8, members=2)
    networks = [Network(COLUMNS, two).fit(make(seed=n), linear[n]) for n in range(2)]
    weights = np.array([0.3, 2.0, 0.0], np.float32)
    stack = Blend([Blend(linear), Blend(networks), Average(COLUMNS)], weights)
    expected = stack.score(examples.features, examples.starts)
    one = merged(stack)
    assert isinstance(one, Network)
    assert one.weights["last"].shape == (1, 32)
    found = one.score(examples.features, examples.starts)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    plain = merged(Blend(linear))
    assert isinstance(plain, Linear)
    apart = Linear(COLUMNS).fit(make(seed=9))  # it standardises otherwise
    other = Blend([linear[0], apart, Blend([Average(COLUMNS)] * 3)])
    parts = merged(other)
    assert [part.name for part in parts.models] == ["linear", "linear", "average"]
    np.testing.assert_allclose(
        parts.score(examples.features, examples.starts),
        other.score(examples.features, examples.starts),
        rtol=1e-5,
    )


def test_the_stack_weighs_what_is_right_more(examples):
    right = examples.labels + np.random.default_rng(0).standard_normal(len(examples.labels)) / 4
    wrong = np.random.default_rng(1).standard_normal(len(examples.labels))
    weights = stack_weights([right.astype(np.float32), wrong.astype(np.float32)], examples)
    assert weights[0] > 10 * abs(weights[1])


def test_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(20_000).astype(np.float32)
    labels = rng.random(20_000) < expit(2 * scores - 3)
    made = Calibration.fit(scores, labels)
    assert made.slope == pytest.approx(2, abs=0.1)
    assert made.intercept == pytest.approx(-3, abs=0.1)
    bins = reliability(expit(made.log_odds(scores)), labels)
    assert [part.candidates for part in bins] == [2_000] * 10
    assert calibration_error(bins) < 0.01
    backwards = Calibration.fit(-scores, labels)
    assert backwards.slope > 0  # the order stays, whatever the labels say
    assert Calibration.fit(scores, np.zeros(20_000, bool)) == Calibration()


def trained(situation, examples, settings):
    return SituationTraining(situation, CrossValidation(examples, settings), GENERATORS).run()


def test_users_are_scored_by_models_that_were_not_trained_on_them(examples):
    validation = CrossValidation({"few": examples}, SETTINGS)
    scored = SituationTraining("few", validation, GENERATORS).cross_validated_models()["linear"]
    for group, member in enumerate(scored.members):
        left = validation.without(group, examples)
        trained_on = set(left.users[left.informative].tolist())
        held_out = np.array(sorted(set(examples.users.tolist()) - trained_on))
        assert len(held_out) == 20
        part = examples.take(held_out)
        np.testing.assert_allclose(
            scored.scores[examples.rows_of(held_out)], member.score(part.features, part.starts)
        )


def test_the_simplest_model_that_is_as_good_is_taken(examples):
    scored, report = trained("few", {"few": examples}, SETTINGS)
    assert list(report.models) == ["linear", "network", "stack"]
    assert report.model == "linear"  # the others are no better
    assert report.ranker == pytest.approx(scored.ndcg.mean())
    assert not report.fallback


def test_a_ranker_behind_a_generator_gives_way_to_it(examples):
    only_fused = TrainingSettings(models=("average",))
    taken, report = trained("few", {"few": examples}, only_fused)
    assert report.high < 0
    assert report.fallback
    assert report.model == "item-KNN alone"
    assert report.ranker == report.generators["item-KNN"] == report.generators[report.best]
    ranks = examples.features[:, 1].astype(np.float32)
    first = taken.model.score(examples.features, examples.starts)
    for user in range(len(examples)):
        rows = examples.candidates_of(user)
        assert first[rows].argmax() == ranks[rows].argmax()


def test_users_with_a_history_share_a_network_and_are_held_out_in_every_situation(examples):
    by_situation = {"few": examples, "more": make(seed=1), "unknown": make(seed=2)}
    validation = CrossValidation(by_situation, SETTINGS)
    members = {
        name: SituationTraining(name, validation, GENERATORS[1:]).cross_validated_models()[
            "network"
        ]
        for name in by_situation
    }
    assert members["few"].members == members["more"].members
    assert members["few"].members != members["unknown"].members
    alone = SituationTraining("few", CrossValidation({"few": examples}, SETTINGS), GENERATORS)
    weights = alone.cross_validated_models()["network"].members[0].weights
    shared = members["few"].members[0].weights
    assert not np.array_equal(weights["first"], shared["first"])  # it saw the others, too
    flipped = examples.take(np.arange(len(examples)))
    flipped.labels[flipped.rows_of(np.flatnonzero(validation.group_of[flipped.users] == 0))] ^= True
    other = CrossValidation({**by_situation, "few": flipped}, SETTINGS).shared_network
    assert_same(other[0].weights, shared)  # the first saw no label of the first group


def test_few_users_of_a_situation_learn_from_the_others(examples):
    some = examples.take(np.arange(3))
    others = make(users=90, seed=2)
    validation = CrossValidation({"unknown": some, "few": others}, SETTINGS)
    learned = validation.learned_from("unknown")
    assert all(len(validation.without(group, learned).informative) == 62 for group in range(3))
    _, report = SituationTraining("unknown", validation, GENERATORS).run()
    assert report.users == 3


def test_the_divergence_is_that_of_the_softmaxes():
    rng = np.random.default_rng(0)
    starts = np.array([0, 4, 5, 12])
    taught, corrections = rng.standard_normal((2, 12, 1)).astype(np.float32)
    scores = rng.standard_normal((12, 3)).astype(np.float32)
    found, gradient = divergence(taught, scores, corrections, starts)
    members = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    expected = 0.0
    for a, b in pairwise(starts):
        goal = torch.log_softmax(torch.tensor(taught[a:b] / TEMPERATURE + corrections[a:b]), 0)
        logs = torch.log_softmax(members[a:b] / TEMPERATURE + torch.tensor(corrections[a:b]), 0)
        expected += TEMPERATURE**2 * (goal.exp() * (goal - logs)).sum() / 3
    expected.backward()
    assert found == pytest.approx(float(expected.detach()), rel=1e-4)
    np.testing.assert_allclose(gradient, members.grad.numpy(), atol=1e-6)
    same, flat = divergence(taught, taught + 3, corrections, starts)
    assert abs(same) < 1e-5
    np.testing.assert_allclose(flat, 0, atol=1e-6)


def test_the_gradients_of_the_network_are_those_of_pytorch():
    rng = np.random.default_rng(0)
    network = RankerNetwork(4, TrainingSettings(members=2, hidden=5, dropout=0.0), rng)
    network.parameters["linear"] = rng.standard_normal((4, 2)).astype(np.float32)
    twin = {name: torch.tensor(value) for name, value in network.parameters.items()}
    for value in twin.values():
        value.requires_grad_(True)
    inputs = rng.standard_normal((9, 4)).astype(np.float32)
    starts, labels = np.array([0, 3, 7, 9]), np.arange(9) % 4 == 0
    shares = label_shares(labels, starts)[:, None]
    scores, seen = network.scores(inputs)
    loss, by_scores = cross_entropy(scores, shares, starts)
    hidden = torch.relu(torch.tensor(inputs) @ twin["first"] + twin["bias"]).view(9, 2, 5)
    expected = (hidden * twin["last"]).sum(2) + torch.tensor(inputs) @ twin["linear"]
    logs = torch.cat([torch.log_softmax(expected[a:b], 0) for a, b in pairwise(starts)])
    twin_loss = -(torch.tensor(shares) * logs).sum() / 3
    twin_loss.backward()
    assert loss == pytest.approx(float(twin_loss.detach()), rel=1e-5)
    for name, gradient in network.gradients(by_scores, seen).items():
        np.testing.assert_allclose(gradient, twin[name].grad.numpy(), atol=1e-6, err_msg=name)


def test_dropout_leaves_the_mean_of_the_hidden_units_as_it_is():
    settings = TrainingSettings(members=1, hidden=4_000, dropout=0.25)
    network = RankerNetwork(3, settings, np.random.default_rng(0))
    inputs = np.ones((1, 3), np.float32)
    _, seen = network.scores(inputs)
    whole = np.maximum(inputs @ network.parameters["first"], 0).reshape(seen.hidden.shape)
    dropped = (seen.hidden == 0) & (whole > 0)
    assert dropped.sum() / (whole > 0).sum() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(seen.hidden[~dropped], whole[~dropped] / 0.75, rtol=1e-6)
    np.testing.assert_allclose(seen.passed[~dropped & (whole > 0)], 1 / 0.75, rtol=1e-6)


def test_a_softmax_of_nobody_is_empty():
    assert log_softmax(np.zeros(0, np.float32), np.zeros(1, np.int64)).shape == (0,)

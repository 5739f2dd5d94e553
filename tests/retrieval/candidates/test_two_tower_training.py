"""The losses of the two-tower model: the sampled softmax and the domain adaptation terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.numerics.negative_sampling import NegativeSampler, sampled_softmax
from isthmus.retrieval.candidates.domain_adaptation import (
    coral_loss,
    domain_loss,
    make_critic,
    mmd_loss,
    reverse_gradient,
)
from isthmus.retrieval.candidates.two_tower_training import MAX_LABELS, make_batches
from isthmus.retrieval.candidates.user_histories import UserHistories
from tests.retrieval.candidates.toy_data import BOOKS, FILMS, SONGS, make_training_data

USERS, ITEMS = 3, 40
LABELS = [(0, 3), (0, 17), (1, 5), (2, 0), (2, 38), (2, 39)]
OWNERS = torch.tensor([user for user, _ in LABELS])
POSITIVES = torch.tensor([item for _, item in LABELS])


def scores():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(USERS, ITEMS, generator=generator, dtype=torch.float64).requires_grad_()


def targets_of(sample):
    positives = torch.zeros(USERS, len(sample), dtype=torch.bool)
    for user, item in LABELS:
        positives[user] |= sample == item
    return positives


def from_sample(table, sample, corrections):
    return sampled_softmax(
        table[OWNERS, POSITIVES], OWNERS, table[:, sample], corrections, targets_of(sample)
    )


def full(table):
    return -torch.log_softmax(table, dim=1)[OWNERS, POSITIVES]


def test_a_sample_of_everything_is_the_full_softmax_with_its_gradient():
    table, other = scores(), scores()
    whole = torch.arange(ITEMS)
    sampled = from_sample(table, whole, torch.zeros(ITEMS, dtype=torch.float64))
    torch.testing.assert_close(sampled, full(other))
    sampled.sum().backward()
    full(other).sum().backward()
    torch.testing.assert_close(table.grad, other.grad)


def test_positives_count_whether_they_are_sampled_or_not():
    table = scores()
    without = torch.tensor([i for i in range(ITEMS) if i not in POSITIVES.tolist()])
    for user in range(USERS):
        mine = user == OWNERS
        rest = torch.cat([without, POSITIVES[~mine]])
        positives = torch.zeros(1, len(rest), dtype=torch.bool)
        loss = sampled_softmax(
            table[user, POSITIVES[mine]],
            torch.zeros(int(mine.sum()), dtype=torch.int64),
            table[user, rest][None],
            torch.zeros(len(rest), dtype=torch.float64),
            positives,
        )
        torch.testing.assert_close(loss, full(table)[mine])


def test_the_correction_is_right_in_the_mean_and_its_opposite_is_not():
    """Few draws with large 1/q: exp(loss) less the positives' part has the right expectation."""
    table = scores().detach()
    q = torch.linspace(0.15, 0.9, ITEMS, dtype=torch.float64)[torch.randperm(ITEMS)]
    rng = np.random.default_rng(0)
    sums = {+1: 0.0, -1: 0.0, 0: 0.0}
    draws = 1_500
    for _ in range(draws):
        sample = torch.from_numpy(np.flatnonzero(rng.random(ITEMS) < q.numpy()))
        for sign in sums:
            loss = from_sample(table, sample, sign * torch.log(q[sample]))
            sums[sign] += torch.exp(loss) / draws  # the sum over all items, over the positive's
    truth = torch.exp(full(table))
    torch.testing.assert_close(sums[+1], truth, rtol=0.03, atol=0)
    assert ((sums[-1] - truth).abs() / truth > 0.2).all()
    assert ((sums[0] - truth).abs() / truth > 0.2).all()


def test_a_sample_of_nothing_but_the_own_has_a_gradient():
    table = scores()
    sampled = from_sample(table, torch.tensor([5]), torch.zeros(1, dtype=torch.float64))
    sampled.sum().backward()
    assert torch.isfinite(table.grad).all()
    torch.testing.assert_close(sampled[2], torch.zeros((), dtype=torch.float64))


def sampler_of(data, size):
    return NegativeSampler(data.popularity, data.domains, len(data.domain_names), size)


def test_a_small_domain_is_returned_whole_and_a_large_one_with_its_log_probabilities():
    data = make_training_data(items=24)
    items, log_q = sampler_of(data, 24).sample(FILMS, np.random.default_rng(0))
    assert items.tolist() == np.flatnonzero(data.in_domain(FILMS)).tolist()
    assert log_q.tolist() == [0] * 24
    sampler, rng, counts = sampler_of(data, 6), np.random.default_rng(0), np.zeros(len(data))
    stated = np.zeros(len(data))
    for _ in range(3_000):
        items, log_q = sampler.sample(BOOKS, rng)
        assert (np.diff(items) > 0).all()
        counts[items] += 1
        stated[items] = np.exp(log_q.numpy())
    books = data.in_domain(BOOKS)
    assert not counts[~books].any()
    np.testing.assert_allclose(counts[books] / 3_000, stated[books], atol=0.04)


def test_batches_hide_items_of_their_target_domain():
    data = make_training_data(items=24, users=60)
    histories = UserHistories.from_interactions(data.interactions).liked
    n_users = 0
    for batch in make_batches(data, histories, 16, np.random.default_rng(3)):
        assert (data.domains[batch.labels] == batch.target).all()
        assert batch.target != SONGS
        visible = set(zip(batch.users.owners, batch.users.columns, strict=True))
        hidden = set(zip(batch.owners, batch.labels, strict=True))
        assert not visible & hidden
        assert len(batch.users) <= 16
        assert np.bincount(batch.owners).max(initial=0) <= MAX_LABELS
        n_users += len(batch.users)
    assert n_users == (histories.counts() > 1).sum()


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_gradient_comes_back_reversed(weight):
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse_gradient(values, weight)
    assert out.tolist() == [1.0, -2.0]
    (3 * out[0] + out[1] ** 2).backward()
    assert values.grad.tolist() == [-weight * 3, -weight * -4]


def test_the_classifier_is_trained_and_the_vectors_against_it():
    torch.manual_seed(0)
    vectors = torch.randn(20, 4, requires_grad=True)
    domains = torch.arange(20) % 2
    critic = make_critic(4, 2)
    assert critic(vectors).shape == (20, 2)
    domain_loss(critic, vectors, domains, 0.5).backward()
    reversed_, of_critic = vectors.grad.clone(), critic[0].weight.grad.clone()
    vectors.grad, critic[0].weight.grad = None, None
    nn.functional.cross_entropy(critic(vectors), domains).backward()
    torch.testing.assert_close(reversed_, -0.5 * vectors.grad)
    torch.testing.assert_close(of_critic, critic[0].weight.grad)


def test_coral_is_nothing_for_equal_domains_and_as_by_hand():
    one = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    domains = torch.tensor([0, 0, 1, 1])
    assert float(coral_loss(torch.cat([one, one]), domains)) == 0
    # means (1, 0) and (1, 3); covariances diag(2, 0) and diag(0, 18)
    other = torch.tensor([[1.0, 0.0], [1.0, 6.0]])
    expected = (2**2 + 18**2) / (4 * 2**2) + 3**2 / 2
    assert float(coral_loss(torch.cat([one, other]), domains)) == pytest.approx(expected)
    three = torch.cat([one, other, one])
    pairs = torch.tensor([0, 0, 1, 1, 2, 2])
    assert float(coral_loss(three, pairs)) == pytest.approx(expected * 2 / 3)


def test_mmd_is_nothing_for_equal_domains_and_as_by_hand():
    domains = torch.tensor([0, 0, 1, 1])
    same = torch.randn(2, 3).repeat(2, 1)
    assert float(mmd_loss(same, domains)) == pytest.approx(0, abs=1e-7)
    # distances squared: 4 within the first, 0 within the second, 1 between them; their mean is 1
    vectors = torch.tensor([[-1.0], [1.0], [0.0], [0.0]])
    by_hand = [
        (2 + 2 * math.exp(-4 / width)) / 4 + 1 - 2 * math.exp(-1 / width)
        for width in (0.25, 0.5, 1, 2, 4)
    ]
    assert float(mmd_loss(vectors, domains)) == pytest.approx(sum(by_hand) / 5)


def test_mmd_separates_distributions_of_equal_means_and_covariances():
    torch.manual_seed(0)
    normal = torch.randn(2_000, 1)
    two_points = torch.sign(torch.randn(2_000, 1))
    domains = torch.arange(4_000) // 2_000
    apart, equal = torch.cat([normal, two_points]), torch.cat([normal, torch.randn(2_000, 1)])
    assert float(mmd_loss(apart, domains)) > 20 * float(mmd_loss(equal, domains))


@pytest.mark.parametrize("loss_of", [coral_loss, mmd_loss])
def test_one_domain_has_no_adaptation_loss(loss_of):
    vectors = torch.randn(5, 3, requires_grad=True)
    loss = loss_of(vectors, torch.tensor([0, 0, 0, 0, 1]))
    loss.backward()
    assert loss.item() == 0
    assert not vectors.grad.any()

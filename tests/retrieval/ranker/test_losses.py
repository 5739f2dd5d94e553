"""The losses of the ranker against the full list, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isthmus.retrieval.ranker.settings import LOSSES
from isthmus.retrieval.ranker.training import listwise_loss, loss_of, pairwise_loss


def of(rows, kind=torch.float64):
    return torch.tensor(rows, dtype=kind)


def test_the_whole_list_is_a_softmax():
    scores = of([[1.0, 2.0, 0.0, 9.0]])
    labels = of([[True, False, True, False]], torch.bool)
    mask = of([[True, True, True, False]], torch.bool)
    total = math.log(math.e + math.e**2 + 1)
    loss = listwise_loss(scores, labels, mask, torch.zeros_like(scores))
    assert loss.tolist() == [pytest.approx(((total - 1) + (total - 0)) / 2)]


def test_a_corrected_sample_estimates_the_full_list_without_bias():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 60, generator=generator, dtype=torch.float64)
    labels = torch.arange(60)[None] < 2
    q = torch.where(labels, 1.0, 0.3).double()
    truth = listwise_loss(scores, labels, torch.ones_like(labels), torch.zeros_like(scores))
    rng = np.random.default_rng(0)
    sums = {-1: 0.0, 0: 0.0, 1: 0.0}
    for _ in range(1_000):
        mask = torch.from_numpy(rng.random((1, 60)) < q.numpy())
        for sign in sums:
            found = listwise_loss(scores, labels, mask, sign * torch.log(q))
            # the sum over the list is what is estimated without bias, not its logarithm
            sums[sign] += float(torch.exp(found)) / 1_000
    assert sums[1] == pytest.approx(float(torch.exp(truth)), rel=0.03)
    assert abs(sums[0] / float(torch.exp(truth)) - 1) > 0.2
    assert abs(sums[-1] / float(torch.exp(truth)) - 1) > 0.2


def test_pairs_by_hand():
    scores = of([[2.0, 1.0, 0.0, 5.0]])
    labels = of([[True, False, False, False]], torch.bool)
    mask = of([[True, True, True, False]], torch.bool)
    corrections = of([[0.0, 0.0, math.log(0.25), 0.0]])
    expected = (1 * math.log(1 + math.exp(-1)) + 4 * math.log(1 + math.exp(-2))) / 5
    assert pairwise_loss(scores, labels, mask, corrections).tolist() == [pytest.approx(expected)]


def test_pairs_are_formed_within_a_user():
    rng = np.random.default_rng(0)
    scores, labels = torch.from_numpy(rng.normal(size=(3, 6))), of(rng.random((3, 6)) < 0.4)
    labels, mask = labels.bool(), of([[True] * 6, [True] * 4 + [False] * 2, [True] * 6]).bool()
    labels &= mask
    corrections = torch.from_numpy(rng.normal(size=(3, 6))) * ~labels
    for user, loss in enumerate(pairwise_loss(scores, labels, mask, corrections).tolist()):
        good = [i for i in range(6) if labels[user, i]]
        others = [i for i in range(6) if mask[user, i] and not labels[user, i]]
        weights = {i: math.exp(-float(corrections[user, i])) for i in others}
        gaps = {(i, j): float(scores[user, i] - scores[user, j]) for i in good for j in others}
        total = sum(weights[j] * math.log1p(math.exp(-gap)) for (_, j), gap in gaps.items())
        assert loss == pytest.approx(total / max(len(good) * sum(weights.values()), 1e-9))


@pytest.mark.parametrize("name", LOSSES)
def test_users_without_positives_and_padding_have_no_loss(name):
    scores = torch.randn(3, 4, dtype=torch.float64).requires_grad_()
    labels = of([[True, False, False, False], [False] * 4, [True] * 4], torch.bool)
    mask = of([[True, True, True, False], [True] * 4, [True] * 4], torch.bool)
    loss = loss_of(name, scores, labels, mask, torch.zeros(3, 4, dtype=torch.float64))
    assert loss[1] == 0
    loss.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, 3] == 0
    assert not scores.grad[1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_raises_the_scores_of_positives(name):
    scores = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    labels = of([[False, True, False, False, False]], torch.bool)
    mask = torch.ones(1, 5, dtype=torch.bool)
    loss_of(name, scores, labels, mask, torch.zeros(1, 5, dtype=torch.float64)).sum().backward()
    assert scores.grad[0, 1] < 0
    assert (scores.grad[0, [0, 2, 3, 4]] > 0).all()

"""The losses of distillation against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus.encoders.training.losses import cosine_loss, similarity_loss


def units(n, dim, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def divergence(student, teacher, temperature):
    """Return the mean over rows of the sum of p * log(p / q) over all other rows."""
    total = 0.0
    for row in range(len(student)):
        others = [n for n in range(len(student)) if n != row]
        p, q = (
            np.exp(v[others] @ v[row] / temperature)
            / np.exp(v[others] @ v[row] / temperature).sum()
            for v in (teacher, student)
        )
        total += (p * np.log(p / q)).sum()
    return total / len(student)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("dim", [4, 7])
def test_the_similarity_loss_equals_its_formula(temperature, dim):
    student, teacher = units(9, dim, 0), units(9, 4, 1)
    found = similarity_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert found.item() == pytest.approx(divergence(student, teacher, temperature), rel=1e-6)


def test_the_cosine_loss_equals_its_formula():
    student, teacher = units(9, 4, 0), units(9, 4, 1)
    expected = np.mean([1 - a @ b for a, b in zip(student, teacher, strict=True)])
    found = cosine_loss(torch.tensor(student), torch.tensor(teacher))
    assert found.item() == pytest.approx(expected)


def test_both_losses_fall_as_the_student_approaches_its_teacher():
    student = torch.tensor(units(12, 5, 0), requires_grad=True)
    teacher = torch.tensor(units(12, 5, 1))
    optimizer = torch.optim.Adam([student], lr=0.05)
    losses = []
    for _ in range(200):
        vectors = torch.nn.functional.normalize(student, dim=1)
        parts = cosine_loss(vectors, teacher), similarity_loss(vectors, teacher, 0.5)
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
        losses.append([part.item() for part in parts])
    assert losses[-1][0] < losses[0][0] / 5
    assert losses[-1][1] < losses[0][1] / 5

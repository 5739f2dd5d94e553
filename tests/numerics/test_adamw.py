"""The optimizer over NumPy arrays, against that of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isthmus.numerics.adamw import AdamW, ComputedLoss
from isthmus.numerics.training import TrainingLoop

STEPS = 8


def test_its_steps_are_those_of_pytorch_with_clipping_and_linear_decay():
    rng = np.random.default_rng(0)
    parameters = {"a": rng.standard_normal((4, 3)), "b": rng.standard_normal(5)}
    parameters = {name: value.astype(np.float32) for name, value in parameters.items()}
    twin = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    optimizer = AdamW(parameters, 0.05, weight_decay=0.1, steps=STEPS)
    other = torch.optim.AdamW(twin.values(), lr=0.05, weight_decay=0.1)
    falling = torch.optim.lr_scheduler.LambdaLR(other, lambda step: 1 - step / STEPS)
    for step in range(STEPS):
        size = 0.01 if step % 2 else 3.0  # half of the gradients are clipped
        for name, value in twin.items():
            gradient = size * rng.standard_normal(value.shape).astype(np.float32)
            optimizer.gradients[name], value.grad = gradient, torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(twin.values(), 1.0)
        optimizer.step()
        other.step()
        falling.step()
        for name, value in twin.items():
            np.testing.assert_allclose(parameters[name], value.detach().numpy(), atol=1e-6)


def test_the_training_loop_runs_it():
    parameters = {"x": np.array([3.0, -2.0], np.float32)}
    optimizer = AdamW(parameters, 0.2, weight_decay=0.0, steps=200)

    def loss(goal: float) -> ComputedLoss:
        apart = parameters["x"] - np.float32(goal)
        return ComputedLoss(float((apart**2).sum()), {"x": 2 * apart}, optimizer)

    history = TrainingLoop(loss, lambda epoch: [1.0] * 20, optimizer, 10).run()
    assert history.losses[0] > 1
    assert history.losses[-1] == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(parameters["x"], 1, atol=1e-2)


def test_it_goes_on_from_a_state():
    gradient = {"x": np.array([0.5], np.float32)}
    whole, halved = ({"x": np.ones(1, np.float32)} for _ in range(2))
    one, first, second = (AdamW(p, 0.1, steps=4) for p in (whole, halved, halved))
    for _ in range(4):
        one.gradients = gradient
        one.step()
    for _ in range(2):
        first.gradients = gradient
        first.step()
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.gradients = gradient
        second.step()
    assert halved["x"] == whole["x"]

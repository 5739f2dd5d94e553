"""The accountant against published values, and one way of counting against the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.privacy.accountant import (
    Mechanism,
    delta_of,
    epsilon_of,
    noise_multiplier,
    renyi_epsilon,
)


def test_renyi_epsilon_of_dp_sgd_is_the_published_one():
    training = Mechanism(name="DP-SGD", noise_multiplier=1.5, sampling_rate=0.04, steps=2_250)
    assert renyi_epsilon([training], 1e-5) == pytest.approx(7.329, abs=5e-4)


def test_delta_of_a_sampled_mechanism_is_the_published_one():
    """About 4e-6, by Gopi, Lee and Wutschitz; ours is that of an epsilon less by its error."""
    training = Mechanism(name="DP-SGD", noise_multiplier=4, sampling_rate=0.01, steps=10_000)
    delta = delta_of([training], 1.0)
    assert 4e-6 < delta < 5.2e-6
    assert delta_of([training], 1.01) < 4.5e-6


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-6), (3.0, 1e-6), (10.0, 1e-4)])
def test_a_budget_is_used_up_exactly(epsilon, delta):
    sigma = noise_multiplier(epsilon, delta)
    assert epsilon_of([Mechanism(name="sum", noise_multiplier=sigma)], delta) == pytest.approx(
        epsilon, rel=1e-6
    )
    assert epsilon_of([Mechanism(name="sum", noise_multiplier=sigma * 0.99)], delta) > epsilon


def test_the_closed_form_is_the_definition():
    """Delta is the integral of what one density exceeds the other by, times exp(epsilon)."""
    sigma, epsilon = 1.7, 0.8
    x = np.linspace(-30, 31, 2_000_001)
    first = np.exp(-((x - 1) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    second = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    integral = np.maximum(first - np.exp(epsilon) * second, 0).sum() * (x[1] - x[0])
    one = Mechanism(name="sum", noise_multiplier=sigma)
    assert delta_of([one], epsilon) == pytest.approx(integral, rel=1e-6)


def test_a_sample_of_everybody_is_no_sample():
    plain = Mechanism(name="sum", noise_multiplier=2.0, steps=4)
    nearly = Mechanism(name="sum", noise_multiplier=2.0, sampling_rate=1 - 1e-9, steps=4)
    for epsilon in (0.5, 2.0):
        convolved, exact = delta_of([nearly], epsilon), delta_of([plain], epsilon)
        assert exact <= convolved <= delta_of([plain], epsilon - 0.011)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.3, 20), st.integers(1, 5)), min_size=1, max_size=4),
    st.floats(-8, -3),
)
def test_renyi_is_never_below_the_exact_composition(parts, log_delta):
    mechanisms = [
        Mechanism(name=str(at), noise_multiplier=sigma, steps=steps)
        for at, (sigma, steps) in enumerate(parts)
    ]
    delta = 10**log_delta
    exact = epsilon_of(mechanisms, delta)
    assert exact <= renyi_epsilon(mechanisms, delta) + 1e-9
    assert epsilon_of(mechanisms[:-1], delta) <= exact


def test_nothing_spends_nothing():
    assert epsilon_of([], 1e-6) == 0.0

"""Sequential tests: false alarms under daily looks, power, and what a look must have."""

from __future__ import annotations

import numpy as np

from isthmus.numerics.sequential import ArmSums, always_valid_test

DAYS, USERS = 21, 40


def stacked(looks):
    return ArmSums(*(np.stack(parts, axis=-1) for parts in zip(*looks, strict=True)))


def simulated(tests, effect, seed=0):
    """New users come every day, and a third of the known ones again; some click more than others.

    Returns the sums of both arms, shape (tests, days).
    """
    rng = np.random.default_rng(seed)
    looks = ([], [])
    for arm in range(2):
        rate = 0.1 * (1 + effect * arm)
        eager = rng.beta(2, 2 / rate - 2, (tests, DAYS * USERS)).astype(np.float32)
        rewards, places = np.zeros((2, *eager.shape))
        for day in range(DAYS):
            there = (day + 1) * USERS
            comes = rng.random((tests, there), np.float32) < 1 / 3
            comes[:, day * USERS :] = True
            shown = comes * 5
            rewards[:, :there] += rng.binomial(shown, eager[:, :there])
            places[:, :there] += shown
            looks[arm].append(ArmSums.of(rewards[:, :there], places[:, :there]))
    return stacked(looks[0]), stacked(looks[1])


def test_at_most_one_in_twenty_tests_of_equal_arms_is_ever_rejected():
    tests = always_valid_test(*simulated(1_000, 0.0))
    ever = (tests.p_value < 0.05).any(axis=1)
    assert tests.p_value.shape == (1_000, DAYS)
    assert ever.mean() <= 0.05
    assert (np.diff(tests.p_value, axis=1) <= 0).all()
    # The intervals hold at all looks together.
    assert ((tests.low > 0) | (tests.high < 0)).any(axis=1).mean() <= 0.05


def test_a_difference_is_found():
    tests = always_valid_test(*simulated(100, 0.3, seed=1))
    assert (tests.p_value[:, -1] < 0.05).mean() > 0.9
    assert abs(tests.difference[:, -1].mean() - 0.03) < 0.003
    assert ((tests.low <= 0.03) & (tests.high >= 0.03)).all(axis=1).mean() >= 0.95


def test_a_look_at_little_data_says_nothing():
    few = ArmSums.of(np.ones((1, 99)), np.full((1, 99), 10.0))
    none = ArmSums.of(np.zeros((1, 99)), np.full((1, 99), 10.0))
    test = always_valid_test(few, none)
    assert test.p_value.tolist() == [1.0]
    assert test.low.tolist() == [-np.inf]
    assert test.high.tolist() == [np.inf]

"""Thompson sampling: its probabilities against drawing, and at the ends."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.numerics.thompson import best_probabilities


def test_probabilities_are_those_of_drawing():
    successes, trials = np.array([0, 1, 5, 0, 20]), np.array([0, 3, 9, 40, 60])
    arms = np.array([3, 1, 2, 5, 0])
    found = best_probabilities(successes, trials, arms)
    assert (found * arms).sum() == pytest.approx(1)
    assert found[-1] == 0
    rng = np.random.default_rng(0)
    a = np.repeat(1 + successes, arms)
    b = np.repeat(1 + trials - successes, arms)
    n = 200_000
    best = rng.beta(a, b, (n, len(a))).argmax(axis=1)
    drawn = np.bincount(best, minlength=len(a)) / n
    expected = np.repeat(found, arms)
    assert np.abs(drawn - expected).max() < 4 * np.sqrt(0.25 / n)


@pytest.mark.parametrize("n", [1, 7, 1_000_000])
def test_equal_arms_have_equal_chances(n):
    one = best_probabilities(np.array([0, 0]), np.array([0, 0]), np.array([n, n]))
    assert one == pytest.approx([0.5 / n] * 2)


def test_two_arms_are_known_in_closed_form():
    # P(Beta(2, 1) > Beta(1, 1)) is the mean of Beta(2, 1), 2 / 3.
    found = best_probabilities(np.array([1, 0]), np.array([1, 0]), np.array([1, 1]))
    assert found == pytest.approx([2 / 3, 1 / 3], abs=1e-6)


def test_no_arms_have_no_chances():
    assert best_probabilities(np.array([3]), np.array([5]), np.array([0])).tolist() == [0]

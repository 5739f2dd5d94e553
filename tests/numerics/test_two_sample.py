"""Tests of distributions: as many false alarms as promised, and small changes found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.numerics.statistics import share_estimate
from isthmus.numerics.two_sample import counts_differ, values_differ, vectors_differ


def cluster(rng, n, centre=0.0):
    """Unit vectors of 32 dimensions around a direction."""
    vectors = rng.normal(size=(n, 32)).astype(np.float32)
    vectors[:, 0] += centre
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_false_alarms_are_as_rare_as_their_p_value():
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        both = cluster(rng, 150)
        p_values.append(vectors_differ(both[:100], both[100:], permutations=199, seed=seed).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 0.03  # two standard errors


def test_a_tenth_of_another_kind_is_found():
    rng = np.random.default_rng(0)
    found = 0
    for seed in range(20):
        reference = cluster(rng, 300)
        sample = np.concatenate([cluster(rng, 270), cluster(rng, 30, centre=20.0)])
        found += vectors_differ(reference, sample, permutations=199, seed=seed).p_value <= 0.05
    assert found >= 18


@given(st.integers(10, 40), st.integers(10, 40), st.integers(0, 100))
def test_equal_vectors_are_no_drift_and_every_p_value_is_one(n, m, seed):
    rows = np.tile(np.float32([0.6, 0.8]), (n + m, 1))
    assert vectors_differ(rows[:n], rows[n:], permutations=19, seed=seed).p_value == 1


@given(st.integers(0, 100))
def test_the_same_seed_gives_the_same_p_value(seed):
    rng = np.random.default_rng(seed)
    a, b = cluster(rng, 20), cluster(rng, 15)
    first = vectors_differ(a, b, permutations=49, seed=seed)
    assert first == vectors_differ(a, b, permutations=49, seed=seed)
    assert min(first.mmd, first.classifier) >= 1 / 50


def test_what_cannot_be_compared_is_refused_by_name():
    rows = np.zeros((9, 2), np.float32)
    with pytest.raises(InvalidInput, match=r"the sample has 9 vectors; .* need 10"):
        vectors_differ(np.zeros((20, 2), np.float32), rows)
    with pytest.raises(InvalidInput, match="the reference has vectors with values that are not"):
        vectors_differ(np.full((20, 2), np.nan, np.float32), np.zeros((20, 2), np.float32))


def test_rare_categories_are_joined_until_the_approximation_holds():
    assert counts_differ(np.array([100, 1, 1]), np.array([100, 0, 2])) > 0.5
    assert counts_differ(np.array([3]), np.array([300])) == 1
    assert counts_differ(np.array([2, 1]), np.array([1, 2])) == 1  # too few to tell
    assert counts_differ(np.array([500, 0, 0]), np.array([450, 25, 25])) < 1e-6


def test_numbers_are_compared_by_their_distribution():
    assert values_differ(np.arange(100.0), np.arange(100.0)) == 1
    assert values_differ(np.arange(100.0), np.arange(100.0) * 2) < 0.001


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(1, 10)), min_size=1, max_size=50),
    st.sampled_from([0.9, 0.95, 0.9999]),
)
def test_an_interval_of_shares_holds_its_share_and_lies_within_0_and_1(counts, level):
    hits, trials = (np.array(column) for column in zip(*counts, strict=True))
    hits = np.minimum(hits, trials)
    value, low, high = share_estimate(hits, trials, level)
    assert value == hits.sum() / trials.sum()
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1


def test_intervals_of_shares_hold_as_often_as_promised():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1_000):
        share = rng.beta(18, 2, 200)  # differs between clusters
        _, low, high = share_estimate(rng.binomial(10, share), np.full(200, 10))
        inside += low <= 0.9 <= high
    assert inside >= 935

"""Intervals and comparisons against exact answers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InvalidInput
from isthmus.numerics.statistics import (
    bonferroni,
    compare,
    estimate,
    holm,
    p_value,
    ratio_estimate,
    resampled_means,
)
from tests.retrieval.evaluation.by_ranx import ranx_says

RNG = np.random.default_rng(5)
BASE = RNG.random(300)
BETTER = BASE + RNG.normal(0.03, 0.1, 300)
SAME = BASE + RNG.normal(0.0, 0.1, 300)


def test_resamples_are_draws_of_users_with_replacement():
    resamples = np.random.default_rng(3).integers(0, len(BASE), (500, len(BASE)))
    found = resampled_means(np.stack([BASE, BETTER], axis=1), 500, seed=3)
    assert found[:, 0] == pytest.approx(BASE[resamples].mean(axis=1))
    assert found[:, 1] == pytest.approx(BETTER[resamples].mean(axis=1))


def test_many_users_are_resampled_in_parts_with_the_same_result():
    values = np.random.default_rng(0).random((2_500_000, 1))
    resamples = np.random.default_rng(1).integers(0, len(values), (3, len(values)))
    assert resampled_means(values, 3, 1)[:, 0] == pytest.approx(values[resamples, 0].mean(axis=1))


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        found = estimate(rng.exponential(1.0, 200), resamples=400, seed=trial)
        covered += found.low <= 1.0 <= found.high
    assert 0.87 <= covered / 100 <= 1.0


def test_a_ratio_is_paired():
    found = ratio_estimate(2 * BASE, BASE)
    assert found == pytest.approx((2.0, 2.0, 2.0))
    assert ratio_estimate(BASE, np.zeros(300)) is None
    assert ratio_estimate(np.array([1.0, 1.0]), np.array([0.0, 1.0])) is None


def test_comparisons():
    systems = {"base": BASE, "better": BETTER, "same": SAME, "twin": BASE.copy()}
    found = compare(systems, "base")
    assert list(found) == ["better", "same", "twin"]
    better = found["better"]
    assert better.difference.value == pytest.approx(BETTER.mean() - BASE.mean())
    assert better.ratio is not None
    assert better.ratio.value == pytest.approx(BETTER.mean() / BASE.mean())
    assert 0 < better.difference.low < better.difference.value < better.difference.high
    assert better.adjusted_p == pytest.approx(3 * better.p_value)
    assert better.adjusted_p < 0.01
    assert found["same"].adjusted_p > 0.05
    assert (found["twin"].p_value, found["twin"].adjusted_p) == (1.0, 1.0)
    assert found == compare(systems, "base")


def test_few_users_are_permuted_in_every_way():
    control = np.zeros(5)
    assert p_value(control, np.arange(1.0, 6.0)) == pytest.approx(2 / 32)
    assert p_value(control, np.array([1.0, 1.0, 1.0, -1.0, -1.0])) == pytest.approx(1.0)


def test_p_values_agree_with_ranx():
    control, treatment = BASE[:100], BASE[:100] + np.random.default_rng(8).normal(0.01, 0.1, 100)
    values = {"control": control.tolist(), "treatment": treatment.tolist()}
    theirs = ranx_says({**values, "permutations": 1_000})
    assert 0.02 < theirs["fisher"] < 0.9
    assert p_value(control, treatment) == pytest.approx(theirs["fisher"], abs=0.06)
    assert p_value(control, treatment, "student") == pytest.approx(theirs["student"])


def test_the_paired_t_test_does_not_need_ranx(monkeypatch):
    monkeypatch.setitem(sys.modules, "ranx", None)
    assert 0 <= p_value(BASE, BETTER, "student") < 1e-3


def test_names_that_are_unknown():
    with pytest.raises(InvalidInput, match="cannot compare with 'c'"):
        compare({"a": BASE}, "c")
    with pytest.raises(InvalidInput, match="by 'coin'"):
        compare({"a": BASE}, "a", test="coin")


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.5, 0.02]) == pytest.approx([0.08, 0.04, 0.5, 0.06])
    assert bonferroni([0.04, 0.01, 0.5]) == pytest.approx([0.12, 0.03, 1.0])
    assert holm([]) == bonferroni([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_keep_order_and_bonferroni_is_never_smaller(p_values):
    stepped, plain = holm(p_values), bonferroni(p_values)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(stepped)[order]) >= 0).all()
    assert all(p <= h <= b + 1e-12 for p, h, b in zip(p_values, stepped, plain, strict=True))

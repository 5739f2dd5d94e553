"""The largest values, against a sort of all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.numerics.top_k import SAMPLE, top_k


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 7, 2 * SAMPLE, 2 * SAMPLE + 1, 5 * SAMPLE]),
    st.sampled_from([0, 1, 20, SAMPLE // 4, SAMPLE // 4 + 1, 4 * SAMPLE]),
    st.sampled_from([3, 1_000, 10**9]),
    st.sampled_from([-1, 0, 1]),
)
def test_the_largest_are_those_of_a_stable_sort(seed, n, k, distinct, direction):
    """Few distinct values tie; ascending and descending ones lie far from their sample."""
    values = np.random.default_rng(seed).integers(distinct, size=n).astype(np.float32)
    if direction:
        values = np.sort(values)[::direction].copy()
    expected = np.argsort(-values, kind="stable")[:k]
    assert top_k(values, k).tolist() == expected.tolist()

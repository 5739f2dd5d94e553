"""The least number that reaches a recall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isthmus.index.ann.search_parameters import smallest_sufficient


@given(st.integers(1, 64), st.integers(1, 5_000), st.integers(1, 10_000))
def test_what_is_found_suffices_and_hardly_less_would(first, most, least):
    tried: list[int] = []

    def recall(number):
        tried.append(number)
        return 0.96 if number >= least else 0.9 + 0.05 * number / least

    found = smallest_sufficient(recall, first, most, 0.955)
    if least > most:
        assert found is None
    else:
        assert found is not None
        assert least <= found <= max(least + 1, least * 33 / 32 + 1)
    assert max(tried) <= most
    assert len(tried) <= 2 * 13 + 8


def test_a_recall_that_no_longer_rises_is_given_up():
    tried: list[int] = []

    def recall(number):
        tried.append(number)
        return min(0.9, number / 100)

    assert smallest_sufficient(recall, 8, 1_000_000, 0.95, least_gain=1e-3) is None
    assert tried == [8, 16, 32, 64, 128, 256]

"""The smallest number that reaches a recall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isthmus.index.ann.search_parameters import SearchParameters, smallest_sufficient


@given(st.integers(1, 64), st.integers(1, 5_000), st.integers(1, 10_000))
def test_the_result_suffices_and_hardly_less_would(first, maximum, sufficient):
    tried: list[int] = []

    def recall(number):
        tried.append(number)
        return 0.96 if number >= sufficient else 0.9 + 0.05 * number / sufficient

    result = smallest_sufficient(recall, first, maximum, 0.955)
    if sufficient > maximum:
        assert result is None
    else:
        assert result is not None
        assert sufficient <= result <= max(sufficient + 1, sufficient * 33 / 32 + 1)
    assert max(tried) <= maximum
    assert len(tried) <= 2 * 13 + 8


def test_a_recall_that_no_longer_rises_ends_the_search():
    tried: list[int] = []

    def recall(number):
        tried.append(number)
        return min(0.9, number / 100)

    assert smallest_sufficient(recall, 8, 1_000_000, 0.95, min_gain=1e-3) is None
    assert tried == [8, 16, 32, 64, 128, 256]


def test_parameters_print_what_they_set():
    assert str(SearchParameters()) == ""
    assert str(SearchParameters(nprobe=8, refine_factor=3)) == "nprobe=8 refine_factor=3"
    assert str(SearchParameters(ef_search=40)) == "ef_search=40"

"""What one user contributes: bounded, whoever else there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

from isthmus.errors import InvalidInput
from isthmus.privacy.contributions import bounded_rows, unit_rows
from isthmus.privacy.noise import gaussian, symmetric_gaussian
from isthmus.privacy.statistics import MAX_ROWS, exact_gram, exact_popularity

ITEMS = 12
LIKES = st.sets(st.integers(0, ITEMS - 1))


def matrix_of(likes: list[set[int]], items: int = ITEMS) -> csr_array:
    dense = np.zeros((len(likes), items), np.float32)
    for row, liked in zip(dense, likes, strict=True):
        row[list(liked)] = 1
    return csr_array(dense)


@settings(max_examples=200, deadline=None)
@given(st.lists(LIKES, max_size=6), LIKES, st.integers(0, 6), st.sets(st.integers(0, ITEMS - 1)))
def test_one_user_changes_the_sums_by_the_clip_at_most(others, user, place, modelled):
    """Neighbours differ by one user, at any place, with any rows; the bound is reached."""
    names = [f"u{number}" for number in range(len(others))]
    place = min(place, len(others))
    more, more_names = list(others), list(names)
    more.insert(place, user)
    more_names.insert(place, "the one")
    items = np.array(sorted(modelled), np.int64)
    before, after = (
        bounded_rows(matrix_of(likes), ids, rows=4)
        for likes, ids in ((others, names), (more, more_names))
    )
    popularity = np.linalg.norm(exact_popularity(after) - exact_popularity(before))
    scales = np.linspace(0.1, 2, ITEMS)[items]
    gram = np.linalg.norm(exact_gram(after, items, scales) - exact_gram(before, items, scales))
    assert popularity <= 1 + 1e-6
    assert gram <= 1 + 1e-6
    if user:
        assert popularity == pytest.approx(1, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(LIKES, min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 3))
def test_rows_are_bounded_and_those_of_one_user_depend_on_no_other(likes, rows, seed):
    names = [f"u{number}" for number in range(len(likes))]
    bounded = bounded_rows(matrix_of(likes), names, rows, seed)
    for at, (name, liked) in enumerate(zip(names, likes, strict=True)):
        alone = bounded_rows(matrix_of([liked]), [name], rows, seed)
        kept = bounded[[at]].indices.tolist()
        assert sorted(kept) == sorted(alone.indices.tolist())
        assert len(kept) == min(len(liked), rows)
        assert set(kept) <= liked


def test_another_seed_keeps_other_rows():
    likes = [set(range(ITEMS))] * 20
    names = [f"u{number}" for number in range(20)]
    kept = [bounded_rows(matrix_of(likes), names, 4, seed).indices.tolist() for seed in (0, 1)]
    assert kept[0] != kept[1]
    counts = np.bincount(np.concatenate(kept), minlength=ITEMS)
    assert counts.min() > 0  # no item is preferred


def test_rows_have_the_length_one():
    rows = unit_rows(matrix_of([{0, 1, 2, 3}, set(), {5}]))
    assert np.linalg.norm(rows.toarray(), axis=1) == pytest.approx([1, 0, 1])


def test_more_rows_than_the_bound_are_refused():
    one = csr_array(np.ones((1, MAX_ROWS + 1), np.float32))
    for of in (exact_popularity, lambda rows: exact_gram(rows, np.arange(3), np.ones(3))):
        with pytest.raises(InvalidInput, match=f"a user has {MAX_ROWS + 1} rows, and {MAX_ROWS}"):
            of(one)
    exact_popularity(vstack([one[:, :MAX_ROWS]], format="csr"))


def test_noise_is_standard_normal_and_never_the_same(same_noise):
    first, second = gaussian(300, 300), gaussian(300, 300)
    assert abs(first.mean()) < 0.02
    assert first.std() == pytest.approx(1, abs=0.02)
    assert np.quantile(first, [0.025, 0.975]) == pytest.approx([-1.96, 1.96], abs=0.05)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_symmetric_noise_is_standard_normal_in_the_frobenius_norm(same_noise):
    noise = symmetric_gaussian(300)
    assert (noise == noise.T).all()
    assert np.diag(noise).std() == pytest.approx(1, abs=0.15)
    assert noise[np.triu_indices(300, 1)].std() == pytest.approx(2**-0.5, abs=0.02)

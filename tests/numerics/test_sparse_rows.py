"""Sparse rows against SciPy's matrices."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from isthmus.numerics import sparse_rows
from isthmus.numerics.sparse import to_csr
from isthmus.numerics.sparse_rows import row_products
from tests.numerics.sparse import rows_of


def table_of(rows, width):
    owners = np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))
    table = np.zeros((len(rows.starts) - 1, width))
    np.add.at(table, (owners, rows.columns), rows.values)
    return table


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([3, 40, 5_000]))
def test_products_are_those_of_the_tables(seed, users, width):
    """Narrow matrices are summed up densely, wide ones by sorting: 5,000 columns are wide here."""
    rng = np.random.default_rng(seed)
    left = csr_array(random_array((users, 12), density=0.3, rng=rng, dtype=np.float32))
    right = csr_array(random_array((12, width), density=0.01, rng=rng, dtype=np.float32))
    found = rows_of(left).dot(right)
    np.testing.assert_allclose(table_of(found, width), (left @ right).toarray(), rtol=1e-5)
    for columns, values in found.iter_rows():
        assert (np.diff(columns) > 0).all()
        assert values.all()


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([3, 5_000]))
def test_products_of_long_rows_are_the_same_for_one_user_and_several(seed, users, width):
    rng = np.random.default_rng(seed)
    left = csr_array(random_array((users, 40), density=0.5, rng=rng, dtype=np.float32))
    right = csr_array(random_array((40, width), density=0.2, rng=rng, dtype=np.float32))
    short = rows_of(left).dot(right)
    with patch.object(sparse_rows, "FEW_ENTRIES", 5):
        found = rows_of(left).dot(right)
        alone = [rows_of(left[[user]]).dot(right) for user in range(users)]
    np.testing.assert_allclose(table_of(found, width), (left @ right).toarray(), rtol=1e-5)
    np.testing.assert_array_equal(found.columns, short.columns)
    for user, one in enumerate(alone):
        for of_one, of_all in zip(one.row(0), found.row(user), strict=True):
            np.testing.assert_array_equal(of_one, of_all)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.sampled_from([1, 8, 300]))
def test_products_of_rows_are_those_of_scipy_to_the_last_digit(seed, left_rows, width):
    rng = np.random.default_rng(seed)
    left, right = (
        to_csr(random_array((n, width), density=rng.random() / 2, rng=rng, dtype=np.float32))
        for n in (left_rows, 30)
    )
    rows = rng.integers(30, size=rng.integers(12))
    found = row_products(rows_of(left), right, rows)
    np.testing.assert_array_equal(found, (left @ right[rows].T).toarray())


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 20))
def test_products_with_a_dense_matrix_are_those_of_scipy_to_the_last_digit(seed, users, width):
    rng = np.random.default_rng(seed)
    left = csr_array(random_array((users, 40), density=0.3, rng=rng, dtype=np.float32))
    left.sort_indices()
    right = rng.standard_normal((40, width)).astype(np.float32)
    found = rows_of(left).dot_dense(right)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, left @ right)


def test_rows_beside_rows_add_up():
    one, two = csr_array(np.array([[1.0, 0, 2]])), csr_array(np.array([[0.0, 3, 4]]))
    both = rows_of(one).concatenate_rows(rows_of(two))
    assert table_of(both, 3).tolist() == [[1, 3, 6]]
    assert table_of(both.filter(both.columns > 0), 3).tolist() == [[0, 3, 6]]

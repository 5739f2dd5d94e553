"""Sparse rows against SciPy's matrices."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

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


def test_rows_beside_rows_add_up():
    one, two = csr_array(np.array([[1.0, 0, 2]])), csr_array(np.array([[0.0, 3, 4]]))
    both = rows_of(one).concatenate_rows(rows_of(two))
    assert table_of(both, 3).tolist() == [[1, 3, 6]]
    assert table_of(both.filter(both.columns > 0), 3).tolist() == [[0, 3, 6]]

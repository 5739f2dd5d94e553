"""The largest values of the rows of a sparse matrix in each group of columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from isthmus.numerics.co_occurrence import top_k_per_group


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_k_largest_stay_and_ties_keep_the_first(seed, k):
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 4, (6, 12)).astype(np.float32)  # many ties
    groups = rng.integers(0, 3, 12)
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        for group in range(3):
            columns = np.flatnonzero((groups == group) & (values > 0))
            kept = columns[np.argsort(-values[columns], kind="stable")[:k]]
            expected[row, kept] = values[kept]
    matrix = csr_array(dense)
    backwards = csr_array(  # columns in no order
        (
            np.concatenate([np.flip(part) for part in np.split(matrix.data, matrix.indptr[1:-1])]),
            np.concatenate(
                [np.flip(part) for part in np.split(matrix.indices, matrix.indptr[1:-1])]
            ),
            matrix.indptr,
        ),
        shape=matrix.shape,
    )
    for given_matrix in (matrix, backwards):
        assert top_k_per_group(given_matrix, k, groups).toarray().tolist() == expected.tolist()


@pytest.mark.parametrize("k", [None, 100])
def test_all_stay_where_no_row_has_more(k):
    matrix = csr_array(np.array([[1.0, 0, 2], [0, 3, 0]], np.float32))
    assert top_k_per_group(matrix, k).toarray().tolist() == matrix.toarray().tolist()

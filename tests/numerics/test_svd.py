"""The truncated decomposition against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from isthmus.numerics.svd import truncated_svd


def decaying(rows, columns):
    """A sparse matrix whose singular values fall by a fifth each."""
    rng = np.random.default_rng(0)
    side = min(rows, columns)
    left = np.linalg.qr(rng.standard_normal((rows, side)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, side)))[0]
    return csr_array(((left * 0.8 ** np.arange(side)) @ right.T).astype(np.float32))


@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
@pytest.mark.parametrize("rank", [8, 500])
def test_values_and_vectors_are_those_of_the_matrix(shape, rank):
    matrix = decaying(*shape)
    found = truncated_svd(matrix, rank)
    expected = np.linalg.svd(matrix.toarray(), compute_uv=False)[:8]
    np.testing.assert_allclose(found.values[:8], expected, rtol=1e-3)
    vectors = found.vectors[:, :8]
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(8), atol=1e-3)
    gram = matrix.T @ (matrix @ vectors)
    np.testing.assert_allclose(gram, vectors * found.values[:8] ** 2, atol=2e-3)
    assert found.vectors.shape == (shape[1], len(found.values))


def test_it_is_the_same_for_the_same_seed():
    matrix = decaying(60, 90)
    one, other = truncated_svd(matrix, 5, seed=3), truncated_svd(matrix, 5, seed=3)
    assert one.vectors.tolist() == other.vectors.tolist()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 4)])
def test_an_empty_matrix_has_no_values(shape):
    found = truncated_svd(csr_array(shape, dtype=np.float32), 2)
    assert found.values.shape == (0,)
    assert found.vectors.shape == (shape[1], 0)

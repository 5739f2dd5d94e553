"""Exact search and the inverted file against a sort in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.index.exact import exact_search
from isthmus.index.ivf import IvfIndex


def unit(rng, rows, dim):
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_sorting(queries, vectors, k, allowed=None):
    scores = queries @ vectors.T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    best = -np.sort(-scores, axis=1)[:, :k]
    return np.pad(best, ((0, 0), (0, k - best.shape[1])), constant_values=-np.inf)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(0, 700),
    k=st.integers(1, 30),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 0.99]),
)
def test_exact_search_agrees_with_sorting(seed, rows, k, share):
    rng = np.random.default_rng(seed)
    vectors, queries = unit(rng, rows, 8), unit(rng, 3, 8)
    allowed = None if share is None else rng.random(rows) < share
    scores, positions = exact_search(queries, vectors, k, allowed)
    np.testing.assert_allclose(scores, by_sorting(queries, vectors, k, allowed), atol=1e-5)
    for row, found in enumerate(positions):
        there = found >= 0
        assert np.isfinite(scores[row][there]).all()
        assert len(set(found[there].tolist())) == there.sum()
        np.testing.assert_allclose(
            (vectors[found[there]] @ queries[row]), scores[row][there], atol=1e-5
        )
        assert allowed is None or allowed[found[there]].all()


@pytest.fixture(scope="module")
def built():
    vectors = unit(np.random.default_rng(0), 4_000, 16)
    return vectors, IvfIndex.build(vectors)


def test_an_inverted_file_that_visits_every_cell_is_exact(built):
    vectors, index = built
    queries = vectors[:50]
    scores, _ = index.visiting(index.cells).search(queries, 10)
    np.testing.assert_allclose(scores, by_sorting(queries, vectors, 10), atol=1e-5)


def test_a_mask_is_always_applied(built):
    vectors, index = built
    allowed = np.arange(len(vectors)) % 3 == 0
    _, positions = index.visiting(index.cells).search(vectors[:50], 10, allowed)
    assert allowed[positions].all()


def test_visiting_more_cells_changes_no_shared_state(built):
    vectors, index = built
    before, _ = index.search(vectors[:50], 10)
    index.visiting(index.cells).search(vectors[:50], 10)
    after, _ = index.search(vectors[:50], 10)
    np.testing.assert_array_equal(before, after)


def test_a_written_index_answers_the_same(built, tmp_path):
    vectors, index = built
    index.write(tmp_path / "index.faiss")
    read = IvfIndex.read(tmp_path / "index.faiss", index.lists)
    np.testing.assert_array_equal(read.search(vectors[:9], 5)[1], index.search(vectors[:9], 5)[1])

"""Exact search against a sort in plain numpy."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.index.ann import bitmap as bitmap_module
from isthmus.index.ann import exact
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search, rescore
from tests.index.vectors import by_sorting, unit


@settings(max_examples=120)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(0, 700),
    k=st.integers(1, 30),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 0.99, 1.0]),
    in_parts=st.booleans(),
)
def test_exact_search_agrees_with_sorting(seed, rows, k, share, in_parts):
    rng = np.random.default_rng(seed)
    vectors, queries = unit(rng, rows, 8), unit(rng, 3, 8)
    mask = None if share is None else rng.random(rows) < share
    bitmap = None if mask is None else Bitmap(mask)
    with patch.multiple(exact, MIN_GATHERED_ROWS=50, GATHERED_ROWS_PER_QUERY=1):
        cached_bytes = 0 if in_parts else bitmap_module.MAX_CACHED_BYTES
        with patch.object(bitmap_module, "MAX_CACHED_BYTES", cached_bytes):
            scores, positions = exact_search(queries, vectors, k, bitmap)
    np.testing.assert_allclose(scores, by_sorting(queries, vectors, k, mask), atol=1e-5)
    for row, found in enumerate(positions):
        is_found = found >= 0
        assert np.isfinite(scores[row][is_found]).all()
        assert len(set(found[is_found].tolist())) == is_found.sum()
        np.testing.assert_allclose(
            (vectors[found[is_found]] @ queries[row]), scores[row][is_found], atol=1e-5
        )
        assert mask is None or mask[found[is_found]].all()


def test_rescoring_ranks_candidates_by_their_true_score_and_pads():
    rng = np.random.default_rng(0)
    vectors, queries = unit(rng, 50, 8), unit(rng, 4, 8)
    found = np.stack([rng.permutation(50)[:7] for _ in range(4)])
    found[0, 3:] = -1
    scores, positions = rescore(queries, vectors, found, 9)
    for row in range(4):
        candidates = found[row][found[row] >= 0]
        order = candidates[np.argsort(-(vectors[candidates] @ queries[row]))]
        assert positions[row].tolist() == [*order.tolist(), *[-1] * (9 - len(order))]
        np.testing.assert_allclose(
            scores[row][: len(order)], vectors[order] @ queries[row], atol=1e-6
        )
        assert np.isneginf(scores[row][len(order) :]).all()

"""Groups of a history's items."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from isthmus.retrieval.search.examples import cut_dendrogram


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 3), st.floats(0, 3))
def test_a_tree_is_cut_as_scipy_cuts_it(seed, leaves, copies, distance):
    vectors = np.random.default_rng(seed).standard_normal((leaves, 4))
    tree = linkage(np.repeat(vectors, copies, axis=0), method="ward")
    expected = fcluster(tree, distance, criterion="distance") - 1
    assert cut_dendrogram(tree, distance).tolist() == expected.tolist()

"""Large indexes, scanned in half precision or multiplied by FAISS, against plain products."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.retrieval.candidates import dot_product_index as module
from isthmus.retrieval.candidates.dot_product_index import DotProductIndex

ITEMS, DIM = 400, 21


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((ITEMS, DIM)).astype(np.float32)


@pytest.mark.parametrize("allowed", ["all", "half", "three", "none"])
@pytest.mark.parametrize("count", [1, 6, module.MIN_BATCH])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_large_indexes_find_what_products_find(vectors, allowed, count, spread, monkeypatch):
    """Vectors of equal norm are scanned to the end, others in part."""
    vectors *= np.exp(spread * np.random.default_rng(2).standard_normal((ITEMS, 1)), dtype="f4")
    users = np.random.default_rng(1).standard_normal((count, DIM)).astype(np.float32)
    columns = np.arange(5, 2 * ITEMS + 5, 2)
    mask = np.zeros(columns[-1] + 1, bool)
    mask[{"all": columns, "half": columns[::2], "three": columns[:3], "none": []}[allowed]] = True
    items = np.zeros((columns[-1] + 1, DIM), np.float32)
    items[columns] = vectors
    whole = DotProductIndex(columns, items).top_k(users, 30, mask)
    monkeypatch.setattr(module, "MIN_HALF_PRECISION", 1)
    monkeypatch.setattr(module, "FIRST_BLOCK", 16)
    large = DotProductIndex(columns, items)
    for writeable in (True, False):
        mask.flags.writeable = writeable
        for _ in range(2):
            found = large.top_k(users, 30, mask)
            assert found[0].tolist() == whole[0].tolist()
            np.testing.assert_allclose(found[1], whole[1], rtol=1e-4, atol=1e-5)


def test_a_scan_ends_where_no_product_can_be_larger(monkeypatch):
    """Two of eight blocks hold all that is long; the others are never searched."""
    monkeypatch.setattr(module, "MIN_HALF_PRECISION", 1)
    monkeypatch.setattr(module, "FIRST_BLOCK", 16)
    vectors = np.full((ITEMS, DIM), 0.01, np.float32)
    vectors[ITEMS - 40 :] = 1 + np.arange(40)[:, None]
    index = DotProductIndex(np.arange(ITEMS), vectors)
    searched = []
    monkeypatch.setattr(
        index,
        "_blocks",
        [block._replace(index=_Noted(block.index, searched)) for block in index._blocks],
    )
    found, _ = index.top_k(np.ones((1, DIM), np.float32), 20, np.ones(ITEMS, bool))
    assert found[0].tolist() == [*range(ITEMS - 1, ITEMS - 21, -1)]
    assert len(searched) == 2 < len(index._blocks)


class _Noted:
    """A FAISS index that notes when it is searched."""

    def __init__(self, index, searched):
        self._index, self._searched = index, searched

    def search(self, *arguments, **options):
        self._searched.append(self)
        return self._index.search(*arguments, **options)


def test_a_mask_that_may_change_is_looked_at_each_time(vectors, monkeypatch):
    monkeypatch.setattr(module, "MIN_HALF_PRECISION", 1)
    index, mask = DotProductIndex(np.arange(ITEMS), vectors), np.ones(ITEMS, bool)
    first = int(index.top_k(vectors[:1], 1, mask)[0][0, 0])
    mask[first] = False
    assert first not in index.top_k(vectors[:1], 5, mask)[0]

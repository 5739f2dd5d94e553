"""Large shelves, scanned in half precision, against products in full."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus.retrieval.candidates import shelf as module
from isthmus.retrieval.candidates.shelf import Shelf

ITEMS, DIM = 400, 21


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((ITEMS, DIM)).astype(np.float32)


@pytest.mark.parametrize("allowed", ["all", "half", "three", "none"])
def test_halves_find_what_products_find(vectors, allowed, monkeypatch):
    users = np.random.default_rng(1).standard_normal((6, DIM)).astype(np.float32)
    columns = np.arange(5, 2 * ITEMS + 5, 2)
    mask = np.zeros(columns[-1] + 1, bool)
    mask[{"all": columns, "half": columns[::2], "three": columns[:3], "none": []}[allowed]] = True
    whole = Shelf(columns, vectors).largest(users, 30, mask)
    monkeypatch.setattr(module, "HALVES_FROM", 1)
    found = Shelf(columns, vectors).largest(users, 30, mask)
    there = whole[0] >= 0
    assert (found[0] >= 0).tolist() == there.tolist()
    np.testing.assert_allclose(found[1][there], whole[1][there], atol=0.02)
    same = [len(set(a) & set(b)) for a, b in zip(found[0], whole[0], strict=True)]
    assert min(same) >= len(set(whole[0][0])) - 1
    assert mask[found[0][there]].all()

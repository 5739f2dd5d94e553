"""Lists of neighbours are cached, by everything that they depend on."""

from __future__ import annotations

import numpy as np

from isthmus.retrieval.recommend import space_data as module
from isthmus.retrieval.recommend.space_data import NeighbourLists, SearchScope


class Search:
    """Return for each item the numbers from it on, and record the requests."""

    def __init__(self):
        self.requests = []

    def __call__(self, columns, n):
        self.requests += columns.tolist()
        items = columns[:, None] + np.arange(n)
        return items, items.astype(np.float32) / 10


def get(lists, search, columns, n, among):
    columns = np.array(columns, np.int64)
    found = lists.get(columns, n, among, lambda some: search(some, n))
    expected = columns[:, None] + np.arange(n)
    assert found[0].tolist() == expected.tolist()
    np.testing.assert_allclose(found[1], expected / 10, rtol=1e-6)


def test_each_item_is_searched_once_for_each_scope(monkeypatch):
    lists, search, one = NeighbourLists(), Search(), SearchScope(np.ones(9, bool), 0.2)
    get(lists, search, [4, 7, 4], 3, one)
    get(lists, search, [7, 1], 3, one)
    get(lists, search, [], 3, one)
    assert search.requests == [4, 7, 1]
    get(lists, search, [7], 5, one)
    get(lists, search, [7], 3, SearchScope(np.ones(9, bool), 0.2))
    get(lists, search, [7], 3, SearchScope(one.allowed, 1.0))
    assert search.requests == [4, 7, 1, 7, 7, 7]
    monkeypatch.setattr(module, "MAX_CACHED_ENTRIES", 1)
    get(lists, search, [7], 3, one)
    assert search.requests[6:] == [7]
    monkeypatch.setattr(module, "MAX_CACHED_ENTRIES", 100)
    monkeypatch.setattr(module, "MAX_CACHED_KINDS", 1)
    for _ in range(2):
        for n in (2, 3, 4):
            get(lists, search, [7], n, one)
    assert len(lists._cached) <= 2

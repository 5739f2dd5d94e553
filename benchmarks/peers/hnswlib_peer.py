"""hnswlib: a graph over float32 vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hnswlib
import numpy as np
from common.data import AttributeFilter, Floats, Integers

from peers.peer import Peer, steps


class HnswlibPeer(Peer):
    """`hnswlib.Index`, with a Python function as filter."""

    settings = "M=16, ef_construction=200, float32"
    measured = "its file"
    filters = True

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Build the graph."""
        rows, dim = vectors.shape
        self._attributes = attributes
        self._allowed: dict[AttributeFilter, list[bool]] = {}
        self._index = hnswlib.Index("ip", dim)
        self._index.init_index(rows, M=16, ef_construction=200, random_seed=0)
        self._index.add_items(vectors, num_threads=self._threads)

    def grids(self, rows: int) -> list[list[Any]]:
        """Return values of ef."""
        return [steps(10, min(rows, 2_000))]

    def tune(self, parameters: Any) -> None:
        """Set ef."""
        self._index.set_ef(parameters)

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._index.knn_query(queries, k, num_threads=self._threads)[0]

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search; the filter function looks the row up in a list, made once per filter."""
        if row_filter not in self._allowed:
            self._allowed = {
                row_filter: (self._attributes[row_filter.attribute] < row_filter.below).tolist()
            }
        filter_of = self._allowed[row_filter].__getitem__
        try:
            return self._index.knn_query(queries, k, num_threads=self._threads, filter=filter_of)[0]
        except RuntimeError:  # raised where a query has fewer than k results
            return np.full((len(queries), k), -1)

    def bytes(self) -> int:
        """Return the size of its file."""
        return int(self._index.index_file_size())

    def use_threads(self, threads: int) -> None:
        """Set the threads of every call."""
        self._threads = threads

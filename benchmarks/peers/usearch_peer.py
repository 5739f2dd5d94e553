"""USearch: a graph over bf16 vectors (its default on a CPU that supports them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from common.data import Floats, Integers
from usearch.index import Index

from peers.peer import Peer, steps


class UsearchPeer(Peer):
    """`usearch.index.Index`; its Python interface has no filter."""

    settings = "connectivity=16, expansion_add=128, default type (bf16)"
    measured = "its serialized length"

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Build the graph."""
        del attributes
        self._index = Index(ndim=vectors.shape[1], metric="ip")
        self._index.add(np.arange(len(vectors)), vectors, threads=self._threads)

    def grids(self, rows: int) -> list[list[Any]]:
        """Return values of expansion_search."""
        return [steps(10, min(rows, 2_000))]

    def tune(self, parameters: Any) -> None:
        """Set expansion_search."""
        self._index.expansion_search = parameters

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._index.search(queries, k, threads=self._threads).keys

    def search_one(self, query: Floats, k: int) -> Any:
        """Search; one query returns matches of another kind."""
        return self._index.search(query, k, threads=self._threads).keys

    def bytes(self) -> int:
        """Return its serialized length."""
        return int(self._index.serialized_length)

    def use_threads(self, threads: int) -> None:
        """Set the threads of every call."""
        self._threads = threads

"""Voyager: a graph over float32 vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import voyager
from common.data import Floats, Integers

from peers.peer import Peer, steps


class VoyagerPeer(Peer):
    """`voyager.Index`; it has no filter."""

    settings = "M=16, ef_construction=200, float32"
    measured = "its file"

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Build the graph."""
        del attributes
        rows, dim = vectors.shape
        self._index = voyager.Index(
            voyager.Space.InnerProduct, dim, M=16, ef_construction=200, max_elements=rows
        )
        self._index.add_items(np.array(vectors), num_threads=self._threads)

    def grids(self, rows: int) -> list[list[Any]]:
        """Return values of query_ef."""
        return [steps(10, min(rows, 2_000))]

    def tune(self, parameters: Any) -> None:
        """Set query_ef."""
        self._ef = parameters

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._index.query(queries, k, num_threads=self._threads, query_ef=self._ef)[0]

    def search_one(self, query: Floats, k: int) -> Any:
        """Search."""
        return self._index.query(query, k, query_ef=self._ef)[0]

    def bytes(self) -> int:
        """Return the size of its file."""
        path = self.folder / "index.voy"
        self._index.save(str(path))
        return path.stat().st_size

    def use_threads(self, threads: int) -> None:
        """Set the threads of every call."""
        self._threads = threads

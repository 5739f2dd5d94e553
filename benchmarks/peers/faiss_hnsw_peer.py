"""FAISS: ``HNSW32``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np
from common.data import Floats, Integers

from peers.faiss_peer import FaissPeer
from peers.peer import steps


class FaissHnswPeer(FaissPeer):
    """`faiss.IndexHNSWFlat`."""

    settings = "HNSW32, efConstruction=200, float32"

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Build the graph."""
        del attributes
        self._index = faiss.index_factory(vectors.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = 200
        self._index.add(np.ascontiguousarray(vectors))

    def grids(self, rows: int) -> list[list[Any]]:
        """Return values of efSearch."""
        return [steps(10, min(rows, 2_000))]

    def tune(self, parameters: Any) -> None:
        """Set efSearch."""
        self._parameters = faiss.SearchParametersHNSW(efSearch=parameters)

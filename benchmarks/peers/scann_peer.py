"""ScaNN: a partition with 4-bit codes, reordered by float32 vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from common.data import Floats, Integers
from scann.scann_ops.py import scann_ops_pybind

from peers.peer import Peer, steps


class ScannPeer(Peer):
    """The searcher of `scann_ops_pybind`; it has no filter."""

    settings = "sqrt(rows) leaves, AH of 2 dimensions, anisotropic 0.2, reordering by float32"
    measured = "its folder"

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Train and fill the partition."""
        del attributes
        leaves = int(np.sqrt(len(vectors)))
        builder = scann_ops_pybind.builder(vectors, 10, "dot_product")
        builder = builder.set_n_training_threads(self._threads)
        builder = builder.tree(leaves, max(1, leaves // 10), training_sample_size=250_000)
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100)
        self._searcher = builder.build()

    def grids(self, rows: int) -> list[list[Any]]:
        """Return pairs of leaves to search and rows to reorder."""
        leaves = steps(1, int(np.sqrt(rows)))
        return [[(n, reorder) for n in leaves] for reorder in (20, 40, 100)]

    def tune(self, parameters: Any) -> None:
        """Set the leaves to search and the rows to reorder."""
        self._leaves, self._reorder = parameters

    def search(self, queries: Floats, k: int) -> Any:
        """Search, not in parallel."""
        return self._searcher.search_batched(queries, k, self._reorder, self._leaves)[0]

    def search_one(self, query: Floats, k: int) -> Any:
        """Search."""
        return self._searcher.search(query, k, self._reorder, self._leaves)[0]

    def bytes(self) -> int:
        """Return the size of the serialized searcher, including the float32 vectors."""
        folder = self.folder / "serialized"
        folder.mkdir(exist_ok=True)
        self._searcher.serialize(str(folder))
        return sum(file.stat().st_size for file in folder.iterdir())

    def use_threads(self, threads: int) -> None:
        """Set the threads of training and of parallel search."""
        self._threads = threads
        if hasattr(self, "_searcher"):
            self._searcher.set_num_threads(threads)

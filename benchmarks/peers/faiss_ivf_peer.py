"""FAISS: an inverted file of 4-bit codes, refined by fp16 vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np
from common.data import Floats, Integers

from peers.faiss_peer import FaissPeer
from peers.peer import steps


class FaissIvfPeer(FaissPeer):
    """``IVF{n},PQ{dim/2}x4fs,Refine(SQfp16)`` with n about 4 sqrt(rows)."""

    settings = "IVF{4 sqrt(rows)},PQ{dim/2}x4fs,Refine(SQfp16)"

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Train and fill the index."""
        del attributes
        rows, dim = vectors.shape
        cells = _cells(rows)
        recipe = f"IVF{cells},PQ{dim // 2}x4fs,Refine(SQfp16)"
        self._index = faiss.index_factory(dim, recipe, faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).permutation(rows)[: cells * 64]
        self._index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        self._index.add(np.ascontiguousarray(vectors))

    def grids(self, rows: int) -> list[list[Any]]:
        """Return pairs of nprobe and refine factor."""
        cells = steps(1, _cells(rows))
        return [[(n, factor) for n in cells] for factor in (2, 4, 10)]

    def tune(self, parameters: Any) -> None:
        """Set nprobe and the refine factor."""
        nprobe, factor = parameters
        self._inner = faiss.SearchParametersIVF(nprobe=nprobe)
        self._parameters = faiss.IndexRefineSearchParameters(
            k_factor=factor, base_index_params=self._inner
        )


def _cells(rows: int) -> int:
    return max(1, int(4 * np.sqrt(rows)))

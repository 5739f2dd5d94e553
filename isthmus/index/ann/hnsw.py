"""HNSW graphs (Malkov and Yashunin, arXiv:1603.09320).

All graphs over the same vectors share their links, which are made once by codes of 8 bits a
dimension: a quarter of the memory of the vectors, and faster than coarser codes
(docs/experiments/search.md).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import Recipe, SharedTraining
from isthmus.index.ann.faiss_index import MIN_RESULTS, FaissIndex, add_in_batches
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import FloatArray

M = 16  # links of a node; twice as many on the lowest level
EF_CONSTRUCTION = 100  # candidates for the links of a node; with FAISS's 40 the links are worse
SIGN_CODES = "RaBitQ"  # one bit a dimension (Gao and Long, arXiv:2405.12497)
MAX_WIDTH_PER_RESCORED = 8  # a wider search than this gains nothing where sign codes limit it
MAX_FILTERED_CANDIDATES = 4_096


class HnswIndex(FaissIndex):
    """A graph of neighbours, searched with a candidate list of length ``ef_search``.

    With sign codes so little of a vector is left that candidates are scored by their vectors,
    `SearchParameters.refine_factor` of them for each result.
    """

    first_width = 16

    @classmethod
    def factory_string(cls, codes: str, rows: int) -> str:
        """Return such as ``HNSW16_SQ8``."""
        del rows
        return f"HNSW{M}_{codes}" if codes else f"HNSW{M}"

    @classmethod
    def search_parameters(cls, width: int, refine_factor: int = 1) -> SearchParameters:
        """Return parameters with this ``ef_search``."""
        return SearchParameters(ef_search=width, refine_factor=refine_factor)

    @classmethod
    def extrapolate(cls, before: float, now: float, rows: tuple[int, int, int]) -> float:
        """Return the cost on a line over the logarithm of the rows, as searches lengthen so."""
        small, large, full = rows
        slope = max(now - before, 0.0) / np.log(large / small)
        return float(now + slope * np.log(full / large))

    @classmethod
    def usual_growth(cls, before: int, after: int) -> float:
        """Return the ratio of the logarithms."""
        return float(np.log(after) / np.log(before))

    @classmethod
    def rescores(cls, recipe: Recipe) -> bool:
        """Return whether more candidates than results are scored again."""
        return recipe.is_refined or recipe.codes == SIGN_CODES

    @classmethod
    def _empty(cls, recipe: Recipe, rows: int, dim: int) -> Any:
        faiss: Any = import_module("faiss")
        # At unit norm L2 ranks as the inner product does, and FAISS's graphs are made for L2.
        index = faiss.index_factory(dim, recipe.factory_string(rows, dim), faiss.METRIC_L2)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return index

    @classmethod
    def _fill(
        cls,
        index: Any,
        recipe: Recipe,
        vectors: FloatArray,
        shared: SharedTraining,
        progress: str | None,
    ) -> None:
        """Add the codes of the vectors and the shared links, which are made first if need be."""
        faiss: Any = import_module("faiss")
        if shared.part(cls) is None:
            makes_links = recipe == LINKS_RECIPE
            graph = index if makes_links else cls._train(LINKS_RECIPE, vectors, shared)
            start = time.perf_counter()
            add_in_batches(graph, vectors, progress)
            links = faiss.IndexHNSWFlat(1, M)  # holds the links, without the codes of the graph
            links.hnsw = graph.hnsw
            shared.keep(cls, links, time.perf_counter() - start)
            if makes_links:
                return
        add_in_batches(faiss.downcast_index(index.storage), vectors, None)
        method = index.hnsw.search_method
        index.hnsw = shared.part(cls).hnsw
        index.hnsw.search_method = method
        index.ntotal = len(vectors)

    @property
    def max_width(self) -> int:
        """The number of vectors."""
        return len(self)

    @property
    def _has_sign_codes(self) -> bool:
        return self.recipe.codes == SIGN_CODES

    def max_useful_width(self, k: int, refine_factor: int) -> int:
        """Return the greatest ``ef_search`` worth trying; sign codes limit what it gains."""
        if not self._has_sign_codes:
            return self.max_width
        return min(MAX_WIDTH_PER_RESCORED * k * refine_factor, self.max_width)

    def widened_parameters(self, growth: float) -> SearchParameters:
        """Return parameters that look at more, see `FamilyIndex.widened_parameters`.

        With sign codes one more candidate is scored again each time, since it may be them that
        limit the recall.
        """
        wider = super().widened_parameters(growth)
        step = int(self._has_sign_codes)
        return wider.model_copy(update={"refine_factor": wider.refine_factor + step})

    def filtered_candidates(self, bitmap: Bitmap, k: int) -> tuple[int, int]:
        """Return the lengths of the candidate list worth trying under a filter."""
        del bitmap, k
        return self.parameters.width, MAX_FILTERED_CANDIDATES

    def n_rescored(self, n_results: int, search_scale: float = 1.0) -> int:
        """Return how many candidates FAISS has to return, to be scored by their vectors.

        The last result needs none of its own, as in `faiss_parameters`.
        """
        if not self._has_sign_codes:
            return n_results
        counted = max(n_results - 1, MIN_RESULTS)
        return min(max(counted * self.scaled_refine_factor(search_scale), n_results), len(self))

    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return the mean cosine of vectors with their 8-bit codes; None for other codes."""
        if self.recipe != LINKS_RECIPE or len(vectors) == 0:
            return None
        faiss: Any = import_module("faiss")
        vectors = np.ascontiguousarray(vectors, np.float32)
        storage = faiss.downcast_index(self._index.storage)
        decoded = storage.sa_decode(storage.sa_encode(vectors))
        norms = np.maximum(np.linalg.norm(decoded, axis=1), 1e-9)
        return float((np.einsum("nd,nd->n", decoded, vectors) / norms).mean())

    def _base_parameters(self, width: int, selector: Mapping[str, Any]) -> Any:
        faiss: Any = import_module("faiss")
        return faiss.SearchParametersHNSW(efSearch=width, **selector)


LINKS_RECIPE = Recipe("HNSW SQ8", HnswIndex, "SQ8")  # its links are those of all graphs

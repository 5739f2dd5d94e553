"""Flat indexes: every vector is compared, in float32 or in codes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Self

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import FamilyIndex, Recipe, SharedTraining
from isthmus.index.ann.exact import BLAS_FROM, exact_search
from isthmus.index.ann.faiss_index import FaissIndex
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import FloatArray, Positions

FLOAT32_BYTES = 4
MARGIN = 22  # candidates beyond the results: half precision may order near ties otherwise


class FlatIndex(FaissIndex):
    """A flat index. In float32 the vectors themselves are the index, and no FAISS index exists."""

    first_width = 0

    @classmethod
    def factory_string(cls, codes: str, rows: int) -> str:
        """Return the codes alone, such as ``SQfp16``."""
        del rows
        return codes

    @classmethod
    def search_parameters(cls, width: int, refine_factor: int = 1) -> SearchParameters:
        """Return the refine factor; a flat index has no search width."""
        del width
        return SearchParameters(refine_factor=refine_factor)

    @classmethod
    def extrapolate(cls, before: float, now: float, rows: tuple[int, int, int]) -> float:
        """Return the cost on a straight line, since every vector is compared."""
        small, large, full = rows
        slope = max(now - before, 0.0) / (large - small)
        return float(now + slope * (full - large))

    @classmethod
    def usual_growth(cls, before: int, after: int) -> float:
        """Return the ratio, since every vector is compared."""
        return after / before

    @classmethod
    def has_gpu_form(cls, recipe: Recipe) -> bool:
        """Return whether the codes are float32 or float16, without refinement."""
        return not recipe.is_refined and recipe.codes in ("", "SQfp16")

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        vectors: FloatArray,
        trained: FamilyIndex | None,
        shared: SharedTraining,
        progress: str | None,
    ) -> Self:
        """Build the index; float32 needs nothing built."""
        if not recipe.codes:
            return cls(recipe, vectors)
        return super().build(recipe, vectors, trained, shared, progress)

    @property
    def faiss_index_for_gpu(self) -> Any:
        """The FAISS index to copy to a GPU; one of the vectors where there is none."""
        if self._index is not None:
            return self._index
        faiss: Any = import_module("faiss")
        index = faiss.IndexFlatIP(self.vectors.shape[1])
        index.add(np.ascontiguousarray(self.vectors))
        return index

    @property
    def bytes_per_vector(self) -> float:
        """Size of the serialised index over n, or of a float32 vector."""
        if self._index is None:
            return float(FLOAT32_BYTES * self.vectors.shape[1])
        return super().bytes_per_vector

    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Return the k best vectors for each query, see `VectorIndex.search`.

        One query reads the codes, since it takes as long as the memory that it reads. Many are a
        matrix product with the vectors themselves.
        """
        if self._index is None or (not self.recipe.is_refined and queries.size >= BLAS_FROM):
            return exact_search(queries, self.vectors, k)
        return super().search(queries, k, search_scale)

    def search_filtered(
        self,
        queries: FloatArray,
        k: int,
        bitmap: Bitmap,
        n_candidates: int,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Return the k best vectors of a bitmap, see `VectorIndex.search_filtered`."""
        if self._index is None:
            return exact_search(queries, self.vectors, k, bitmap)
        return super().search_filtered(queries, k, bitmap, n_candidates, search_scale)

    def n_rescored(self, n_results: int, search_scale: float = 1.0) -> int:
        """Return how many candidates FAISS has to return, to be scored by their vectors."""
        del search_scale
        return min(n_results + MARGIN, len(self))

    def _base_parameters(self, width: int, selector: Mapping[str, Any]) -> Any:
        del width
        faiss: Any = import_module("faiss")
        return faiss.SearchParameters(**selector)

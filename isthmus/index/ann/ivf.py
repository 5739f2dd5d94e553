"""Inverted files (Sivic and Zisserman 2003; Jégou et al., 10.1109/TPAMI.2010.57)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import Recipe, SharedTraining, power_law
from isthmus.index.ann.exact import rescore
from isthmus.index.ann.faiss_index import (
    MIN_RESULTS,
    TRAINING_ROWS,
    FaissIndex,
    training_sample,
    unrefined,
)
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import Counts, FloatArray, Positions

MIN_ROWS_PER_LIST = 16
ROWS_PER_ROOT = 250_000  # another square root of lists for so many rows
MAX_ROOTS = 4.0
TRAINING_ROWS_PER_LIST = 64
MIN_REFINE_FACTOR = 2  # candidates for each result that are scored again under a filter
MAX_FILTERED_SHARE = 2  # to compare more than 1 in 2 vectors of a bitmap gains nothing
QUERY_BY_QUERY = 10  # FAISS's number of the fast-scan implementation
CACHED_BYTES = 16 * 2**20  # codes that a processor's cache may hold


class IvfIndex(FaissIndex):
    """Lists of vectors by nearest centroid, of which a query scans the ``nprobe`` nearest."""

    first_width = 8
    _inherited = ("_random_access_vectors", "_list_of")

    @classmethod
    def factory_string(cls, codes: str, rows: int) -> str:
        """Return such as ``IVF316,SQ8``."""
        return f"IVF{choose_nlist(rows)},{codes}"

    @classmethod
    def search_parameters(cls, width: int, refine_factor: int = 1) -> SearchParameters:
        """Return parameters with this ``nprobe``."""
        return SearchParameters(nprobe=width, refine_factor=refine_factor)

    @classmethod
    def extrapolate(cls, before: float, now: float, rows: tuple[int, int, int]) -> float:
        """Return the cost on a power law."""
        return power_law(before, now, rows)

    @classmethod
    def usual_growth(cls, before: int, after: int) -> float:
        """Return the ratio of the roots, since there are as many lists as vectors in a list."""
        return float((after / before) ** 0.5)

    @classmethod
    def has_gpu_form(cls, recipe: Recipe) -> bool:
        """Return whether the codes are scalars, without refinement."""
        return not recipe.is_refined and recipe.codes in ("Flat", "SQfp16", "SQ8")

    @classmethod
    def has_plain_lists(cls, recipe: Recipe) -> bool:
        """Return whether the codes are not those of fast-scan."""
        return not recipe.codes.endswith("fs")

    @classmethod
    def _train(cls, recipe: Recipe, vectors: FloatArray, shared: SharedTraining) -> Any:
        """Train centroids and codes; centroids are taken over where there are as many."""
        faiss: Any = import_module("faiss")
        index = cls._empty(recipe, *vectors.shape)
        inverted_file = faiss.downcast_index(faiss.extract_index_ivf(index))
        nlist = int(inverted_file.nlist)
        _accept_few_points(inverted_file)
        centroids = shared.part(cls)
        rows = max(TRAINING_ROWS, nlist * TRAINING_ROWS_PER_LIST)
        if centroids is not None and len(centroids) == nlist:
            inverted_file.quantizer.add(centroids)  # a filled quantizer is not trained again
            rows = TRAINING_ROWS
        start = time.perf_counter()
        index.train(training_sample(vectors, rows))
        centroids = inverted_file.quantizer.reconstruct_n(0, nlist)  # (nlist, dim)
        shared.keep(cls, centroids, time.perf_counter() - start)
        return index

    @classmethod
    def _configure(cls, index: Any, recipe: Recipe) -> None:
        """Choose how fast-scan lists are scanned.

        Query by query, with a heap, is 10 % faster while the codes stay in the processor's cache.
        Beyond that FAISS's default is faster, which reads a list once for several queries.
        """
        if recipe.codes.endswith("fs"):
            base = unrefined(index, recipe)
            fits_cache = base.ntotal * base.code_size <= CACHED_BYTES
            base.implem = QUERY_BY_QUERY if fits_cache else 0

    @property
    def max_width(self) -> int:
        """The number of lists."""
        return int(self._base.nlist)

    @property
    def gpu_arguments(self) -> dict[str, Any]:
        """FAISS's parameters of a search on a GPU."""
        faiss: Any = import_module("faiss")
        return {"params": faiss.SearchParametersIVF(nprobe=self.parameters.width)}

    def filtered_candidates(self, bitmap: Bitmap, k: int) -> tuple[int, int]:
        """Return from as many vectors as an unfiltered search meets up to half of the bitmap."""
        unfiltered = self.parameters.width * bitmap.count // max(self.max_width, 1)
        return max(unfiltered, 10 * k), max(bitmap.count // MAX_FILTERED_SHARE, 1)

    def search_filtered(
        self,
        queries: FloatArray,
        k: int,
        bitmap: Bitmap,
        n_candidates: int,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best vectors of a bitmap for each query, shape (n_queries, k).

        The nearest lists are visited until they held `n_candidates` vectors of the bitmap. A fixed
        ``nprobe`` would miss a filter whose vectors lie far from the query.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        n_results = min(max(k, MIN_RESULTS), len(self))
        m = n_results * max(self.scaled_refine_factor(search_scale), MIN_REFINE_FACTOR)
        candidates = self._search_lists(queries, m, bitmap, n_candidates)
        return rescore(queries, self._random_access_vectors, candidates, k)

    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return the mean cosine of vectors with their nearest centroid."""
        if len(vectors) == 0:
            return None
        scores, _ = self._base.quantizer.search(np.ascontiguousarray(vectors, np.float32), 1)
        return float(scores.mean())

    def _base_parameters(self, width: int, selector: Mapping[str, Any]) -> Any:
        faiss: Any = import_module("faiss")
        return faiss.SearchParametersIVF(nprobe=width, **selector)

    @cached_property
    def _list_of(self) -> npt.NDArray[np.int32]:
        """The list of each vector, shape (n,)."""
        faiss: Any = import_module("faiss")
        lists, list_of = self._base.invlists, np.zeros(len(self), np.int32)
        for number in range(self._base.nlist):
            size = lists.list_size(number)
            if size:
                ids = lists.get_ids(number)
                list_of[faiss.rev_swig_ptr(ids, size)] = number
                lists.release_ids(number, ids)
        return list_of

    def _search_lists(
        self, queries: FloatArray, m: int, bitmap: Bitmap, n_candidates: int
    ) -> Positions:
        """Return the m best of each query's nearest lists, shape (n_queries, m)."""
        faiss: Any = import_module("faiss")
        counts = bitmap.count_per_list(self._list_of, self._base.nlist)
        closeness, lists = self._nearest_lists(queries, counts, min(n_candidates, bitmap.count))
        scores = np.empty((len(queries), m), np.float32)
        positions = np.full((len(queries), m), -1, np.int64)
        pointers = [faiss.swig_ptr(a) for a in (queries, lists, closeness, scores, positions)]
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=bitmap.selector)
        self._base.search_preassigned_c(
            len(queries), pointers[0], m, *pointers[1:], False, parameters
        )
        return positions

    def _nearest_lists(
        self, queries: FloatArray, counts: Counts, n_candidates: int
    ) -> tuple[FloatArray, Positions]:
        """Return the nearest lists that together hold enough vectors of a bitmap.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        counts : numpy.ndarray
            int64, shape (nlist,): vectors of the bitmap in each list.
        n_candidates : int
            How many are enough.

        Returns
        -------
        closeness, lists : numpy.ndarray
            Shape (n_queries, n_lists), nearest first; a list of -1 is none.
        """
        nlist = len(counts)
        n_lists = 1 + int(2 * n_candidates * nlist / max(counts.sum(), 1))
        while True:
            n_lists = min(n_lists, nlist)
            closeness, lists = self._base.quantizer.search(queries, n_lists)
            held = counts[lists]  # (n_queries, n_lists)
            before = np.cumsum(held, axis=1) - held
            if n_lists == nlist or (before[:, -1] + held[:, -1] >= n_candidates).all():
                break
            n_lists *= 2
        needed = (before < n_candidates) & (held > 0)
        order = np.argsort(~needed, axis=1, kind="stable")[:, : max(1, int(needed.sum(1).max()))]
        lists = np.where(needed, lists, -1)
        return (
            np.ascontiguousarray(np.take_along_axis(closeness, order, 1)),
            np.ascontiguousarray(np.take_along_axis(lists, order, 1)),
        )


def choose_nlist(rows: int) -> int:
    """Return the number of lists of an inverted file: one to four square roots of the rows.

    While the codes of all rows fit into a processor's cache, few large lists are searched faster
    than many small ones at the same recall. Past that the bytes read count, and small lists leave
    more of them unread.
    """
    roots = min(max(rows / ROWS_PER_ROOT, 1.0), MAX_ROOTS)
    return max(1, min(int(roots * np.sqrt(rows)), rows // MIN_ROWS_PER_LIST))


def _accept_few_points(inverted_file: Any) -> None:
    """Keep FAISS from warning of small training sets on standard error."""
    inverted_file.cp.min_points_per_centroid = 1
    if hasattr(inverted_file, "pq"):
        inverted_file.pq.cp.min_points_per_centroid = 1

"""FAISS behind one small, immutable class, whatever the recipe."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.errors import CorruptRelease, first_line
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search, rescore
from isthmus.index.ann.fill import fill, train
from isthmus.index.ann.random_access import scattered
from isthmus.index.ann.recipes import EXACT, GRAPH, Recipe
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.ann.shared import Shared
from isthmus.numerics.arrays import FloatArray, Positions

SPARE = 2  # candidates for each result that are scored again under a filter, at least
QUERY_BY_QUERY = 10  # FAISS's number of the way
CACHED_BYTES = 16 * 2**20
FEWEST_WANTED = 10  # recall is promised for ten results; fewer are cut from ten


class VectorIndex:
    """An index over a matrix of vectors, searched with some effort.

    Search parameters travel with each call and nothing is changed after `build`, so threads
    may share it.

    Parameters
    ----------
    recipe : Recipe
        How it was made.
    vectors : numpy.ndarray
        float32, shape (n, dim): the vectors themselves, perhaps memory-mapped. Scores are
        computed from them, so they are exact whatever the codes.
    index : faiss.Index or None
        The trained and filled index; None where every vector is compared as it is.
    parameters : SearchParameters
        How hard it tries.
    file : Path, optional
        Where it is mapped from.
    """

    def __init__(
        self,
        recipe: Recipe,
        vectors: FloatArray,
        index: Any = None,
        parameters: SearchParameters | None = None,
        file: Path | None = None,
    ) -> None:
        self.recipe = recipe
        self.parameters = parameters or SearchParameters()
        self.vectors = vectors
        self._index = index
        self._file = file
        self._known_parameters: dict[tuple[int, float], Any] = {}

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        vectors: FloatArray,
        trained: VectorIndex | None = None,
        *,
        shared: Shared | None = None,
        progress: str | None = None,
    ) -> VectorIndex:
        """Train and fill an index over vectors of shape (n, dim).

        Parameters
        ----------
        recipe : Recipe
            How.
        vectors : numpy.ndarray
            float32, shape (n, dim).
        trained : VectorIndex, optional
            An index of the same recipe, whose training is taken over.
        shared : Shared, optional
            What indexes of other recipes over these same vectors were made of; what this one
            makes is kept there.
        progress : str, optional
            Title of a bar to show.
        """
        if recipe.name == EXACT:
            return cls(recipe, vectors)
        shared = Shared() if shared is None else shared
        index = train(recipe, vectors, shared) if trained is None else trained._emptied()
        fill(index, recipe, vectors, shared, progress)
        _choose_scan(index, recipe)
        return cls(recipe, vectors, index)

    def trying(self, parameters: SearchParameters) -> VectorIndex:
        """Give the same index, searched with another effort."""
        other = VectorIndex(self.recipe, self.vectors, self._index, parameters, self._file)
        for known in ("_cell_of", "_scattered"):
            if known in self.__dict__:
                other.__dict__[known] = self.__dict__[known]
        return other

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def faiss_index(self) -> Any:
        """FAISS's index; None where every vector is compared as it is."""
        return self._index

    @property
    def most_visits(self) -> int:
        """Greatest useful `SearchParameters.visits`; 0 where there is no such choice."""
        if self.recipe.family == "ivf":
            return int(self._base.nlist)
        return len(self) if self.recipe.family == "hnsw" else 0

    @property
    def bytes_a_vector(self) -> float:
        """Size of the serialised index, or of the vectors where there is none, over n."""
        if self._index is None:
            return float(4 * self.vectors.shape[1])
        return _serialised_bytes(self._index) / max(len(self), 1)

    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Find about the k best vectors for each query, as `exact_search` does.

        With less `search_scale` than 1 fewer are looked at than the recall takes.
        """
        if self._index is None:
            return exact_search(queries, self.vectors, k)
        wanted = min(max(k, FEWEST_WANTED), len(self))
        _, found = self._index.search(
            np.ascontiguousarray(queries, np.float32),
            self.reach(wanted, search_scale),
            params=self.search_parameters(wanted, search_scale),
        )
        return rescore(queries, self._scattered, found, k)

    def search_allowed(
        self, queries: FloatArray, k: int, allowed: Bitmap, visits: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Find about the k best allowed vectors for each query.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            How many a query wants.
        allowed : Allowed
            Over the n vectors.
        visits : int
            How many allowed vectors to compare with in an inverted file, where the nearest cells
            are visited until they held so many; the length of the candidate list in an HNSW
            graph; without meaning elsewhere.
        effort : float
            With less than 1 fewer of those are scored again than the recall takes.
        """
        if self._index is None:
            return exact_search(queries, self.vectors, k, allowed)
        queries = np.ascontiguousarray(queries, np.float32)
        wanted = min(max(k, FEWEST_WANTED), len(self))
        if self.recipe.family == "ivf":
            spare = max(self._depth(search_scale), SPARE)
            found = self._visit_cells(queries, wanted * spare, allowed, visits)
        else:
            faiss_parameters = self._parameters_for(visits, allowed.selector)
            _, found = self._index.search(
                queries, self.reach(wanted, search_scale), params=faiss_parameters
            )
        return rescore(queries, self._scattered, found, k)

    def write(self, path: Path) -> None:
        """Write the index to a file; the vectors are kept elsewhere."""
        import faiss

        faiss.write_index(self._index, str(path))

    @classmethod
    def read(
        cls, path: Path, recipe: Recipe, vectors: FloatArray, parameters: SearchParameters
    ) -> VectorIndex:
        """Read an index, memory-mapped.

        Raises
        ------
        CorruptRelease
            If FAISS cannot read the file.
        """
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            cause = first_line(error)
            raise CorruptRelease(
                f"{path} cannot be read: {cause}; rebuild it with: isthmus publish --rebuild"
            ) from error
        _choose_scan(index, recipe)
        return cls(recipe, vectors, index, parameters, path)

    def fit(self, vectors: FloatArray) -> float | None:
        """Give the mean cosine of vectors, shape (m, dim), with what training has for them.

        That is the centre of the cell, or what codes of 8 bits say in a graph. None for other
        recipes. It falls when vectors are unlike those of training.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        if len(vectors) == 0:
            return None
        if self.recipe.family == "ivf":
            scores, _ = self._base.quantizer.search(vectors, 1)
            return float(scores.mean())
        if self.recipe == GRAPH:
            faiss: Any = import_module("faiss")
            codes = faiss.downcast_index(self._index.storage)
            said = codes.sa_decode(codes.sa_encode(vectors))
            lengths = np.linalg.norm(said, axis=1)
            return float((np.einsum("nd,nd->n", said, vectors) / np.maximum(lengths, 1e-9)).mean())
        return None

    def _emptied(self) -> Any:
        """Copy the trained index without what it holds."""
        faiss: Any = import_module("faiss")
        copy = faiss.read_index(str(self._file)) if self._file else faiss.clone_index(self._index)
        copy.reset()
        return copy

    @cached_property
    def _base(self) -> Any:
        faiss: Any = import_module("faiss")
        return faiss.downcast_index(self._index.base_index if self.recipe.refined else self._index)

    def search_parameters(self, wanted: int, search_scale: float = 1.0) -> Any:
        """Give FAISS's parameters for a number of results: more of them need more visits."""
        key = wanted, search_scale
        if key not in self._known_parameters:
            wider = search_scale * self.parameters.visits * (wanted / FEWEST_WANTED) ** 0.5
            visits = min(max(int(wider), 1), max(self.most_visits, self.parameters.visits))
            self._known_parameters[key] = self._parameters_for(
                visits, None, self._depth(search_scale)
            )
        return self._known_parameters[key]

    def reach(self, wanted: int, search_scale: float = 1.0) -> int:
        """Give how many FAISS has to find, to be scored by their vectors, for so many results."""
        return min(wanted * self._depth(search_scale), len(self)) if self.recipe.signs else wanted

    def _depth(self, search_scale: float) -> int:
        """Give how many times the results are scored again, which falls with the root."""
        return max(1, round(self.parameters.depth * float(search_scale**0.5)))

    def _parameters_for(self, visits: int, selector: Any, depth: int | None = None) -> Any:
        faiss: Any = import_module("faiss")
        given = {} if selector is None else {"sel": selector}
        if self.recipe.family == "ivf":
            base = faiss.SearchParametersIVF(nprobe=visits, **given)
        elif self.recipe.family == "hnsw":
            base = faiss.SearchParametersHNSW(efSearch=visits, **given)
        else:
            base = faiss.SearchParameters(**given)
        if not self.recipe.refined:
            return base
        depth = self.parameters.depth if depth is None else depth
        return faiss.IndexRefineSearchParameters(k_factor=depth, base_index_params=base)

    @cached_property
    def _scattered(self) -> FloatArray:
        return scattered(self.vectors)

    @cached_property
    def _cell_of(self) -> npt.NDArray[np.int32]:
        """The cell of each vector, shape (n,)."""
        faiss: Any = import_module("faiss")
        lists, cell_of = self._base.invlists, np.zeros(len(self), np.int32)
        for cell in range(self._base.nlist):
            size = lists.list_size(cell)
            if size:
                ids = lists.get_ids(cell)
                cell_of[faiss.rev_swig_ptr(ids, size)] = cell
                lists.release_ids(cell, ids)
        return cell_of

    def _visit_cells(
        self, queries: FloatArray, wanted: int, allowed: Bitmap, visits: int
    ) -> Positions:
        """Search each query's nearest cells until they have held enough allowed vectors."""
        faiss: Any = import_module("faiss")
        inside = allowed.in_cells(self._cell_of, self._base.nlist)
        closeness, cells = self._cells_with(queries, inside, min(visits, allowed.count))
        scores = np.empty((len(queries), wanted), np.float32)
        found = np.full((len(queries), wanted), -1, np.int64)
        pointers = [faiss.swig_ptr(a) for a in (queries, cells, closeness, scores, found)]
        parameters = faiss.SearchParametersIVF(nprobe=cells.shape[1], sel=allowed.selector)
        self._base.search_preassigned_c(
            len(queries), pointers[0], wanted, *pointers[1:], False, parameters
        )
        return found

    def _cells_with(
        self, queries: FloatArray, inside: npt.NDArray[np.int64], enough: int
    ) -> tuple[FloatArray, Positions]:
        """Rank the nearest cells that together hold enough allowed vectors; -1 fills the rest."""
        reach = 1 + int(2 * enough * len(inside) / max(inside.sum(), 1))
        while True:
            reach = min(reach, len(inside))
            closeness, cells = self._base.quantizer.search(queries, reach)
            held = inside[cells]
            before = np.cumsum(held, axis=1) - held
            if reach == len(inside) or (before[:, -1] + held[:, -1] >= enough).all():
                break
            reach *= 2
        keep = (before < enough) & (held > 0)
        order = np.argsort(~keep, axis=1, kind="stable")[:, : max(1, int(keep.sum(1).max()))]
        cells = np.where(keep, cells, -1)
        return (
            np.ascontiguousarray(np.take_along_axis(closeness, order, 1)),
            np.ascontiguousarray(np.take_along_axis(cells, order, 1)),
        )


def _serialised_bytes(index: Any) -> int:
    """Count what FAISS would write, holding no more than a piece of it."""
    faiss: Any = import_module("faiss")
    sizes: list[int] = []
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda piece: sizes.append(len(piece))))
    return sum(sizes)


def _choose_scan(index: Any, recipe: Recipe) -> None:
    """Let fast-scan lists be scanned query by query, with a heap, where codes stay in the cache.

    That is 10 % faster then than FAISS's own way, which reads a list once for several queries;
    beyond the cache its way is the faster.
    """
    faiss: Any = import_module("faiss")
    if recipe.codes.endswith("fs"):
        base = faiss.downcast_index(index.base_index if recipe.refined else index)
        cached = base.ntotal * base.code_size <= CACHED_BYTES
        base.implem = QUERY_BY_QUERY if cached else 0

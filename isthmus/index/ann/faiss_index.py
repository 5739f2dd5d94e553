"""What the index families have in common: a FAISS index, its parameters, and exact scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.contract import FamilyIndex, Recipe, SharedTraining
from isthmus.index.ann.exact import rescore
from isthmus.index.ann.random_access import random_access
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.progress import progress_bar

TRAINING_ROWS = 65_536
ROWS_PER_ADD = 65_536
MIN_RESULTS = 10  # recall is promised for ten results; fewer are cut from ten


class FaissIndex(FamilyIndex):
    """An index of a family over a FAISS index.

    Parameters
    ----------
    recipe, vectors
        As in `VectorIndex`.
    index : faiss.Index or None
        The trained and filled index; None where vectors are compared as they are.
    parameters : SearchParameters, optional
        The defaults are those of `SearchParameters`.
    file : Path, optional
        The file that the index is mapped from.
    """

    _inherited: ClassVar[tuple[str, ...]] = ("_random_access_vectors",)  # by `with_parameters`

    def __init__(
        self,
        recipe: Recipe,
        vectors: FloatArray,
        index: Any = None,
        parameters: SearchParameters | None = None,
        file: Path | None = None,
    ) -> None:
        super().__init__(recipe, vectors, parameters or SearchParameters())
        self._index = index
        self._file = file
        self._faiss_parameters: dict[tuple[int, float], Any] = {}

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        vectors: FloatArray,
        trained: FamilyIndex | None,
        shared: SharedTraining,
        progress: str | None,
    ) -> Self:
        """Train and fill an index, see `Recipe.build`."""
        if isinstance(trained, FaissIndex):
            index = trained._empty_copy()
        else:
            index = cls._train(recipe, vectors, shared)
        cls._fill(index, recipe, vectors, shared, progress)
        cls._configure(index, recipe)
        return cls(recipe, vectors, index)

    @classmethod
    def opened(
        cls,
        index: Any,
        recipe: Recipe,
        vectors: FloatArray,
        parameters: SearchParameters,
        file: Path,
    ) -> Self:
        """Return an index over a FAISS index that was read from a file."""
        cls._configure(index, recipe)
        opened = cls(recipe, vectors, index, parameters, file)
        _ = opened._random_access_vectors  # maps the file while the release is sure to be there
        return opened

    @classmethod
    def _empty(cls, recipe: Recipe, rows: int, dim: int) -> Any:
        """Make an untrained FAISS index."""
        faiss: Any = import_module("faiss")
        factory_string = recipe.factory_string(rows, dim)
        return faiss.index_factory(dim, factory_string, faiss.METRIC_INNER_PRODUCT)

    @classmethod
    def _train(cls, recipe: Recipe, vectors: FloatArray, shared: SharedTraining) -> Any:
        """Make an empty FAISS index, trained for vectors of shape (n, dim)."""
        del shared
        index = cls._empty(recipe, *vectors.shape)
        index.train(training_sample(vectors, TRAINING_ROWS))
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
        """Add the vectors to a trained FAISS index."""
        del recipe, shared
        add_in_batches(index, vectors, progress)

    @classmethod
    def _configure(cls, index: Any, recipe: Recipe) -> None:
        """Set what FAISS does not store of a filled index."""

    @abstractmethod
    def _base_parameters(self, width: int, selector: Mapping[str, Any]) -> Any:
        """Return FAISS's parameters of the unrefined index; `selector` may hold ``sel``."""

    @property
    def faiss_index(self) -> Any:
        """The FAISS index; None where vectors are compared as they are."""
        return self._index

    @property
    def bytes_per_vector(self) -> float:
        """Size of the serialised index over n."""
        return _serialised_bytes(self._index) / max(len(self), 1)

    def with_parameters(self, parameters: SearchParameters) -> Self:
        """Return the same index, searched with other parameters."""
        other = type(self)(self.recipe, self.vectors, self._index, parameters, self._file)
        for name in self._inherited:
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best vectors for each query, see `VectorIndex.search`."""
        n_results = min(max(k, MIN_RESULTS), len(self))
        _, candidates = self._index.search(
            np.ascontiguousarray(queries, np.float32),
            self.n_rescored(n_results, search_scale),
            params=self.faiss_parameters(n_results, search_scale),
        )
        return rescore(queries, self._random_access_vectors, candidates, k)

    def search_filtered(
        self,
        queries: FloatArray,
        k: int,
        bitmap: Bitmap,
        n_candidates: int,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best vectors of a bitmap, see `VectorIndex.search_filtered`."""
        n_results = min(max(k, MIN_RESULTS), len(self))
        parameters = self._make_faiss_parameters(
            n_candidates, self.parameters.refine_factor, {"sel": bitmap.selector}
        )
        _, candidates = self._index.search(
            np.ascontiguousarray(queries, np.float32),
            self.n_rescored(n_results, search_scale),
            params=parameters,
        )
        return rescore(queries, self._random_access_vectors, candidates, k)

    def write(self, path: Path) -> None:
        """Write the index to a file; the vectors are stored elsewhere."""
        faiss: Any = import_module("faiss")
        faiss.write_index(self._index, str(path))

    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return None: without trained parts every vector fits."""
        del vectors
        return None

    def faiss_parameters(self, n_results: int, search_scale: float = 1.0) -> Any:
        """Return FAISS's parameters for a number of results; they are cached.

        More results need a wider search: the width grows with the root of their number. The last
        one does not count, since lists are searched for one more, to see whether they end in a tie.
        """
        key = n_results, search_scale
        if key not in self._faiss_parameters:
            tuned = self.parameters.width
            growth = max((n_results - 1) / MIN_RESULTS, 1.0) ** 0.5
            width = int(search_scale * tuned * growth)
            width = min(max(width, 1), max(self.max_width, tuned))
            self._faiss_parameters[key] = self._make_faiss_parameters(
                width, self.scaled_refine_factor(search_scale), {}
            )
        return self._faiss_parameters[key]

    def n_rescored(self, n_results: int, search_scale: float = 1.0) -> int:
        """Return how many candidates FAISS has to return, to be scored by their vectors."""
        del search_scale
        return n_results

    def scaled_refine_factor(self, search_scale: float) -> int:
        """Return the refine factor at a search scale; it falls with the root of the scale."""
        return max(1, round(self.parameters.refine_factor * float(search_scale**0.5)))

    def _make_faiss_parameters(
        self, width: int, refine_factor: int, selector: Mapping[str, Any]
    ) -> Any:
        base = self._base_parameters(width, selector)
        if not self.recipe.is_refined:
            return base
        faiss: Any = import_module("faiss")
        return faiss.IndexRefineSearchParameters(k_factor=refine_factor, base_index_params=base)

    def _empty_copy(self) -> Any:
        """Copy the trained index without its vectors."""
        faiss: Any = import_module("faiss")
        copy = faiss.read_index(str(self._file)) if self._file else faiss.clone_index(self._index)
        copy.reset()
        return copy

    @cached_property
    def _base(self) -> Any:
        """The unrefined FAISS index."""
        return unrefined(self._index, self.recipe)

    @cached_property
    def _random_access_vectors(self) -> FloatArray:
        return random_access(self.vectors)


def training_sample(vectors: FloatArray, rows: int) -> FloatArray:
    """Return at most `rows` vectors to train with, in the order of the file, shape (n, dim)."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:rows])
    return np.ascontiguousarray(vectors[chosen])


def add_in_batches(index: Any, vectors: FloatArray, progress: str | None) -> None:
    """Add vectors, shape (n, dim), to a FAISS index, in batches: they may be memory-mapped."""
    with progress_bar(progress or "", len(vectors), show=progress is not None) as advance:
        for start in range(0, len(vectors), ROWS_PER_ADD):
            part = np.ascontiguousarray(vectors[start : start + ROWS_PER_ADD])
            index.add(part)
            advance(len(part))


def unrefined(index: Any, recipe: Recipe) -> Any:
    """Return the FAISS index below the refinement, as its own type."""
    faiss: Any = import_module("faiss")
    return faiss.downcast_index(index.base_index if recipe.is_refined else index)


def _serialised_bytes(index: Any) -> int:
    """Count what FAISS would write, without holding more than a piece of it."""
    faiss: Any = import_module("faiss")
    sizes: list[int] = []
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda piece: sizes.append(len(piece))))
    return sum(sizes)

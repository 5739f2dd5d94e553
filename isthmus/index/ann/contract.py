"""The contract of vector indexes, and what all FAISS indexes in main memory have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from isthmus.errors import CorruptRelease, first_line
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import rescore
from isthmus.index.ann.random_access import random_access
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.progress import progress_bar

REFINE_FACTORS = (2, 3, 4, 6, 10, 16, 32)  # the grid of recipes that score candidates again
TRAINING_ROWS = 65_536
ROWS_PER_ADD = 65_536
MIN_RESULTS = 10  # recall is promised for ten results; fewer are cut from ten
MAX_EXPONENT = 1.3  # of a power law through two measurements

Placement = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Recipe:
    """A way to index vectors.

    Attributes
    ----------
    name : str
        The name in messages and manifests, such as ``IVF SQ8``.
    family : type of FamilyIndex
        The index family.
    codes : str
        How vectors are coded, in the spelling of `faiss.index_factory`; ``{half}`` stands for half
        the dimension. Empty for float32.
    refinement : str
        Finer codes in which candidates are scored again, spelled likewise; empty for none.
    """

    name: str
    family: type[FamilyIndex]
    codes: str = ""
    refinement: str = ""

    @property
    def is_refined(self) -> bool:
        """Whether candidates are scored again in finer codes."""
        return bool(self.refinement)

    @property
    def has_gpu_form(self) -> bool:
        """Whether FAISS has a GPU form of it."""
        return self.family.has_gpu_form(self)

    @property
    def refine_factors(self) -> tuple[int, ...]:
        """The grid of refine factors to try, ascending."""
        return REFINE_FACTORS if self.family.rescores(self) else (1,)

    def suits(self, dim: int) -> bool:
        """Return whether vectors of this dimension can be coded so: PQ splits them in halves."""
        return "PQ" not in self.codes or dim % 4 == 0

    def factory_string(self, rows: int, dim: int) -> str:
        """Return the index description for `faiss.index_factory`."""
        base = self.family.factory_string(self.codes.format(half=dim // 2), rows)
        return f"{base},Refine({self.refinement})" if self.is_refined else base

    def build(
        self,
        vectors: FloatArray,
        trained: VectorIndex | None = None,
        *,
        shared: SharedTraining | None = None,
        progress: str | None = None,
    ) -> FamilyIndex:
        """Train and fill an index over vectors of shape (n, dim).

        Parameters
        ----------
        vectors : numpy.ndarray
            float32, shape (n, dim).
        trained : VectorIndex, optional
            An index of the same recipe, whose training is taken over.
        shared : SharedTraining, optional
            What indexes of other recipes over these same vectors were made of; what this one
            makes is kept there.
        progress : str, optional
            Title of a progress bar.
        """
        shared = SharedTraining() if shared is None else shared
        former = None if trained is None else trained.in_memory
        return self.family.build(self, vectors, former, shared, progress)

    def read(self, path: Path, vectors: FloatArray, parameters: SearchParameters) -> FamilyIndex:
        """Read an index, memory-mapped.

        Raises
        ------
        CorruptRelease
            If FAISS cannot read the file.
        """
        faiss: Any = import_module("faiss")
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            cause = first_line(error)
            raise CorruptRelease(
                f"{path} cannot be read: {cause}; rebuild it with: isthmus publish --rebuild"
            ) from error
        return self.family.opened(index, self, vectors, parameters, path)


class SharedTraining:
    """What indexes over the same vectors take over from each other; empty at first.

    Each family keeps one part, which is most of the cost of a build: all inverted files have the
    centroids of one training, and all graphs the links of one construction.
    """

    def __init__(self) -> None:
        self._parts: dict[type[FamilyIndex], Any] = {}
        self._seconds: dict[type[FamilyIndex], float] = {}

    def part(self, family: type[FamilyIndex]) -> Any:
        """Return the part of a family; None if there is none yet."""
        return self._parts.get(family)

    def seconds(self, family: type[FamilyIndex]) -> float:
        """Return the seconds that the part took, which later indexes of the family are spared."""
        return self._seconds.get(family, 0.0)

    def keep(self, family: type[FamilyIndex], part: Any, seconds: float) -> None:
        """Keep the part of a family, unless there is one already."""
        if family not in self._parts:
            self._parts[family], self._seconds[family] = part, seconds


class VectorIndex(ABC):
    """An index over a matrix of vectors.

    Search parameters travel with each call and nothing changes after the build, so threads may
    share an index.

    Parameters
    ----------
    recipe : Recipe
        How it is made.
    vectors : numpy.ndarray
        float32, shape (n, dim): the vectors themselves, possibly memory-mapped. Scores are
        computed from them, so they are exact whatever the codes.
    parameters : SearchParameters
        The parameters that reach the recall target.
    """

    placement: ClassVar[Placement]

    def __init__(self, recipe: Recipe, vectors: FloatArray, parameters: SearchParameters) -> None:
        self.recipe = recipe
        self.vectors = vectors
        self.parameters = parameters

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    @abstractmethod
    def in_memory(self) -> FamilyIndex:
        """The index in main memory: this one, or the one that this is a copy of."""

    @property
    @abstractmethod
    def max_width(self) -> int:
        """The greatest useful search width (see `SearchParameters.width`); 0 for none."""

    @property
    @abstractmethod
    def bytes_per_vector(self) -> float:
        """Size of the serialised index over n; that of the vectors where there is no index."""

    @abstractmethod
    def with_parameters(self, parameters: SearchParameters) -> VectorIndex:
        """Return the same index, searched with other parameters."""

    def with_width(self, width: int, refine_factor: int = 1) -> VectorIndex:
        """Return the same index, searched with another search width and refine factor."""
        return self.with_parameters(self.recipe.family.search_parameters(width, refine_factor))

    @abstractmethod
    def search(
        self, queries: FloatArray, k: int, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best vectors for each query, as `exact_search` does.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            Number of results per query.
        search_scale : float
            Factor on the search parameters, at most 1: less is faster and finds less.
        """

    @abstractmethod
    def search_filtered(
        self,
        queries: FloatArray,
        k: int,
        bitmap: Bitmap,
        n_candidates: int,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Return about the k best vectors of a bitmap for each query.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            Number of results per query.
        bitmap : Bitmap
            Over the n vectors.
        n_candidates : int
            How many vectors of the bitmap an inverted file compares with a query; the length of
            the candidate list of an HNSW graph; without meaning in other families.
        search_scale : float
            Below 1, fewer candidates are scored again.
        """

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the index to a file; the vectors are stored elsewhere."""

    @abstractmethod
    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return the mean cosine of vectors, shape (m, dim), with what training has for them.

        It falls when vectors are unlike those of training. None where the recipe has no training,
        and for no vectors.
        """


class FamilyIndex(VectorIndex):
    """An index of one family in main memory, over a FAISS index.

    A family is a subclass: it says how FAISS spells, trains, fills and searches it, which search
    widths are worth trying, and how its costs grow with the rows.

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

    placement = "cpu"
    first_width: ClassVar[int]  # the first search width that tuning tries; 0 for none
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

    # What a family says of itself.

    @classmethod
    @abstractmethod
    def factory_string(cls, codes: str, rows: int) -> str:
        """Return the description of an unrefined index for `faiss.index_factory`."""

    @classmethod
    @abstractmethod
    def search_parameters(cls, width: int, refine_factor: int = 1) -> SearchParameters:
        """Return search parameters with a search width."""

    @classmethod
    @abstractmethod
    def extrapolate(cls, before: float, now: float, rows: tuple[int, int, int]) -> float:
        """Return the search cost to expect at full size from two measurements.

        Parameters
        ----------
        before, now : float
            Costs on a small and on a large sample.
        rows : (int, int, int)
            Rows of the small sample, of the large one, and at full size.
        """

    @classmethod
    def has_gpu_form(cls, recipe: Recipe) -> bool:
        """Return whether FAISS has a GPU form of a recipe."""
        del recipe
        return False

    @classmethod
    def rescores(cls, recipe: Recipe) -> bool:
        """Return whether more candidates than results are scored again."""
        return recipe.is_refined

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

    # What all families share.

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
        index = cls._train(recipe, vectors, shared) if trained is None else trained._empty_copy()
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
        return cls(recipe, vectors, index, parameters, file)

    def write(self, path: Path) -> None:
        """Write the index to a file; the vectors are stored elsewhere."""
        faiss: Any = import_module("faiss")
        faiss.write_index(self._index, str(path))

    def with_parameters(self, parameters: SearchParameters) -> Self:
        """Return the same index, searched with other parameters."""
        other = type(self)(self.recipe, self.vectors, self._index, parameters, self._file)
        for name in self._inherited:
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def widened_parameters(self, growth: float) -> SearchParameters:
        """Return parameters that look at more: a wider search, or else twice the refine factor."""
        width = min(int(np.ceil(self.parameters.width * growth)), self.max_width)
        refine_factor = self.parameters.refine_factor
        if width == self.parameters.width:
            refine_factor *= 2
        return self.search_parameters(width, refine_factor)

    @property
    def in_memory(self) -> FamilyIndex:
        """The index itself."""
        return self

    @property
    def is_exact(self) -> bool:
        """Whether the vectors are compared as they are."""
        return self._index is None

    @property
    def faiss_index(self) -> Any:
        """The FAISS index; None where vectors are compared as they are."""
        return self._index

    @property
    def faiss_index_for_gpu(self) -> Any:
        """The FAISS index to copy to a GPU."""
        return self._index

    @property
    def gpu_arguments(self) -> dict[str, Any]:
        """Arguments of a search of the copy on a GPU."""
        return {}

    @property
    def max_width(self) -> int:
        """The greatest useful search width; 0 where the family has none."""
        return 0

    def max_useful_width(self, k: int, refine_factor: int) -> int:
        """Return the greatest search width worth trying with a refine factor for k results."""
        del k, refine_factor
        return self.max_width

    def filtered_candidates(self, bitmap: Bitmap, k: int) -> tuple[int, int]:
        """Return the smallest and greatest `n_candidates` worth trying under a filter."""
        del bitmap, k
        return 0, 0

    @property
    def bytes_per_vector(self) -> float:
        """Size of the serialised index over n."""
        return _serialised_bytes(self._index) / max(len(self), 1)

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

    def training_fit(self, vectors: FloatArray) -> float | None:
        """Return None: without trained parts every vector fits."""
        del vectors
        return None

    def faiss_parameters(self, n_results: int, search_scale: float = 1.0) -> Any:
        """Return FAISS's parameters for a number of results; they are cached.

        More results need a wider search: the width grows with the root of their number.
        """
        key = n_results, search_scale
        if key not in self._faiss_parameters:
            tuned = self.parameters.width
            width = int(search_scale * tuned * (n_results / MIN_RESULTS) ** 0.5)
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


def power_law(
    before: float, now: float, rows: tuple[int, int, int], min_exponent: float = 0.0
) -> float:
    """Extrapolate a power of the rows through two measurements, see `FamilyIndex.extrapolate`."""
    small, large, full = rows
    exponent = np.log(max(now, 1e-9) / max(before, 1e-9)) / np.log(large / small)
    exponent = np.clip(exponent, min_exponent, MAX_EXPONENT)
    return float(now * (full / large) ** exponent)


def training_sample(vectors: FloatArray, rows: int) -> FloatArray:
    """Return at most so many vectors to train with, in the order of the file."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:rows])
    return np.ascontiguousarray(vectors[chosen])


def add_in_batches(index: Any, vectors: FloatArray, progress: str | None) -> None:
    """Add vectors to a FAISS index, a batch at a time, since they may be memory-mapped."""
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

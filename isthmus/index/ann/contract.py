"""The contract of vector indexes: recipes, index families, and what an index of a family offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from isthmus.data.table_checksums import space_of
from isthmus.errors import CorruptRelease, command_in, first_line
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.numerics.arrays import FloatArray, Positions

REFINE_FACTORS = (2, 3, 4, 6, 10, 16, 32)  # the grid of recipes that score candidates again
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
        """Read an index, memory-mapped: its codes, lists and graphs are shared by all processes.

        Raises
        ------
        CorruptRelease
            If FAISS cannot read the file.
        """
        faiss: Any = import_module("faiss")
        # FAISS maps plain lists in one way, and from version 1.11 on everything else in another.
        of_lists = self.family.has_plain_lists(self) or not hasattr(faiss, "IO_FLAG_MMAP_IFC")
        mapped = faiss.IO_FLAG_MMAP if of_lists else faiss.IO_FLAG_MMAP_IFC
        try:
            index = faiss.read_index(str(path), mapped | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            cause = first_line(error)
            command = command_in(space_of(path), "publish --rebuild")
            raise CorruptRelease(
                f"{path} cannot be read: {cause}; rebuild it with: {command}"
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
    """An index of one family in main memory.

    A family is a subclass: it says how FAISS spells, trains, fills and searches it, which search
    widths are worth trying, and how its costs grow with the rows.
    """

    placement = "cpu"
    first_width: ClassVar[int]  # the first search width that tuning tries; 0 for none

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
    @abstractmethod
    def usual_growth(cls, before: int, after: int) -> float:
        """Return the factor of search costs from a number of rows to a greater one, in theory."""

    @classmethod
    def has_gpu_form(cls, recipe: Recipe) -> bool:
        """Return whether FAISS has a GPU form of a recipe."""
        del recipe
        return False

    @classmethod
    def has_plain_lists(cls, recipe: Recipe) -> bool:
        """Return whether the index has inverted lists that are not laid out for fast-scan."""
        del recipe
        return False

    @classmethod
    def rescores(cls, recipe: Recipe) -> bool:
        """Return whether more candidates than results are scored again."""
        return recipe.is_refined

    @classmethod
    @abstractmethod
    def build(
        cls,
        recipe: Recipe,
        vectors: FloatArray,
        trained: FamilyIndex | None,
        shared: SharedTraining,
        progress: str | None,
    ) -> Self:
        """Train and fill an index, see `Recipe.build`."""

    @classmethod
    @abstractmethod
    def opened(
        cls,
        index: Any,
        recipe: Recipe,
        vectors: FloatArray,
        parameters: SearchParameters,
        file: Path,
    ) -> Self:
        """Return an index over a FAISS index that was read from a file."""

    @property
    def in_memory(self) -> FamilyIndex:
        """The index itself."""
        return self

    @abstractmethod
    def with_parameters(self, parameters: SearchParameters) -> Self:
        """Return the same index, searched with other parameters."""

    @property
    @abstractmethod
    def faiss_index(self) -> Any:
        """The FAISS index; None where vectors are compared as they are."""

    @property
    def is_exact(self) -> bool:
        """Whether the vectors are compared as they are."""
        return self.faiss_index is None

    @property
    def faiss_index_for_gpu(self) -> Any:
        """The FAISS index to copy to a GPU."""
        return self.faiss_index

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

    def widened_parameters(self, growth: float) -> SearchParameters:
        """Return parameters that look at more: a wider search, or else twice the refine factor."""
        width = min(int(np.ceil(self.parameters.width * growth)), self.max_width)
        refine_factor = self.parameters.refine_factor
        if width == self.parameters.width:
            refine_factor *= 2
        return self.search_parameters(width, refine_factor)


def power_law(
    before: float, now: float, rows: tuple[int, int, int], min_exponent: float = 0.0
) -> float:
    """Extrapolate a power of the rows through two measurements, see `FamilyIndex.extrapolate`."""
    small, large, full = rows
    exponent = np.log(max(now, 1e-9) / max(before, 1e-9)) / np.log(large / small)
    exponent = np.clip(exponent, min_exponent, MAX_EXPONENT)
    return float(now * (full / large) ** exponent)

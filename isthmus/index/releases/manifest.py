"""The manifest of a release: what it holds, how it was built, and what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.ann.recipes import EXACT, INVERTED_FILE
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.files import checksum
from isthmus.index.releases.plan import FullSize, Plan
from isthmus.index.settings import Targets
from isthmus.numerics.arrays import FloatArray, Positions

ROWS = "rows.arrow"


class VectorManifest(BaseModel):
    """What a release holds of one named vector.

    Attributes
    ----------
    vectors, dim : int
        How many vectors, and how long.
    recipe : str
        Name of the recipe.
    parameters : SearchParameters
        How hard searches try.
    masked : MaskedCosts or None
        What filtered searches cost.
    trained_rows : int
        How many vectors there were when the recipe was planned and trained.
    fit : float or None
        Mean cosine of a vector with what training has for it, then; see `VectorIndex.fit`.
    bytes_a_vector, queries_s, p50_ms, p99_ms, build_s : float or None
        Size of the index over the vectors; queries a second in a batch; a single query;
        training and filling.
    known_misses : float
        As in `SegmentVectors`.
    lists : int or None
        In releases of the first format, the visited cells of an inverted file.
    """

    model_config = ConfigDict(extra="forbid")
    vectors: int
    dim: int
    recipe: str
    parameters: SearchParameters = SearchParameters()
    masked: FilterCosts | None = None
    trained_rows: int = 0
    fit: float | None = None
    bytes_a_vector: float | None = None
    queries_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    build_s: float | None = None
    known_misses: float = 1.0
    lists: int | None = None

    @model_validator(mode="after")
    def _of_first_format(self) -> Self:
        if self.lists is not None:
            self.recipe, self.parameters = INVERTED_FILE.name, SearchParameters(visits=self.lists)
        elif self.recipe == "exact (float32)":
            self.recipe = EXACT
        self.trained_rows = self.trained_rows or self.vectors
        return self

    @property
    def expectation(self) -> FullSize:
        """What was measured at full size."""
        return FullSize(
            rows=self.vectors,
            p50_ms=self.p50_ms or 0.0,
            p99_ms=self.p99_ms or 0.0,
            queries_s=self.queries_s or 1.0,
            bytes_a_vector=self.bytes_a_vector or 0.0,
            build_s=self.build_s or 0.0,
        )

    @property
    def cost(self) -> float:
        """What a query costs, see `FullSize.cost`."""
        return self.expectation.cost


class FileManifest(BaseModel):
    """Size and checksum of a file."""

    model_config = ConfigDict(extra="forbid")
    bytes: int
    checksum: str


class Manifest(BaseModel):
    """The description of a release."""

    model_config = ConfigDict(extra="forbid")
    number: int
    created: str
    fingerprint: str
    catalog_version: int
    catalog_rows: int
    rows: int
    accepted: bool
    recall_target: float
    named_vectors: dict[str, VectorManifest]
    recall: list[RecallRow]
    files: dict[str, FileManifest]
    targets: Targets | None = None
    plans: dict[str, Plan] = Field(default_factory=dict)
    built_s: float | None = None
    attached: list[str] = Field(default_factory=list)
    attachment_shortfalls: list[str] = Field(default_factory=list)

    @property
    def worst_recall(self) -> float:
        """The smallest measured recall, 1 where there was nothing to measure."""
        return min((row.recall for row in self.recall), default=1.0)


def file_manifests(folder: Path, names: Sequence[str]) -> dict[str, FileManifest]:
    """Describe the files of a release."""
    return {
        name: FileManifest(bytes=(folder / name).stat().st_size, checksum=checksum(folder / name))
        for name in names
    }


class RecallRow(BaseModel):
    """Measured recall@10 of one named vector, kind of query and domain."""

    model_config = ConfigDict(extra="forbid")
    vector_name: str
    kind: str
    domain: str
    queries: int
    recall: float


def vectors_file(vector_name: str) -> str:
    """Name the file of a block's vectors: raw little-endian float32, row after row."""
    return f"{vector_name}.vectors.f32"


def rows_file(vector_name: str) -> str:
    """Name the file of the row of each of a block's vectors: raw little-endian int64."""
    return f"{vector_name}.rows.i64"


def index_file(vector_name: str) -> str:
    """Name the file of a block's FAISS index."""
    return f"{vector_name}.index.faiss"


def open_vectors(folder: Path, vector_name: str, dim: int) -> FloatArray:
    """Map a block's vectors, shape (n_vectors, dim)."""
    path = folder / vectors_file(vector_name)
    if path.stat().st_size == 0:
        return np.empty((0, dim), np.float32)
    return np.asarray(np.memmap(path, "<f4", "r")).reshape(-1, dim)


def open_rows(folder: Path, vector_name: str) -> Positions:
    """Read the row of each of a block's vectors, shape (n_vectors,)."""
    return np.fromfile(folder / rows_file(vector_name), "<i8")

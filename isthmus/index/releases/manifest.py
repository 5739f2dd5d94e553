"""The manifest and the files of a release: what it holds, how it was built, what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from isthmus.files import checksum
from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.ann.search_parameters import SearchParameters
from isthmus.index.releases.plan import FullSizeCosts, Plan
from isthmus.index.settings import Targets
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.privacy.guarantee import Guarantee

ROWS = "rows.arrow"


class RecallRow(BaseModel):
    """Measured recall@10 of one named vector, kind of query and domain."""

    model_config = ConfigDict(extra="forbid")
    vector_name: str
    kind: str
    domain: str
    queries: int
    recall: float


class VectorManifest(BaseModel):
    """What a release holds of one named vector.

    Attributes
    ----------
    vectors, dim : int
        Number of vectors, and their dimension.
    recipe : str
        Name of the recipe.
    parameters : SearchParameters
        The parameters that reach the recall target.
    filter_costs : FilterCosts or None
        Costs of filtered search.
    trained_rows : int
        Number of vectors when the recipe was planned and trained.
    training_fit : float or None
        What `VectorIndex.training_fit` returned then.
    bytes_per_vector, queries_per_s, p50_ms, p99_ms, build_s : float or None
        Size of the index over the vectors; throughput of a batch; latency of a single query;
        seconds to train and fill.
    indexed_miss_ratio : float
        As in `SegmentVectors`.
    """

    model_config = ConfigDict(extra="forbid")
    vectors: int
    dim: int
    recipe: str
    parameters: SearchParameters = SearchParameters()
    filter_costs: FilterCosts | None = None
    trained_rows: int
    training_fit: float | None = None
    bytes_per_vector: float | None = None
    queries_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    build_s: float | None = None
    indexed_miss_ratio: float = 1.0

    @property
    def costs(self) -> FullSizeCosts:
        """The costs measured at full size."""
        return FullSizeCosts(
            rows=self.vectors,
            p50_ms=self.p50_ms or 0.0,
            p99_ms=self.p99_ms or 0.0,
            queries_per_s=self.queries_per_s or 1.0,
            bytes_per_vector=self.bytes_per_vector or 0.0,
            build_s=self.build_s or 0.0,
        )

    @property
    def query_cost(self) -> float:
        """The cost of a query, see `FullSizeCosts.query_cost`."""
        return self.costs.query_cost


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
    privacy: Guarantee | None = None

    @property
    def worst_recall(self) -> float:
        """The smallest measured recall; 1 if nothing was measured."""
        return min((row.recall for row in self.recall), default=1.0)


def file_manifests(folder: Path, names: Sequence[str]) -> dict[str, FileManifest]:
    """Return size and checksum of the files of a release."""
    return {
        name: FileManifest(bytes=(folder / name).stat().st_size, checksum=checksum(folder / name))
        for name in names
    }


def vectors_file(vector_name: str) -> str:
    """Return the name of the file of vectors: raw little-endian float32, row after row."""
    return f"{vector_name}.vectors.f32"


def rows_file(vector_name: str) -> str:
    """Return the name of the file of each vector's row: raw little-endian int64."""
    return f"{vector_name}.rows.i64"


def index_file(vector_name: str) -> str:
    """Return the name of the file of the FAISS index."""
    return f"{vector_name}.index.faiss"


def open_vectors(folder: Path, vector_name: str, dim: int) -> FloatArray:
    """Return the memory-mapped vectors of a name, shape (n_vectors, dim)."""
    path = folder / vectors_file(vector_name)
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty((0, dim), np.float32)
    return np.asarray(np.memmap(path, "<f4", "r")).reshape(-1, dim)


def open_rows(folder: Path, vector_name: str) -> Positions:
    """Return the row of each vector of a name, shape (n_vectors,)."""
    return np.fromfile(folder / rows_file(vector_name), "<i8")

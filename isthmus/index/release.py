"""Releases: immutable, numbered, published states of the index, one of them current."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from isthmus.columns import DOMAIN, ITEM_ID
from isthmus.encoders.encoder import FloatArray
from isthmus.errors import CorruptRelease, ReleaseNotFound
from isthmus.index.block_index import SegmentBlock
from isthmus.index.exact import Positions
from isthmus.index.faiss_index import VectorIndex
from isthmus.index.files import checksum, sync_folder, write_atomically
from isthmus.index.masked import MaskedCosts
from isthmus.index.plan import FullSize, Plan
from isthmus.index.recall import RecallRow
from isthmus.index.recipe import EXACT, INVERTED_FILE, Effort, recipe_named
from isthmus.index.row_ids import row_ids_of
from isthmus.index.segment import Segment
from isthmus.index.settings import Targets

FOLDER = "releases"
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
ROWS = "rows.arrow"
BUILDING = ".building-"


class BlockManifest(BaseModel):
    """What a release holds of one block.

    Attributes
    ----------
    vectors, dim : int
        How many vectors, and how long.
    recipe : str
        Name of the recipe.
    effort : Effort
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
    lists : int or None
        In releases of the first format, the visited cells of an inverted file.
    """

    model_config = ConfigDict(extra="forbid")
    vectors: int
    dim: int
    recipe: str
    effort: Effort = Effort()
    masked: MaskedCosts | None = None
    trained_rows: int = 0
    fit: float | None = None
    bytes_a_vector: float | None = None
    queries_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    build_s: float | None = None
    lists: int | None = None

    @model_validator(mode="after")
    def _of_first_format(self) -> Self:
        if self.lists is not None:
            self.recipe, self.effort = INVERTED_FILE.name, Effort(visits=self.lists)
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
    blocks: dict[str, BlockManifest]
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


class Release:
    """A release on disk.

    Parameters
    ----------
    folder : Path
        Its folder, ``releases/000007``.

    Raises
    ------
    CorruptRelease
        If its manifest cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValidationError) as error:
            raise CorruptRelease(
                f"release {folder.name}: {MANIFEST} cannot be read; rebuild it with: "
                "isthmus publish --rebuild, or go back with: isthmus rollback"
            ) from error

    @property
    def number(self) -> int:
        """Its number."""
        return self.manifest.number

    @property
    def catalog_version(self) -> int:
        """Version of the catalog that it was built from."""
        return self.manifest.catalog_version

    @property
    def catalog_rows(self) -> int:
        """Number of items in the catalog then."""
        return self.manifest.catalog_rows

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises
        ------
        CorruptRelease
            If a file is missing, cut off or changed; the message names it.
        """
        for name, known in self.manifest.files.items():
            path = self.folder / name
            try:
                intact = path.stat().st_size == known.bytes and checksum(path) == known.checksum
            except OSError:
                intact = False
            if not intact:
                raise CorruptRelease(
                    f"release {self.number}: {path} is missing or damaged; rebuild it from the "
                    "catalog with: isthmus publish --rebuild, or go back with: isthmus rollback"
                )

    @cached_property
    def segment(self) -> Segment:
        """Its items and vectors, checked and memory-mapped."""
        self.verify()
        with pa.memory_map(str(self.folder / ROWS)) as file:
            table = pa.ipc.open_file(file).read_all().combine_chunks()
        return Segment(
            row_ids=row_ids_of(table),
            item_ids=pa.concat_arrays(table.column(ITEM_ID).chunks or [pa.array([], pa.string())]),
            domains=pa.chunked_array(table.column(DOMAIN).chunks, pa.string())
            .combine_chunks()
            .dictionary_encode(),
            blocks={name: self._block(name) for name in self.manifest.blocks},
        )

    def _block(self, name: str) -> SegmentBlock:
        known = self.manifest.blocks[name]
        index, vectors = None, open_vectors(self.folder, name, known.dim)
        if known.recipe != EXACT:
            recipe = recipe_named(known.recipe)
            file = self.folder / index_file(name)
            index = VectorIndex.read(file, recipe, vectors, known.effort)
        return SegmentBlock(vectors, open_rows(self.folder, name), index, known.masked)


class Releases:
    """The releases of a space.

    Parameters
    ----------
    space : Path
        Folder of the space.
    """

    def __init__(self, space: Path) -> None:
        self._space = space
        self._current = space / CURRENT  # to join them costs as much as to look
        self._folder = space / FOLDER

    def numbers(self) -> list[int]:
        """Numbers of all releases, ascending."""
        if not self._folder.exists():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def open(self, number: int) -> Release:
        """Open a release, or raise `ReleaseNotFound`."""
        if number not in self.numbers():
            known = ", ".join(map(str, self.numbers())) or "none"
            raise ReleaseNotFound(f"no release {number} in {self._space}; there are: {known}")
        return Release(self._folder / _name(number))

    def all(self) -> list[Release]:
        """Open every release whose manifest can be read, ascending."""
        found = []
        for number in self.numbers():
            try:
                found.append(self.open(number))
            except CorruptRelease:
                continue
        return found

    def current_number(self) -> int | None:
        """Give the number of the current release; None before the first."""
        try:
            return int((self._space / CURRENT).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CorruptRelease(
                f"{self._space / CURRENT} is damaged; choose one with: isthmus rollback N"
            ) from error

    def current(self) -> Release | None:
        """Open the current release."""
        number = self.current_number()
        return None if number is None else self.open(number)

    def current_stamp(self) -> tuple[int, int] | None:
        """Give what changes whenever CURRENT is replaced (some 2 µs); None before the first."""
        try:
            stat = self._current.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def make_current(self, number: int) -> None:
        """Move CURRENT, at once and durably."""
        write_atomically(self._space / CURRENT, f"{_name(number)}\n".encode())

    def begin(self) -> tuple[int, Path]:
        """Give the next number and a fresh folder to build it in; left-overs are removed."""
        self._folder.mkdir(exist_ok=True)
        for left_over in self._folder.glob(f"{BUILDING}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        number = max(self.numbers(), default=0) + 1
        folder = self._folder / f"{BUILDING}{_name(number)}"
        folder.mkdir()
        return number, folder

    def seal(self, folder: Path, manifest: Manifest) -> Release:
        """Give a built folder its manifest and its final name."""
        write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
        final = self._folder / _name(manifest.number)
        folder.rename(final)
        sync_folder(self._folder)
        return Release(final)

    def previous(self) -> int:
        """Give the newest accepted release before the current one, or raise."""
        current = self.current_number() or 0
        older = [r.number for r in self.all() if r.number < current and r.manifest.accepted]
        if not older:
            raise ReleaseNotFound(f"no accepted release before the current one in {self._space}")
        return older[-1]

    def prune(self, keep: int) -> None:
        """Remove the oldest releases, keeping the current one and `keep` others."""
        current = self.current_number()
        others = [number for number in self.numbers() if number != current]
        for number in others[: max(0, len(others) - keep)]:
            shutil.rmtree(self._folder / _name(number), ignore_errors=True)


def vectors_file(block: str) -> str:
    """Name the file of a block's vectors: raw little-endian float32, row after row."""
    return f"{block}.vectors.f32"


def rows_file(block: str) -> str:
    """Name the file of the row of each of a block's vectors: raw little-endian int64."""
    return f"{block}.rows.i64"


def index_file(block: str) -> str:
    """Name the file of a block's FAISS index."""
    return f"{block}.index.faiss"


def open_vectors(folder: Path, block: str, dim: int) -> FloatArray:
    """Map a block's vectors, shape (n_vectors, dim)."""
    path = folder / vectors_file(block)
    if path.stat().st_size == 0:
        return np.empty((0, dim), np.float32)
    return np.asarray(np.memmap(path, "<f4", "r")).reshape(-1, dim)


def open_rows(folder: Path, block: str) -> Positions:
    """Read the row of each of a block's vectors, shape (n_vectors,)."""
    return np.fromfile(folder / rows_file(block), "<i8")


def file_manifests(folder: Path, names: Sequence[str]) -> dict[str, FileManifest]:
    """Describe the files of a release."""
    return {
        name: FileManifest(bytes=(folder / name).stat().st_size, checksum=checksum(folder / name))
        for name in names
    }


def _name(number: int) -> str:
    return f"{number:06d}"

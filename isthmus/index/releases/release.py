"""Releases: immutable, numbered, published states of the indexes, one of them current."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from isthmus.durable import make_folder, put_folder, remove_folder, write_atomically
from isthmus.errors import CorruptRelease, ReleaseNotFound
from isthmus.files import checksum
from isthmus.index.ann.recipes import EXACT, recipe_named
from isthmus.index.ann.segment import Segment, SegmentVectors
from isthmus.index.catalog.snapshot import row_ids_of
from isthmus.index.releases.manifest import ROWS, Manifest, index_file, open_rows, open_vectors
from isthmus.index.settings import SpaceSettings
from isthmus.schema import CURRENT_FILE, DOMAIN, ITEM_ID, MANIFEST_FILE, RELEASES_FOLDER

BUILDING = ".building-"
NEVER_CURRENT = ".never-current"  # in a release that was accepted, until it is made current


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
            self.manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise CorruptRelease(
                f"release {folder.name}: {MANIFEST_FILE} cannot be read; rebuild it with: "
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
        """Number of items in the catalog at that version."""
        return self.manifest.catalog_rows

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises
        ------
        CorruptRelease
            If a file is missing, cut off or changed; the message names it.
        """
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            try:
                intact = (
                    path.stat().st_size == expected.bytes and checksum(path) == expected.checksum
                )
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
            named_vectors={
                name: self._segment_vectors(name) for name in self.manifest.named_vectors
            },
        )

    def _segment_vectors(self, name: str) -> SegmentVectors:
        manifest = self.manifest.named_vectors[name]
        index, vectors = None, open_vectors(self.folder, name, manifest.dim)
        if manifest.recipe != EXACT:
            recipe = recipe_named(manifest.recipe)
            index = recipe.read(self.folder / index_file(name), vectors, manifest.parameters)
        return SegmentVectors(
            vectors,
            open_rows(self.folder, name),
            index,
            manifest.filter_costs,
            manifest.indexed_miss_ratio,
        )


class Releases:
    """The releases of a space.

    Parameters
    ----------
    space : Path
        Folder of the space.
    """

    def __init__(self, space: Path) -> None:
        self._space = space
        self._current = space / CURRENT_FILE  # to join the path costs as much as a stat
        self._folder = space / RELEASES_FOLDER

    def numbers(self) -> list[int]:
        """Numbers of all releases, ascending."""
        if not self._folder.exists():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def open(self, number: int) -> Release:
        """Open a release, or raise `ReleaseNotFound`."""
        if number not in self.numbers():
            available = ", ".join(map(str, self.numbers())) or "none"
            raise ReleaseNotFound(f"no release {number} in {self._space}; there are: {available}")
        return Release(self._folder / _name(number))

    def all(self) -> list[Release]:
        """Open every release whose manifest can be read, ascending."""
        releases = []
        for number in self.numbers():
            try:
                releases.append(self.open(number))
            except CorruptRelease:
                continue
        return releases

    def current_number(self) -> int | None:
        """Return the number of the current release; None before the first."""
        pending = SpaceSettings.read(self._space).pending_release
        if pending is not None:
            return pending
        try:
            return int((self._space / CURRENT_FILE).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CorruptRelease(
                f"{self._space / CURRENT_FILE} is damaged; choose one with: isthmus rollback N"
            ) from error

    def current(self) -> Release | None:
        """Open the current release."""
        number = self.current_number()
        return None if number is None else self.open(number)

    def current_stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever CURRENT is replaced, in some 2 µs; None before the first."""
        try:
            stat = self._current.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def make_current(self, number: int) -> None:
        """Make a release current, atomically and durably."""
        write_atomically(self._space / CURRENT_FILE, f"{_name(number)}\n".encode())
        self.settle()

    def settle(self) -> None:
        """Take the mark of a release that was never current off the current one."""
        current = self.current_number()
        if current is not None:
            self._mark(current).unlink(missing_ok=True)

    def begin(self) -> tuple[int, Path]:
        """Return the next number and an empty folder to build in; left-overs are removed."""
        make_folder(self._folder)
        for left_over in self._folder.glob(".*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self.settle()
        for number in self.numbers():
            if self._mark(number).exists():
                remove_folder(self._folder / _name(number))
        number = max(self.numbers(), default=0) + 1
        folder = self._folder / f"{BUILDING}{_name(number)}"
        folder.mkdir()
        return number, folder

    def seal(self, folder: Path, manifest: Manifest) -> Release:
        """Write the manifest of a built folder, and give the folder its final name.

        An accepted release is marked until it is current; `begin` removes one that never was.
        """
        if manifest.accepted:
            (folder / NEVER_CURRENT).touch()
        write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())
        final = self._folder / _name(manifest.number)
        put_folder(folder, final)
        return Release(final)

    def previous(self) -> int:
        """Return the newest accepted release before the current one, or raise `ReleaseNotFound`."""
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
            remove_folder(self._folder / _name(number))

    def _mark(self, number: int) -> Path:
        return self._folder / _name(number) / NEVER_CURRENT


def _name(number: int) -> str:
    return f"{number:06d}"

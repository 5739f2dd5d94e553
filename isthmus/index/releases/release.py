"""Releases: immutable, numbered, published states of the indexes, one of them current."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from isthmus.data.leases import VersionGone, hold, removing
from isthmus.durable import make_folder, put_folder, remove_folder, write_atomically
from isthmus.errors import CorruptRelease, ReleaseNotFound, command_in
from isthmus.files import (
    checksum,
    with_checksum,
    with_line_checksum,
    without_checksum,
    without_line_checksum,
)
from isthmus.index.ann.recipes import EXACT, recipe_named
from isthmus.index.ann.segment import Segment, SegmentVectors
from isthmus.index.catalog.snapshot import row_ids_of
from isthmus.index.releases.manifest import ROWS, Manifest, index_file, open_rows, open_vectors
from isthmus.index.settings import SpaceSettings
from isthmus.schema import (
    CURRENT_COPY,
    CURRENT_FILE,
    DOMAIN,
    ITEM_ID,
    MANIFEST_FILE,
    RECOMMENDER_FOLDER,
    RELEASES_FOLDER,
)

BUILDING = ".building-"
MAX_NUMBER = 2**62  # that a lease can be of
NEVER_CURRENT = ".never-current"  # in a release that was accepted, until it is made current
MAX_TRIES = 100  # to open the current release while another process publishes all the time


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
            values = without_checksum((folder / MANIFEST_FILE).read_bytes())
            self.manifest = Manifest.model_validate(values)
        except (OSError, ValueError) as error:  # a `ValidationError` is one
            raise CorruptRelease(
                f"release {folder.name}: {folder / MANIFEST_FILE} is missing or damaged; "
                f"{_remedy(folder)}"
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

    def keep(self) -> None:
        """Keep the release until the end of the lease scope.

        Raises
        ------
        VersionGone
            If it was removed.
        """
        if hold(self.folder.parent, self.number) and not (self.folder / MANIFEST_FILE).exists():
            raise VersionGone(f"{self.folder} is not there any more; try again")

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises
        ------
        CorruptRelease
            If a file is missing, cut off or changed; the message names it.
        """
        self._require_intact(self.damaged_files())

    def _require_intact(self, damaged: Iterator[str]) -> None:
        for name in damaged:
            raise CorruptRelease(
                f"release {self.number}: {self.folder / name} is missing or damaged; "
                f"{_remedy(self.folder)}"
            )

    def damaged_files(self, *, within: str = "", besides: str | None = None) -> Iterator[str]:
        """Yield the files that are missing, cut off or changed.

        Parameters
        ----------
        within : str, default ""
            Look only at files whose path in the release begins with this.
        besides : str, optional
            Pass over files whose path begins with this.
        """
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            if name.startswith(within) and not (besides and name.startswith(besides)):
                try:
                    size = path.stat().st_size
                    intact = size == expected.bytes and checksum(path) == expected.checksum
                except OSError:
                    intact = False
                if not intact:
                    yield name

    @cached_property
    def segment(self) -> Segment:
        """Its items and vectors, checked and memory-mapped.

        The files of the recommender are checked when that is loaded.
        """
        self._require_intact(self.damaged_files(besides=f"{RECOMMENDER_FOLDER}/"))
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
        self._current = space / CURRENT_FILE
        self._folder = space / RELEASES_FOLDER
        self._copy = self._folder / CURRENT_COPY

    def numbers(self) -> list[int]:
        """Numbers of all releases, ascending."""
        if not self._folder.exists():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def open(self, number: int) -> Release:
        """Open a release and keep it until the end of the lease scope.

        Raises
        ------
        ReleaseNotFound
            If there is none.
        CorruptRelease
            If its manifest is damaged.
        """
        if 0 < number <= MAX_NUMBER:
            hold(self._folder, number)
            try:
                return Release(self.folder_of(number))
            except CorruptRelease:
                if number in self.numbers():
                    raise
        available = ", ".join(map(str, self.numbers())) or "none"
        raise ReleaseNotFound(f"no release {number} in {self._space}; there are: {available}")

    def folder_of(self, number: int) -> Path:
        """Return the folder of a release."""
        return self._folder / _name(number)

    def all(self) -> list[Release]:
        """Open every release whose manifest can be read, ascending."""
        releases = []
        for number in self.numbers():
            with suppress(CorruptRelease, ReleaseNotFound):  # another process may remove some
                releases.append(self.open(number))
        return releases

    def current_number(self) -> int | None:
        """Return the number of the current release; None before the first.

        Raises
        ------
        CorruptRelease
            If CURRENT is damaged, or is missing although a release was current.
        """
        pending = self._pending()
        if pending is not None:
            return pending
        number = _read_current(self._current)
        if number is None and (self._current.exists() or self._copy.exists()):
            raise CorruptRelease(f"{self._current} is missing or damaged; {self._remedy()}")
        return number

    def current(self) -> Release | None:
        """Open the current release and keep it until the end of the lease scope.

        Raises
        ------
        CorruptRelease
            If CURRENT or the manifest is damaged, or the release is not there.
        """
        for _ in range(MAX_TRIES):
            number = self.current_number()
            if number is None:
                return None
            try:
                return self.open(number)
            except ReleaseNotFound:
                if number == self.current_number():  # not replaced meanwhile
                    break
        raise CorruptRelease(
            f"{self._current} names release {number}, which is not there; {self._remedy()}"
        )

    def current_stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever CURRENT is replaced, in some 2 µs; None before the first."""
        try:
            stat = os.stat(self._current)  # noqa: PTH116  # every query comes here
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def make_current(self, number: int) -> None:
        """Make a release current, atomically and durably."""
        content = with_line_checksum(_name(number))
        write_atomically(self._current, content)
        write_atomically(self._copy, content)
        self.settle()

    def settle(self) -> None:
        """Take the mark of a release that was never current off the current one."""
        with suppress(CorruptRelease):
            current = self.current_number()
            if current is not None:
                self._mark(current).unlink(missing_ok=True)

    def last_current(self) -> Release | None:
        """Open the release that is, or was last, current, as far as is known.

        Where CURRENT is missing, damaged, or names a release that is not there, it is the one that
        its copy names, or else the newest that was accepted.
        """
        accepted = {release.number: release for release in self.all() if release.manifest.accepted}
        for named in (_read_current(self._current), _read_current(self._copy)):
            if named in accepted:
                return accepted[named]
        lost = self._current.exists() or self._copy.exists()
        return accepted[max(accepted)] if lost and accepted else None

    def last_folder(self) -> Path | None:
        """Return the folder of `last_current`, also where its manifest is damaged."""
        for named in (self._pending(), _read_current(self._current), _read_current(self._copy)):
            if named in self.numbers():
                return self.folder_of(named)
        last = self.last_current()
        return None if last is None else last.folder

    def _remedy(self) -> str:
        """Return how to go on without a valid CURRENT."""
        last = self.last_current()
        publish = f"build one from the catalog with: {command_in(self._space, 'publish')}"
        if last is None:
            return publish
        rollback = command_in(self._space, f"rollback {last.number}")
        return f"go back to release {last.number} with: {rollback}, or {publish}"

    def begin(self) -> tuple[int, Path]:
        """Return the next number and an empty folder to build in; left-overs are removed."""
        make_folder(self._folder)
        for left_over in self._folder.glob(".*"):
            shutil.rmtree(left_over, ignore_errors=True)
        self.settle()
        for number in self.numbers():
            if self._mark(number).exists():
                remove_folder(self.folder_of(number))
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
        write_atomically(folder / MANIFEST_FILE, with_checksum(manifest.model_dump_json()))
        final = self.folder_of(manifest.number)
        put_folder(folder, final)
        return Release(final)

    def previous(self) -> int:
        """Return the newest accepted release before the current one, or raise `ReleaseNotFound`.

        Where CURRENT is lost, or names a release that is not there, it is `last_current`.
        """
        current = self._pending() or _read_current(self._current) or 0
        if current not in self.numbers():
            last = self.last_current()
            if last is not None:
                return last.number
        older = [r.number for r in self.all() if r.number < current and r.manifest.accepted]
        if not older:
            raise ReleaseNotFound(f"no accepted release before the current one in {self._space}")
        return older[-1]

    def prune(self, keep: int) -> None:
        """Remove the oldest releases; the current one, `keep` others and those in use stay."""
        current = self.current_number()
        others = [number for number in self.numbers() if number != current]
        with removing(self._folder, others[: max(0, len(others) - keep)]) as unused:
            for number in unused:
                remove_folder(self.folder_of(number))

    def _pending(self) -> int | None:
        """Return the release that became current with ``space.toml``, if CURRENT lags behind."""
        return SpaceSettings.read(self._space).pending_release

    def _mark(self, number: int) -> Path:
        return self.folder_of(number) / NEVER_CURRENT


def _remedy(release: Path) -> str:
    """Return what mends a damaged release."""
    space = release.parent.parent
    return (
        f"build another from the catalog with: {command_in(space, 'publish --rebuild')}, or go "
        f"back with: {command_in(space, 'rollback')}"
    )


def _read_current(path: Path) -> int | None:
    """Return the number in a file CURRENT; None where it is missing or damaged.

    A number alone, as somebody writes it by hand, has to have all its digits.
    """
    try:
        content = path.read_bytes()
        if re.fullmatch(rb"\d{6}\n?", content):
            return int(content)
        return int(without_line_checksum(content))
    except (OSError, ValueError):
        return None


def _name(number: int) -> str:
    return f"{number:06d}"

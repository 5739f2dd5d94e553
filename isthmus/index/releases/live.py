"""The live view: always what is on disk now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isthmus.encoders.stack import NamedVector
from isthmus.errors import FingerprintMismatch
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.segment import Segment, has_vector, join_segments, segment_of
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.snapshot import RowIds, Snapshot, row_ids_of
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import Mask

if TYPE_CHECKING:
    from isthmus.index.releases.release import Release
from isthmus.encoders.stack import describe_difference
from isthmus.schema import SPACE_FILE

MOST_DELTAS = 4

SETTLED_NS = 1_000_000_000  # longer than what any file system counts time in


@dataclass(frozen=True)
class Seen:
    """A view, and what was on disk when it was made.

    Attributes
    ----------
    view : View
        The view.
    release : (int, int) or None
        Stamp of the current release.
    touched : int or None
        When the catalog was last touched, if that was well before it was looked at: a version
        may come within the tick of the clock that the last one came in.
    """

    view: View
    release: tuple[int, int] | None
    touched: int | None = None


class LiveView:
    """Keeps a view up to date with the catalog and the current release.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    settings : SpaceSettings
        Its settings; a release of another encoder stack is refused, and so is every question
        once they were changed on disk.
    device : str, default "auto"
        What holds the indexes, see `choose_devices`.
    """

    def __init__(
        self,
        space: Path,
        catalog: Catalog,
        settings: SpaceSettings,
        device: str = "auto",
    ) -> None:
        self._releases = Releases(space)
        self._catalog = catalog
        self._named_vectors = settings.layout
        self._fingerprint = settings.fingerprint
        self._settings = CurrentSettings(space, settings)
        self._device = device
        if device not in ("auto", "cpu"):
            self._devices()  # an absent GPU is refused at once
        self._seen: Seen | None = None

    def now(self) -> View:
        """Give the view of this moment; where nothing changed, that costs some 10 µs.

        Raises
        ------
        CorruptRelease
            If a file of the current release is damaged.
        FingerprintMismatch
            If it was made with another encoder stack, or the space was aligned anew since it was
            opened.
        """
        self._settings.require()
        seen, stamp = self._seen, self._releases.current_stamp()
        if seen is None or seen.release != stamp:
            release = self._open_release()  # before the snapshot, which must not be older
            view = open_view(self._catalog.snapshot(), self._named_vectors, release, self._place)
            self._seen = Seen(view, stamp)
            return view
        touched = self._catalog.touched()
        if touched == seen.touched:
            return seen.view
        settled = time.time_ns() - touched > SETTLED_NS
        self._seen = Seen(self._caught_up(seen.view), stamp, touched if settled else None)
        return self._seen.view

    def _caught_up(self, view: View) -> View:
        if view.snapshot.newest_version() == view.snapshot.version:
            return view
        return advance(view, self._catalog.snapshot())

    def require_settings(self) -> None:
        """Raise `FingerprintMismatch` if the space was aligned anew since it was opened."""
        self._settings.require()

    def _place(self, segment: Segment) -> Segment:
        from isthmus.index.ann.gpu import place_segment

        return place_segment(segment, self._devices(), insist=self._device != "auto")

    def _devices(self) -> tuple[int, ...]:
        from isthmus.index.ann.gpu import choose_devices

        return choose_devices(self._device)

    def _open_release(self) -> Release | None:
        release = self._releases.current()
        if release is not None and release.manifest.fingerprint != self._fingerprint:
            raise FingerprintMismatch(
                f"release {release.number} was made with encoder stack "
                f"{release.manifest.fingerprint}, the space has {self._fingerprint}; build one "
                "with: isthmus publish"
            )
        return release


def open_view(
    snapshot: Snapshot,
    named_vectors: tuple[NamedVector, ...],
    release: Release | None,
    place: Callable[[Segment], Segment] = lambda segment: segment,
) -> View:
    """Join a release, placed on a device, with the catalog rows that are newer than it."""
    if release is None:
        return _with_changes(View(snapshot, named_vectors, None, (), ()), snapshot, 0, 0)
    base = place(release.segment)
    view = View(snapshot, named_vectors, release, (base,), (base.all_rows(),))
    return _with_changes(view, snapshot, release.catalog_version, release.catalog_rows)


def advance(view: View, snapshot: Snapshot) -> View:
    """Give the view of a later version of the catalog; costs only what has changed."""
    return _with_changes(view, snapshot, view.snapshot.version, view.snapshot.rows)


def _with_changes(view: View, snapshot: Snapshot, version: int, rows_before: int) -> View:
    touched, deltas = _read_changes(snapshot, version, view.named_vectors)
    gone = [s.mask_of(touched) for s in view.segments]
    if snapshot.rows != rows_before + snapshot.created_since(version):
        there = snapshot.row_ids()
        gone = [g | ~s.mask_of(there) for s, g in zip(view.segments, gone, strict=True)]
    alive = [_without(a, g) for a, g in zip(view.alive, gone, strict=True)]
    alive += [delta.all_rows() for delta in deltas]
    segments, alive = _with_few_deltas(view, [*view.segments, *deltas], alive)
    return View(snapshot, view.named_vectors, view.release, tuple(segments), tuple(alive))


def _read_changes(
    snapshot: Snapshot, version: int, named_vectors: Sequence[NamedVector]
) -> tuple[RowIds, list[Segment]]:
    """Give the row ids touched after a version, and a segment of those with vectors."""
    touched, parts = [np.empty(0, np.uint64)], []
    for batch in snapshot.changed_since(version, named_vectors):
        touched.append(row_ids_of(batch))
        part = segment_of(batch.filter(has_vector(batch, named_vectors)), named_vectors)
        if len(part):
            parts.append(part)
    if len(parts) > 1:
        parts = [join_segments(parts, [np.ones(len(part), bool) for part in parts])]
    return np.concatenate(touched), parts


def _with_few_deltas(
    view: View, segments: list[Segment], alive: list[Bitmap]
) -> tuple[list[Segment], list[Bitmap]]:
    """Join the deltas where they have become many."""
    first = 0 if view.release is None else 1
    if len(segments) - first <= MOST_DELTAS:
        return segments, alive
    joined = join_segments(segments[first:], [a.mask for a in alive[first:]])
    return [*segments[:first], joined], [*alive[:first], joined.all_rows()]


def _without(alive: Bitmap, gone: Mask) -> Bitmap:
    """Take rows away; the same object where there are none, so that what it knows is kept."""
    return Bitmap(alive.mask & ~gone) if (alive.mask & gone).any() else alive


class CurrentSettings:
    """Looks whether the encoders or the alignment of a space were changed since it was opened.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings when it was opened.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space, self._settings = space, settings
        self._file = space / SPACE_FILE  # to join them costs as much as to look
        self._stamp: tuple[int, int] | None = None

    def require(self) -> None:
        """Raise `FingerprintMismatch` if they were; where nothing changed, that costs some 2 µs."""
        stat = self._file.stat()
        stamp = stat.st_mtime_ns, stat.st_ino
        if stamp == self._stamp:
            return
        found = SpaceSettings.read(self._space)
        if found.fingerprint != self._settings.fingerprint:
            difference = describe_difference(self._settings.components, found.components)
            raise FingerprintMismatch(
                f"{self._space} was changed since it was opened: {difference}. Its vectors cannot "
                "be compared with those of before; open it again"
            )
        self._stamp = stamp

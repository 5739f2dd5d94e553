"""The live view: what is on disk now."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isthmus.encoders.stack import NamedVector, describe_difference
from isthmus.errors import FingerprintMismatch, command_in
from isthmus.forking import renew_lock
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.gpu import choose_devices, place_segment
from isthmus.index.ann.segment import Segment, has_vector, join_segments, segment_of
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.snapshot import RowIds, Snapshot, row_ids_of
from isthmus.index.releases.filter_results import FilterResults
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.view import View
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import Mask
from isthmus.schema import SPACE_FILE

# Who sets a list here learns the number of the release (0 for none) of each view that is used.
USED_RELEASES: ContextVar[list[int] | None] = ContextVar("used_releases", default=None)
MAX_DELTAS = 4  # segments; each costs every query a search of its own

_Part = tuple[Segment, Bitmap, FilterResults]  # of a view: the rows that live, cached filters


class CurrentSettings:
    """Checks whether the encoders or the alignment of a space were changed since it was opened.

    Parameters
    ----------
    space : Path
        Folder of the space.
    settings : SpaceSettings
        Its settings when it was opened.
    """

    def __init__(self, space: Path, settings: SpaceSettings) -> None:
        self._space, self._settings = space, settings
        self._file = str(space / SPACE_FILE)
        self._stamp: tuple[int, int] | None = None

    def require(self) -> None:
        """Raise `FingerprintMismatch` if they were changed; costs some 2 µs if they were not."""
        stat = os.stat(self._file)  # noqa: PTH116  # every query comes here
        stamp = stat.st_mtime_ns, stat.st_ino
        if stamp == self._stamp:
            return
        current = SpaceSettings.read(self._space)
        if current.fingerprint != self._settings.fingerprint:
            difference = describe_difference(self._settings.components, current.components)
            raise FingerprintMismatch(
                f"{self._space} was changed since it was opened: {difference}. Its vectors cannot "
                "be compared with those of before; open it again"
            )
        self._stamp = stamp


@dataclass(frozen=True)
class _Seen:
    """A view, and what was on disk when it was made.

    Attributes
    ----------
    view : View
        The view.
    release : (int, int) or None
        Stamp of the current release.
    """

    view: View
    release: tuple[int, int] | None


class LiveView:
    """Keeps a view up to date with the catalog and the current release.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    settings : SpaceSettings
        Its settings; a release of another encoder stack is refused, and so is every query
        after they were changed on disk.
    device : str, default "auto"
        The device that holds the indexes, see `choose_devices`.
    """

    def __init__(
        self,
        space: Path,
        catalog: Catalog,
        settings: SpaceSettings,
        device: str = "auto",
    ) -> None:
        self._space, self._releases = space, Releases(space)
        self._catalog = catalog
        self._named_vectors = settings.layout
        self._fingerprint = settings.fingerprint
        self._settings = CurrentSettings(space, settings)
        self._device = device
        if device not in ("auto", "cpu"):
            self._devices()  # an absent GPU is refused at once
        self._seen: _Seen | None = None
        self._lock = threading.Lock()
        renew_lock(self)

    def now(self) -> View:
        """Return the current view; costs some 5 µs where nothing changed.

        Its vectors are in memory or mapped, so nobody can take them away. Who reads anything else
        of it keeps it, see `View.keep`.

        Raises
        ------
        CorruptRelease
            If a file of the current release is damaged.
        FingerprintMismatch
            If it was made with another encoder stack, or the space was aligned anew since it was
            opened.
        """
        view = self._now()
        used = USED_RELEASES.get()
        if used is not None:
            used.append(view.release_number)
        return view

    def _now(self) -> View:
        self._settings.require()
        seen = self._seen
        if seen is not None and self._is_current(seen):
            return seen.view
        with self._lock:  # of several threads, one makes the view
            return self._made()

    def _made(self) -> View:
        seen, stamp = self._seen, self._releases.current_stamp()
        if seen is None or seen.release != stamp:
            release = self._open_release()  # before the snapshot, which must not be older
            view = open_view(self._catalog.snapshot(), self._named_vectors, release, self._place)
            self._seen = _Seen(view, stamp)
            return view
        if not seen.view.snapshot.stamp.is_newest():
            seen = self._seen = _Seen(self._updated(seen.view), stamp)
        return seen.view

    def is_current(self) -> bool:
        """Return whether the next query finds its view made, some 5 µs."""
        return self._is_current(self._seen)

    def _is_current(self, seen: _Seen | None) -> bool:
        return (
            seen is not None
            and seen.release == self._releases.current_stamp()
            and seen.view.snapshot.stamp.is_newest()
        )

    def reopened(self) -> View:
        """Open the space anew, where what a view was made of is not there any more."""
        self._seen = None
        return self.now()

    def _updated(self, view: View) -> View:
        """Return the view of the catalog that is on disk now."""
        snapshot, former = self._catalog.snapshot(), view.snapshot
        if snapshot.table == former.table and snapshot.version >= former.version:
            return apply_delta(view, snapshot)
        # Another space was put in the place of this one, or an older version was restored.
        return open_view(snapshot, self._named_vectors, self._open_release(), self._place)

    def require_settings(self) -> None:
        """Raise `FingerprintMismatch` if the space was aligned anew since it was opened."""
        self._settings.require()

    def _place(self, segment: Segment) -> Segment:
        return place_segment(segment, self._devices(), required=self._device != "auto")

    def _devices(self) -> tuple[int, ...]:
        return choose_devices(self._device)

    def _open_release(self) -> Release | None:
        release = self._releases.current()
        if release is not None and release.manifest.fingerprint != self._fingerprint:
            raise FingerprintMismatch(
                f"release {release.number} was made with encoder stack "
                f"{release.manifest.fingerprint}, the space has {self._fingerprint}; build one "
                f"with: {command_in(self._space, 'publish')}"
            )
        return release


def open_view(
    snapshot: Snapshot,
    named_vectors: tuple[NamedVector, ...],
    release: Release | None,
    place: Callable[[Segment], Segment] = lambda segment: segment,
) -> View:
    """Return a view of a release, placed on a device, and the catalog rows that are newer."""
    if release is None:
        return _with_changes(View(snapshot, named_vectors, None, (), ()), snapshot, 0, 0)
    base = place(release.segment)
    view = View(snapshot, named_vectors, release, (base,), (base.all_rows(),))
    return _with_changes(view, snapshot, release.catalog_version, release.catalog_rows)


def apply_delta(view: View, snapshot: Snapshot) -> View:
    """Return the view of a later version of the catalog; the cost is that of the changes."""
    return _with_changes(view, snapshot, view.snapshot.version, view.snapshot.rows)


def _with_changes(view: View, snapshot: Snapshot, version: int, rows_before: int) -> View:
    touched, deltas = _read_changes(snapshot, version, view.named_vectors)
    replaced = [s.mask_of(touched) for s in view.segments]
    if snapshot.rows != rows_before + snapshot.created_since(version):
        # Fewer rows than were there and created since: some were deleted.
        existing = snapshot.row_ids()
        replaced = [r | ~s.mask_of(existing) for s, r in zip(view.segments, replaced, strict=True)]
    alive = [_without(a, r) for a, r in zip(view.alive, replaced, strict=True)]
    patched = snapshot.patched_since(version)
    results = [
        _results_after(r, s.mask_of(patched))
        for s, r in zip(view.segments, view.filter_results, strict=True)
    ]
    parts = list(zip(view.segments, alive, results, strict=True))
    parts += [(delta, delta.all_rows(), FilterResults()) for delta in deltas]
    parts = _merge_deltas(view, parts)
    return View(
        snapshot,
        view.named_vectors,
        view.release,
        segments=tuple(segment for segment, _, _ in parts),
        alive=tuple(bitmap for _, bitmap, _ in parts),
        filter_results=tuple(results for _, _, results in parts),
    )


def _results_after(results: FilterResults, patched: Mask) -> FilterResults:
    """Return the results of filters after attributes of some rows changed."""
    return FilterResults(results, patched) if patched.any() else results


def _read_changes(
    snapshot: Snapshot, version: int, named_vectors: Sequence[NamedVector]
) -> tuple[RowIds, list[Segment]]:
    """Return the row ids changed after a version, and a segment of those with vectors."""
    touched, parts = [np.empty(0, np.uint64)], []
    for batch in snapshot.changed_since(version, named_vectors):
        touched.append(row_ids_of(batch))
        part = segment_of(batch.filter(has_vector(batch, named_vectors)), named_vectors)
        if len(part):
            parts.append(part)
    if len(parts) > 1:
        parts = [join_segments(parts, [np.ones(len(part), bool) for part in parts])]
    return np.concatenate(touched), parts


def _merge_deltas(view: View, parts: list[_Part]) -> list[_Part]:
    """Merge the delta segments into one if there are more than `MAX_DELTAS`."""
    first = 0 if view.release is None else 1
    deltas = parts[first:]
    if len(deltas) <= MAX_DELTAS:
        return parts
    joined = join_segments([part[0] for part in deltas], [part[1].mask for part in deltas])
    return [*parts[:first], (joined, joined.all_rows(), FilterResults())]


def _without(alive: Bitmap, removed: Mask) -> Bitmap:
    """Remove rows; the same object is returned if there are none, which keeps its caches."""
    return Bitmap(alive.mask & ~removed) if (alive.mask & removed).any() else alive

"""How a view comes about: a release, and what has changed in the catalog since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from isthmus.encoders.stack import NamedVector
from isthmus.index.ann.bitmap import Allowed
from isthmus.index.ann.exact import Mask
from isthmus.index.ann.segment import Segment, has_vector, join_segments, segment_of
from isthmus.index.catalog.snapshot import RowIds, Snapshot, row_ids_of
from isthmus.index.releases.view import View

if TYPE_CHECKING:
    from isthmus.index.releases.release import Release

MOST_DELTAS = 4


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
    view: View, segments: list[Segment], alive: list[Allowed]
) -> tuple[list[Segment], list[Allowed]]:
    """Join the deltas where they have become many."""
    first = 0 if view.release is None else 1
    if len(segments) - first <= MOST_DELTAS:
        return segments, alive
    joined = join_segments(segments[first:], [a.mask for a in alive[first:]])
    return [*segments[:first], joined], [*alive[:first], joined.all_rows()]


def _without(alive: Allowed, gone: Mask) -> Allowed:
    """Take rows away; the same object where there are none, so that what it knows is kept."""
    return Allowed(alive.mask & ~gone) if (alive.mask & gone).any() else alive

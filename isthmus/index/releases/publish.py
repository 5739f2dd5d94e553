"""Publishing: build a release of the catalog, check it, and make it current if it passes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from isthmus.encoders.stack import NamedVector
from isthmus.errors import (
    CorruptRelease,
    InvalidInput,
    ReleaseNotFound,
    ReleaseRejected,
    command_in,
)
from isthmus.index.ann.gpu import Devices, exact_on
from isthmus.index.ann.recipes import is_exhaustive
from isthmus.index.ann.segment import Segment, SegmentVectors, dense, has_vector, segment_of
from isthmus.index.catalog.snapshot import Snapshot, row_ids_of
from isthmus.index.releases.build import MIN_PLANNED_ROWS, IndexBuilder, plan_index
from isthmus.index.releases.manifest import (
    ROWS,
    Manifest,
    VectorManifest,
    file_manifests,
    index_file,
    open_rows,
    open_vectors,
    rows_file,
    vectors_file,
)
from isthmus.index.releases.plan import Plan
from isthmus.index.releases.recall import QUERIES, QuerySampler, make_recall_tests
from isthmus.index.releases.release import Release, Releases
from isthmus.index.releases.release_check import shortfalls, widen_to_target
from isthmus.index.releases.shorter_vectors import ShorterVectors, measure_shorter
from isthmus.index.releases.view import View
from isthmus.index.settings import IndexSettings, Targets
from isthmus.privacy.guarantee import Guarantee
from isthmus.progress import progress_bar
from isthmus.schema import DOMAIN, ITEM_ID, ROW_ID

Switch = Callable[[int | None], None]  # takes the number of the release that becomes current

CHECK_SEED = 7  # other queries than those that the indexes were tuned with
EXACT_QUERIES = 0  # of exact search only the fewest queries are checked: it misses nothing


class Attachment(Protocol):
    """A part of a release beside its indexes, versioned and checked with them."""

    def write(self, folder: Path, view: View) -> list[str]:
        """Write files into the folder of a release, and return their names; `view` is its items."""
        ...

    def shortfalls(self) -> list[str]:
        """Return why the release must not become current; empty where it may."""
        ...

    def guarantee(self) -> Guarantee | None:
        """Return the privacy that users have in this part; None where it promises none."""
        ...


class Attachments:
    """Several attachments as one.

    Parameters
    ----------
    parts : sequence of Attachment
        The attachments.
    """

    def __init__(self, parts: Sequence[Attachment]) -> None:
        self._parts = tuple(parts)

    def write(self, folder: Path, view: View) -> list[str]:
        """Write the files of all attachments, and return their names."""
        return [name for part in self._parts for name in part.write(folder, view)]

    def shortfalls(self) -> list[str]:
        """Return why the release must not become current."""
        return [reason for part in self._parts for reason in part.shortfalls()]

    def guarantee(self) -> Guarantee | None:
        """Return the privacy that users have in the part that promises it."""
        return next((found for part in self._parts if (found := part.guarantee())), None)


class Publisher:
    """Builds releases and moves CURRENT; the caller holds the lock of the releases.

    Parameters
    ----------
    space : Path
        Folder of the space.
    named_vectors : tuple of NamedVector
        The named vectors of its items.
    fingerprint : str
        Fingerprint of its encoder stack.
    settings : IndexSettings
        Targets and limits.
    queries_of : callable
        Returns recall queries, see `make_recall_tests`.
    devices : tuple of int
        GPUs to measure on; empty for the CPU.
    attachment : Attachment, optional
        Other parts of the release.
    """

    def __init__(
        self,
        space: Path,
        named_vectors: tuple[NamedVector, ...],
        fingerprint: str,
        settings: IndexSettings,
        sample_queries: QuerySampler,
        devices: Devices = (),
        attachment: Attachment | None = None,
    ) -> None:
        self._attachment = attachment
        self._space, self._releases = space, Releases(space)
        self._named_vectors = named_vectors
        self._fingerprint = fingerprint
        self._settings = settings
        self._sample_queries = sample_queries
        self._devices = devices

    def publish(
        self,
        snapshot: Snapshot,
        *,
        retrain: bool = False,
        rebuild: bool = False,
        switch: Switch | None = None,
        progress: bool = False,
    ) -> Manifest:
        """Build a release of the catalog, and make it current if it meets its target.

        Parameters
        ----------
        snapshot : Snapshot
            The catalog.
        retrain : bool, default False
            Plan and train anew, rather than fill what the current release was trained to be.
        rebuild : bool, default False
            The same, without looking at the current release, which may be damaged.
        switch : callable, optional
            Is called with the number of the release when it is accepted, just before it becomes
            current.
        progress : bool, default False
            Whether to show bars.

        Raises
        ------
        ImpossibleTargets
            If no recipe meets the targets.
        ReleaseRejected
            If the release does not; it is kept all the same.
        """
        previous = None if retrain or rebuild else self._usable()
        with exact_on(self._devices):
            manifest = self._build(snapshot, previous, show=progress).manifest
        self._accept(manifest, switch)
        self._releases.prune(self._settings.keep_releases)
        return manifest

    def rollback(self, number: int, switch: Switch | None = None) -> int:
        """Make an earlier release current; `switch` as in `publish`."""
        chosen = self._releases.open(number)
        chosen.verify()
        self._accept(chosen.manifest, switch)
        return chosen.number

    def plan(
        self, snapshot: Snapshot, *, rows: int | None = None, progress: bool = False
    ) -> list[Plan]:
        """Measure recipes on a sample, for the catalog's own number of vectors or another."""
        segment, n_sampled = self._sampled(snapshot)
        view = View(snapshot, self._named_vectors, None, (segment,), (segment.all_rows(),))
        share = snapshot.rows / n_sampled
        measured = {b.name: len(segment.named_vectors[b.name].rows) for b in self._named_vectors}
        if max(measured.values()) <= MIN_PLANNED_ROWS:
            raise InvalidInput(
                f"{max(measured.values()):,} vectors are too few to measure index recipes with, "
                f"which takes more than {MIN_PLANNED_ROWS:,}; so few are searched exactly, and "
                "publish needs no plan for them"
            )
        return [
            plan_index(
                view,
                name,
                self._settings,
                self._sample_queries,
                rows=rows or round(count * share),
                devices=self._devices,
                progress=progress,
            )
            for name, count in measured.items()
            if count > MIN_PLANNED_ROWS
        ]

    def measure_shorter(self, snapshot: Snapshot, dims: Sequence[int]) -> list[ShorterVectors]:
        """Measure the first values of vectors, against all of them, on a sample."""
        segment, _ = self._sampled(snapshot)
        parts = ((b.name, segment.named_vectors[b.name].vectors) for b in self._named_vectors)
        return [
            one
            for name, vectors in parts
            if len(vectors)
            for one in measure_shorter(name, vectors, dims)
        ]

    def _sampled(self, snapshot: Snapshot) -> tuple[Segment, int]:
        """Return a sample of the catalog, and how many items were drawn for it."""
        sampled = snapshot.sample(self._named_vectors, self._settings.sample_rows)
        batch = sampled.combine_chunks().to_batches()[0] if len(sampled) else None
        if batch is None:
            raise InvalidInput("the space holds no items to plan with; add some first")
        sample = batch.filter(has_vector(batch, self._named_vectors))
        return segment_of(sample, self._named_vectors), len(batch)

    def _accept(self, manifest: Manifest, switch: Switch | None) -> None:
        if not manifest.accepted:
            raise ReleaseRejected(
                f"release {manifest.number} is kept but not current: "
                f"{'; '.join(_shortfalls(manifest))}. {self._remedy(manifest)}"
            )
        self._releases.settle()
        if switch is not None:
            switch(manifest.number)
        self._releases.make_current(manifest.number)

    def _remedy(self, manifest: Manifest) -> str:
        if manifest.attachment_shortfalls:
            return (
                f"Train anew with: {command_in(self._space, 'train')}, or keep what was published "
                f"with: {command_in(self._space, 'publish --keep-recommender')}"
            )
        retrain = command_in(self._space, "publish --retrain")
        return f"Lower the targets, or plan anew with: {retrain}"

    def _usable(self) -> Release | None:
        """Return the current release, if it is intact and its training may be used again."""
        try:
            current = self._releases.current()
            if current is None or current.manifest.fingerprint != self._fingerprint:
                return None
            current.verify()
        except (CorruptRelease, ReleaseNotFound):
            return None
        return current

    def _build(self, snapshot: Snapshot, previous: Release | None, *, show: bool) -> Release:
        number, folder = self._releases.begin()
        try:
            return self._build_in(folder, number, snapshot, previous, show=show)
        except BaseException:  # an interrupt too must not leave the disk full of it
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _build_in(
        self,
        folder: Path,
        number: int,
        snapshot: Snapshot,
        previous: Release | None,
        *,
        show: bool,
    ) -> Release:
        start = time.perf_counter()
        rows = _write_rows(folder, snapshot, self._named_vectors, show=show)
        view = _open(folder, snapshot, self._named_vectors)
        named_vectors: dict[str, VectorManifest] = {}
        plans: dict[str, Plan] = {}
        tests = []
        for named_vector in self._named_vectors:
            builder = IndexBuilder(
                view,
                named_vector.name,
                self._settings,
                self._sample_queries,
                previous,
                devices=self._devices,
                progress=show,
            )
            built = builder.build()
            view, named_vectors[named_vector.name] = built.view, built.manifest
            plans |= {} if built.plan is None else {named_vector.name: built.plan}
            tests += make_recall_tests(
                view,
                named_vector.name,
                self._sample_queries,
                seed=CHECK_SEED,
                queries=EXACT_QUERIES if is_exhaustive(built.manifest.recipe) else QUERIES,
            )
        view, recall = widen_to_target(view, tests, self._settings.recall)
        names = [ROWS, *_write_indexes(folder, view)]
        attached = [] if self._attachment is None else self._attachment.write(folder, view)
        problems = [] if self._attachment is None else self._attachment.shortfalls()
        names += [n for b in self._named_vectors for n in (vectors_file(b.name), rows_file(b.name))]
        manifest = Manifest(
            number=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            fingerprint=self._fingerprint,
            catalog_version=snapshot.version,
            catalog_rows=snapshot.rows,
            rows=rows,
            accepted=not (shortfalls(recall, named_vectors, self._settings.targets) or problems),
            recall_target=self._settings.recall,
            targets=self._settings.targets,
            named_vectors=_with_parameters(named_vectors, view),
            plans=plans,
            recall=recall,
            files=file_manifests(folder, [*names, *attached]),
            attached=attached,
            attachment_shortfalls=problems,
            privacy=None if self._attachment is None else self._attachment.guarantee(),
            built_s=round(time.perf_counter() - start, 1),
        )
        return self._releases.seal(folder, manifest)


def _shortfalls(manifest: Manifest) -> list[str]:
    targets = manifest.targets or Targets(recall=manifest.recall_target)
    missed = shortfalls(manifest.recall, manifest.named_vectors, targets)
    return [*missed, *manifest.attachment_shortfalls]


def _write_rows(
    folder: Path, snapshot: Snapshot, named_vectors: tuple[NamedVector, ...], *, show: bool
) -> int:
    """Stream the catalog into raw files; return the number of rows."""
    schema = pa.schema([(ROW_ID, pa.uint64()), (ITEM_ID, pa.string()), (DOMAIN, pa.string())])
    offset = 0
    files = {b.name: (folder / vectors_file(b.name)).open("wb") for b in named_vectors}
    row_files = {b.name: (folder / rows_file(b.name)).open("wb") for b in named_vectors}
    try:
        with (
            pa.ipc.new_file(str(folder / ROWS), schema) as rows,
            progress_bar("publishing", snapshot.rows, show=show) as advance,
        ):
            for batch in snapshot.searchable(named_vectors):
                kept = batch.filter(has_vector(batch, named_vectors))
                rows.write_batch(kept.select(schema.names).cast(schema))
                for named_vector in named_vectors:
                    vectors, positions = dense(kept.column(named_vector.column), named_vector.dim)
                    vectors.astype("<f4", copy=False).tofile(files[named_vector.name])
                    (positions + offset).astype("<i8").tofile(row_files[named_vector.name])
                offset += len(kept)
                advance(len(kept))
    finally:
        for file in (*files.values(), *row_files.values()):
            file.close()
    return offset


def _open(folder: Path, snapshot: Snapshot, named_vectors: tuple[NamedVector, ...]) -> View:
    """Open the written rows and vectors, without indexes."""
    with pa.memory_map(str(folder / ROWS)) as file:
        table = pa.ipc.open_file(file).read_all()
    segment = Segment(
        row_ids_of(table),
        table.column(ITEM_ID).combine_chunks(),
        table.column(DOMAIN).combine_chunks().dictionary_encode(),
        {
            named_vector.name: SegmentVectors(
                open_vectors(folder, named_vector.name, named_vector.dim),
                open_rows(folder, named_vector.name),
            )
            for named_vector in named_vectors
        },
    )
    return View(snapshot, named_vectors, None, (segment,), (segment.all_rows(),))


def _write_indexes(folder: Path, view: View) -> list[str]:
    """Write the FAISS indexes; return the names of their files."""
    names = []
    for name, vectors in view.segments[0].named_vectors.items():
        if vectors.index is not None and not vectors.index.in_memory.is_exact:
            vectors.index.write(folder / index_file(name))
            names.append(index_file(name))
    return names


def _with_parameters(
    named_vectors: dict[str, VectorManifest], view: View
) -> dict[str, VectorManifest]:
    """Record the search parameters and filter costs that the release check settled on."""
    settled = {}
    for name, manifest in named_vectors.items():
        vectors = view.segments[0].named_vectors[name]
        settled[name] = manifest
        if vectors.index is not None:
            update = {
                "parameters": vectors.index.parameters,
                "filter_costs": vectors.filter_costs,
            }
            settled[name] = manifest.model_copy(update=update)
    return settled

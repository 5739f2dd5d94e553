"""Publishing: build a release from the catalog, measure it, and make it current if it is good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from isthmus.columns import DOMAIN, ITEM_ID, ROW_ID, vector_column
from isthmus.encoders.stack import Block
from isthmus.errors import ReleaseRejected
from isthmus.index.catalog import Snapshot
from isthmus.index.ivf import IvfIndex
from isthmus.index.recall import QueriesOf, measure_recall
from isthmus.index.release import (
    ROWS,
    BlockManifest,
    Manifest,
    RecallRow,
    Release,
    Releases,
    block_manifest,
    file_manifests,
    index_file,
    open_rows,
    open_vectors,
    rows_file,
    vectors_file,
)
from isthmus.index.segment import Segment, SegmentBlock, dense, has_vector
from isthmus.index.settings import IndexSettings
from isthmus.index.view import View
from isthmus.progress import progress_bar


class Publisher:
    """Builds releases and moves CURRENT; the caller holds the lock of the releases.

    Parameters
    ----------
    space : Path
        Folder of the space.
    blocks : tuple of Block
        The blocks of its item vectors.
    fingerprint : str
        Fingerprint of its encoder stack.
    settings : IndexSettings
        Recall target and recipe.
    queries_of : callable
        Kinds of query to measure, see `measure_recall`.
    """

    def __init__(
        self,
        space: Path,
        blocks: tuple[Block, ...],
        fingerprint: str,
        settings: IndexSettings,
        queries_of: QueriesOf,
    ) -> None:
        self._releases = Releases(space)
        self._blocks = blocks
        self._fingerprint = fingerprint
        self._settings = settings
        self._queries_of = queries_of

    def publish(self, snapshot: Snapshot, *, progress: bool = False) -> Manifest:
        """Build a release of the catalog, and make it current if it meets its target.

        Raises
        ------
        ReleaseRejected
            If it does not; it is kept all the same.
        """
        manifest = self._build(snapshot, show=progress).manifest
        self._accept(manifest)
        self._releases.prune(self._settings.keep_releases)
        return manifest

    def rollback(self, number: int | None) -> int:
        """Make an earlier release current: this one, or the newest accepted before the current."""
        chosen = self._releases.open(self._releases.previous() if number is None else number)
        chosen.verify()
        self._accept(chosen.manifest)
        return chosen.number

    def _accept(self, manifest: Manifest) -> None:
        if not manifest.accepted:
            worst = min(manifest.recall, key=lambda row: row.recall)
            raise ReleaseRejected(
                f"release {manifest.number} is kept but not current: recall@10 of {worst.kind} in "
                f"{worst.domain} is {worst.recall:.3f}, under {manifest.recall_target:g}; lower "
                "the target with --recall, or raise exact_rows in space.toml"
            )
        self._releases.make_current(manifest.number)

    def _build(self, snapshot: Snapshot, *, show: bool) -> Release:
        number, folder = self._releases.begin()
        rows = _write_rows(folder, snapshot, self._blocks, show=show)
        view, recall = _index(folder, snapshot, self._blocks, self._settings, self._queries_of)
        worst = min((row.recall for row in recall), default=1.0)
        names = [ROWS, *_write_indexes(folder, view)]
        names += [n for b in self._blocks for n in (vectors_file(b.name), rows_file(b.name))]
        manifest = Manifest(
            number=number,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            fingerprint=self._fingerprint,
            catalog_version=snapshot.version,
            catalog_rows=snapshot.rows,
            rows=rows,
            accepted=worst >= self._settings.recall,
            recall_target=self._settings.recall,
            blocks=_describe(view),
            recall=recall,
            files=file_manifests(folder, names),
        )
        return self._releases.seal(folder, manifest)


def _write_rows(folder: Path, snapshot: Snapshot, blocks: tuple[Block, ...], *, show: bool) -> int:
    """Stream the catalog into raw files; give the number of rows."""
    schema = pa.schema([(ROW_ID, pa.uint64()), (ITEM_ID, pa.string()), (DOMAIN, pa.string())])
    written = 0
    files = {b.name: (folder / vectors_file(b.name)).open("wb") for b in blocks}
    places = {b.name: (folder / rows_file(b.name)).open("wb") for b in blocks}
    try:
        with (
            pa.ipc.new_file(str(folder / ROWS), schema) as rows,
            progress_bar("publishing", snapshot.rows, show=show) as advance,
        ):
            for batch in snapshot.searchable(blocks):
                kept = batch.filter(has_vector(batch, blocks))
                rows.write_batch(kept.select(schema.names).cast(schema))
                for block in blocks:
                    vectors, at = dense(kept.column(vector_column(block.name)), block.dim)
                    vectors.astype("<f4", copy=False).tofile(files[block.name])
                    (at + written).astype("<i8").tofile(places[block.name])
                written += len(kept)
                advance(len(kept))
    finally:
        for file in (*files.values(), *places.values()):
            file.close()
    return written


def _index(
    folder: Path,
    snapshot: Snapshot,
    blocks: tuple[Block, ...],
    settings: IndexSettings,
    queries_of: QueriesOf,
) -> tuple[View, list[RecallRow]]:
    """Index large blocks, and visit more cells until every recall meets the target."""
    with pa.memory_map(str(folder / ROWS)) as file:
        table = pa.ipc.open_file(file).read_all()
    parts = {}
    for block in blocks:
        vectors = open_vectors(folder, block.name, block.dim)
        index = IvfIndex.build(vectors) if len(vectors) > settings.exact_rows else None
        parts[block.name] = SegmentBlock(vectors, open_rows(folder, block.name), index)
    segment = Segment(
        np.asarray(table.column(ROW_ID).to_numpy(), np.uint64),
        table.column(ITEM_ID).combine_chunks(),
        table.column(DOMAIN).combine_chunks().dictionary_encode(),
        parts,
    )
    alive = (np.ones(len(segment), bool),)
    while True:
        view = View(snapshot, blocks, None, (segment,), alive)
        recall = measure_recall(view, queries_of)
        wider = _visit_more(segment, recall, settings.recall)
        if wider is segment:
            return view, recall
        segment = wider


def _visit_more(segment: Segment, recall: list[RecallRow], target: float) -> Segment:
    """Double the visited cells of each block that falls short, as far as there are cells."""
    wider = {}
    for name in {row.block for row in recall if row.recall < target}:
        block = segment.blocks[name]
        if block.index is not None and block.index.lists < block.index.cells:
            index = block.index.visiting(2 * block.index.lists)
            wider[name] = replace(block, index=index)
    return replace(segment, blocks={**segment.blocks, **wider}) if wider else segment


def _write_indexes(folder: Path, view: View) -> list[str]:
    names = []
    for name, block in view.segments[0].blocks.items():
        if block.index is not None:
            block.index.write(folder / index_file(name))
            names.append(index_file(name))
    return names


def _describe(view: View) -> dict[str, BlockManifest]:
    built = view.segments[0].blocks
    return {
        block.name: block_manifest(block, len(built[block.name].rows), built[block.name].index)
        for block in view.blocks
    }

"""Other named vectors for a space: vectors made anew out of the caches, and nothing encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.digests import DigestIndex, digest, keys_of
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import MaskedVectors, fuse
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.alignments import store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    as_column,
    batched,
    open_embedding_cache,
    open_embedding_caches,
    stored_vectors,
)
from isthmus.index.catalog.ingest import COMMIT_ROWS
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar
from isthmus.schema import (
    CONTENT_HASH,
    ITEM_ID,
    MODALITY_MASK,
    VECTORS_FILE,
    Modality,
    modality_bit,
)


def realign(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    *,
    progress: bool = False,
) -> SpaceSettings:
    """Give a space another alignment, or none; the caller holds the catalog's lock.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog.
    settings : SpaceSettings
        Its settings.
    alignment : Alignment or None
        The alignment.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    SpaceSettings
        The settings that it has now.
    """
    changed = settings.with_alignment(alignment)
    if alignment is not None and changed.alignment != settings.alignment:
        store_alignment(space, alignment)
    return relay(space, catalog, settings, changed, alignment, progress=progress)


def relay(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    changed: SpaceSettings,
    alignment: Alignment | None,
    *,
    progress: bool = False,
) -> SpaceSettings:
    """Give a space other settings of its named vectors, and the vectors that they ask for.

    The vectors stand in columns of their own before ``space.toml`` names them, so a crash leaves
    the space as it was or as it is to be. Columns that it no longer names are dropped at the end.
    The caller holds the catalog's lock.

    Parameters
    ----------
    space, catalog, settings, progress
        As for `realign`.
    changed : SpaceSettings
        The settings of the same encoders that it is to have.
    alignment : Alignment or None
        The alignment that these name.

    Returns
    -------
    SpaceSettings
        The settings that it has now.
    """
    make_vectors(space, catalog, settings, changed, alignment, progress=progress)
    switch_vectors(space, catalog, changed)
    return changed


def make_vectors(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    changed: SpaceSettings,
    alignment: Alignment | None,
    *,
    progress: bool = False,
) -> None:
    """Put the vectors that other settings ask for beside those that are there, see `relay`."""
    there = {named_vector.column for named_vector in settings.layout}
    for named_vector in changed.layout:
        if named_vector.column not in there:
            _compute(space, catalog, changed, alignment, named_vector, show=progress)


def switch_vectors(space: Path, catalog: Catalog, changed: SpaceSettings) -> None:
    """Give a space other settings, and drop the vectors that these do not name."""
    changed.write(space)
    drop_unnamed(catalog, changed)


def drop_unnamed(catalog: Catalog, settings: SpaceSettings) -> None:
    """Drop the vectors that the settings of a space do not name."""
    named = {named_vector.column for named_vector in settings.layout}
    catalog.drop_vectors([name for name in catalog.vector_columns() if name not in named])


def _compute(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    named_vector: NamedVector,
    *,
    show: bool,
) -> None:
    file = space / VECTORS_FILE
    try:
        made = _write(file, space, catalog.snapshot(), settings, alignment, named_vector, show=show)
        catalog.compute_vectors(named_vector, [ITEM_ID], made.column)
    finally:
        file.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Made:
    """Vectors of all items in a named vector, in a file, by item id."""

    places: DigestIndex
    vectors: FloatArray
    present: npt.NDArray[np.bool_]

    def column(self, batch: pa.RecordBatch) -> pa.ListArray:
        at = self.places.find(keys_of(map(digest, batch.column(ITEM_ID).to_pylist())))
        return as_column(MaskedVectors(self.vectors[at], self.present[at]))


def _write(
    file: Path,
    space: Path,
    snapshot: Snapshot,
    settings: SpaceSettings,
    alignment: Alignment | None,
    named_vector: NamedVector,
    *,
    show: bool,
) -> _Made:
    """Fuse the vectors that the caches hold for every item, into a raw file of float32."""
    caches = {m: open_embedding_cache(space, settings, m) for m in named_vector.modalities}
    hashes = [CONTENT_HASH[modality] for modality in named_vector.modalities]
    keys, present = [], []
    with (
        file.open("wb") as out,
        progress_bar(
            f"making named vector {named_vector.name}", snapshot.rows, show=show
        ) as advance,
    ):
        for batch in snapshot.batches([ITEM_ID, *hashes]):
            parts = {
                modality: stored_vectors(cache, batch.column(CONTENT_HASH[modality]).to_pylist())
                for modality, cache in caches.items()
            }
            fused = fuse([named_vector], settings.weights, parts, alignment)[named_vector.name]
            np.where(fused.present[:, None], fused.vectors, 0).astype("<f4").tofile(out)
            keys.append(keys_of(map(digest, batch.column(ITEM_ID).to_pylist())))
            present.append(fused.present)
            advance(len(batch))
    vectors = np.empty((0, named_vector.dim), np.float32)
    if keys:
        vectors = np.asarray(np.memmap(file, "<f4", "r")).reshape(-1, named_vector.dim)
    index = DigestIndex(np.concatenate([*keys, np.empty(0, np.uint64)]))
    return _Made(index, vectors, np.concatenate([*present, np.empty(0, bool)]))


def catch_up(
    space: Path,
    catalog: Catalog,
    item_ids: Sequence[str],
    settings: SpaceSettings,
    alignment: Alignment | None,
) -> None:
    """Give items their vectors in the named vectors of other settings, beside those that they have.

    What is in no cache is absent. The caller holds the catalog's lock.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog, with columns for these named vectors.
    item_ids : sequence of str
        The items.
    settings : SpaceSettings
        The settings that the space is to have.
    alignment : Alignment or None
        The alignment that these name.
    """
    if not item_ids:
        return
    caches = open_embedding_caches(space, settings)
    snapshot = catalog.snapshot()
    for part in batched(item_ids, COMMIT_ROWS):
        items = snapshot.find(part, snapshot.columns)
        parts: dict[Modality, MaskedVectors] = {
            modality: stored_vectors(cache, items.column(CONTENT_HASH[modality]).to_pylist())
            for modality, cache in caches.items()
        }
        fused = fuse(settings.layout, settings.weights, parts, alignment)
        for named_vector in settings.layout:
            items = items.drop_columns([named_vector.column])
            items = items.append_column(named_vector.column, as_column(fused[named_vector.name]))
        catalog.write(items.slice(0, 0), items)


def wrongly_masked(space: Path, snapshot: Snapshot, settings: SpaceSettings) -> list[str]:
    """Give the items whose mask names other modalities than those that have a vector now."""
    caches = open_embedding_caches(space, settings)
    columns = [CONTENT_HASH[modality] for modality in caches]
    found: list[str] = []
    for batch in snapshot.batches([ITEM_ID, MODALITY_MASK, *columns]):
        hashes = {m: batch.column(CONTENT_HASH[m]).to_pylist() for m in caches}
        masks = _masks({m: _known(caches[m], own) for m, own in hashes.items()})
        differs = masks != batch.column(MODALITY_MASK).to_numpy(zero_copy_only=False)
        ids = batch.column(ITEM_ID).to_pylist()
        found += [ids[row] for row in np.flatnonzero(differs)]
    return found


def _known(cache: EmbeddingCache, hashes: Sequence[bytes | None]) -> npt.NDArray[np.bool_]:
    """Tell which contents are there and in the cache."""
    there = np.array([h is not None for h in hashes], bool)
    if there.any():
        there[there] = cache.contains([h for h in hashes if h is not None])
    return there


def _masks(known: Mapping[Modality, npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    masks = [own * np.uint8(modality_bit(modality)) for modality, own in known.items()]
    joined: npt.NDArray[np.uint8] = np.bitwise_or.reduce(masks)
    return joined

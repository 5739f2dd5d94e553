"""Columns of vectors, computed from the embedding caches.

They are computed when the weights, the alignment or the encoders change; nothing is encoded. A
changed named vector gets a new column beside the old one. Then ``space.toml`` is replaced, and the
columns that it no longer names are dropped. So a crash leaves the space as it was before, or as it
is after the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from isthmus.digests import DigestIndex, digest, keys_of
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import MaskedVectors, fuse
from isthmus.encoders.stack import NamedVector
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    batched,
    lookup_vectors,
    open_embedding_cache,
    open_embedding_caches,
    to_list_column,
)
from isthmus.index.catalog.ingest import COMMIT_ROWS
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.settings import SpaceSettings
from isthmus.numerics.arrays import FloatArray, Mask
from isthmus.progress import progress_bar
from isthmus.schema import (
    CONTENT_HASH,
    GIVEN_BIT,
    ITEM_ID,
    MODALITY_MASK,
    VECTORS_FILE,
    Modality,
    modality_bit,
)


def add_missing_columns(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    changed: SpaceSettings,
    alignment: Alignment | None,
    *,
    progress: bool = False,
) -> None:
    """Add the columns that the changed settings name and the present ones do not, computed."""
    present = {named_vector.column for named_vector in settings.layout}
    for named_vector in changed.layout:
        if named_vector.column not in present:
            _add_column(space, catalog, changed, alignment, named_vector, progress=progress)


def drop_unused_columns(catalog: Catalog, settings: SpaceSettings) -> None:
    """Drop the columns of vectors that the settings do not name."""
    used = {named_vector.column for named_vector in settings.layout}
    catalog.drop_vectors([name for name in catalog.vector_columns() if name not in used])


def _add_column(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    named_vector: NamedVector,
    *,
    progress: bool,
) -> None:
    file = space / VECTORS_FILE
    try:
        snapshot = catalog.snapshot()
        vectors = _fuse_to_file(
            file, space, snapshot, settings, alignment, named_vector, progress=progress
        )
        catalog.compute_vectors(named_vector, [ITEM_ID], vectors.column_of)
    finally:
        file.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _FileVectors:
    """A named vector of all items, in a memory-mapped file.

    Attributes
    ----------
    index : DigestIndex
        Row of each item id.
    vectors : numpy.ndarray
        float32, shape (n_items, dim).
    present : numpy.ndarray
        bool, shape (n_items,): items that have a vector.
    """

    index: DigestIndex
    vectors: FloatArray
    present: Mask

    def column_of(self, batch: pa.RecordBatch) -> pa.ListArray:
        """Return the vectors of a batch of items."""
        rows = self.index.find(keys_of(map(digest, batch.column(ITEM_ID).to_pylist())))
        return to_list_column(MaskedVectors(self.vectors[rows], self.present[rows]))


def _fuse_to_file(
    file: Path,
    space: Path,
    snapshot: Snapshot,
    settings: SpaceSettings,
    alignment: Alignment | None,
    named_vector: NamedVector,
    *,
    progress: bool,
) -> _FileVectors:
    """Fuse the cached vectors of every item, into a raw file of float32.

    The file comes first because the callback of `Catalog.compute_vectors` must not read from
    Lance, and the caches are Lance tables.
    """
    caches = {m: open_embedding_cache(space, settings, m) for m in named_vector.modalities}
    hash_columns = [CONTENT_HASH[modality] for modality in named_vector.modalities]
    keys, present = [], []
    label = f"making named vector {named_vector.name}"
    with (
        file.open("wb") as out,
        progress_bar(label, snapshot.rows, show=progress) as advance,
    ):
        for batch in snapshot.batches([ITEM_ID, *hash_columns]):
            vectors = {
                modality: lookup_vectors(cache, batch.column(CONTENT_HASH[modality]).to_pylist())
                for modality, cache in caches.items()
            }
            fused = fuse([named_vector], settings.weights, vectors, alignment)[named_vector.name]
            np.where(fused.present[:, None], fused.vectors, 0).astype("<f4").tofile(out)
            keys.append(keys_of(map(digest, batch.column(ITEM_ID).to_pylist())))
            present.append(fused.present)
            advance(len(batch))
    matrix = np.empty((0, named_vector.dim), np.float32)
    if keys:
        matrix = np.asarray(np.memmap(file, "<f4", "r")).reshape(-1, named_vector.dim)
    index = DigestIndex(np.concatenate([*keys, np.empty(0, np.uint64)]))
    return _FileVectors(index, matrix, np.concatenate([*present, np.empty(0, bool)]))


def synchronise(
    space: Path,
    catalog: Catalog,
    item_ids: Sequence[str],
    settings: SpaceSettings,
    alignment: Alignment | None,
) -> None:
    """Compute the vectors of some items in the columns that the new settings name.

    Contents that are in no cache have no vector. The columns of other settings stay. The caller
    holds the catalog's lock.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog, which has the columns already.
    item_ids : sequence of str
        The items.
    settings : SpaceSettings
        The new settings.
    alignment : Alignment or None
        The alignment that these name.
    """
    if not item_ids:
        return
    caches = open_embedding_caches(space, settings)
    snapshot = catalog.snapshot()
    for part in batched(item_ids, COMMIT_ROWS):
        items = snapshot.find(part, snapshot.columns)
        vectors: dict[Modality, MaskedVectors] = {
            modality: lookup_vectors(cache, items.column(CONTENT_HASH[modality]).to_pylist())
            for modality, cache in caches.items()
        }
        fused = fuse(settings.layout, settings.weights, vectors, alignment)
        for named_vector in settings.layout:
            if named_vector.given:
                continue
            column = to_list_column(fused[named_vector.name])
            items = items.drop_columns([named_vector.column])
            items = items.append_column(named_vector.column, column)
        catalog.write(items.slice(0, 0), items)


def items_with_stale_mask(space: Path, snapshot: Snapshot, settings: SpaceSettings) -> list[str]:
    """Return the items whose modality mask does not match the contents that are cached."""
    caches = open_embedding_caches(space, settings)
    if not caches:
        return []
    columns = [CONTENT_HASH[modality] for modality in caches]
    stale: list[str] = []
    for batch in snapshot.batches([ITEM_ID, MODALITY_MASK, *columns]):
        cached = {
            modality: _is_cached(cache, batch.column(CONTENT_HASH[modality]).to_pylist())
            for modality, cache in caches.items()
        }
        stored = batch.column(MODALITY_MASK).to_numpy(zero_copy_only=False) & ~np.uint8(GIVEN_BIT)
        item_ids = batch.column(ITEM_ID).to_pylist()
        stale += [item_ids[row] for row in np.flatnonzero(_modality_masks(cached) != stored)]
    return stale


def _is_cached(cache: EmbeddingCache, hashes: Sequence[bytes | None]) -> Mask:
    """Return which items have a content that the cache has, shape (n_items,)."""
    cached = np.array([h is not None for h in hashes], bool)
    if cached.any():
        cached[cached] = cache.contains([h for h in hashes if h is not None])
    return cached


def _modality_masks(cached: Mapping[Modality, Mask]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    bits = [mask * np.uint8(modality_bit(modality)) for modality, mask in cached.items()]
    masks: np.ndarray[tuple[int], np.dtype[np.uint8]] = np.bitwise_or.reduce(bits)
    return masks

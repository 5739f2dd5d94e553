"""Items that changed while their catalog got other vectors: these, and what they are found by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isthmus.encoders.alignment import Alignment
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import BlockVectors, fuse
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.contents import batched
from isthmus.index.catalog.ingest import ROWS_A_COMMIT, open_embedding_caches
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.catalog.stored_vectors import as_column, stored_vectors
from isthmus.index.settings import SpaceSettings
from isthmus.schema import CONTENT_HASH, ITEM_ID, MODALITY_MASK, Modality, modality_bit


def catch_up(
    space: Path,
    catalog: Catalog,
    item_ids: Sequence[str],
    settings: SpaceSettings,
    alignment: Alignment | None,
) -> None:
    """Give items their vectors in the blocks of other settings, beside those that they have.

    What is in no embedding cache is absent. The caller holds the catalog's lock.

    Parameters
    ----------
    space : Path
        Folder of the space.
    catalog : Catalog
        Its catalog, with columns for these blocks.
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
    for part in batched(item_ids, ROWS_A_COMMIT):
        items = snapshot.find(part, snapshot.columns)
        parts: dict[Modality, BlockVectors] = {
            modality: stored_vectors(cache, items.column(CONTENT_HASH[modality]).to_pylist())
            for modality, cache in caches.items()
        }
        fused = fuse(settings.layout, settings.fusion, parts, alignment)
        for block in settings.layout:
            items = items.drop_columns([block.column])
            items = items.append_column(block.column, as_column(fused[block.name]))
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
    """Tell which contents are there and in the embedding cache."""
    there = np.array([h is not None for h in hashes], bool)
    if there.any():
        there[there] = cache.contains([h for h in hashes if h is not None])
    return there


def _masks(known: Mapping[Modality, npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    masks = [own * np.uint8(modality_bit(modality)) for modality, own in known.items()]
    joined: npt.NDArray[np.uint8] = np.bitwise_or.reduce(masks)
    return joined

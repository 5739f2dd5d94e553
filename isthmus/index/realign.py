"""Another alignment for a space: vectors made anew out of the ledgers, and nothing encoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from isthmus.columns import CONTENT_HASH
from isthmus.encoders.alignment.alignment import Alignment
from isthmus.encoders.fusion import fuse
from isthmus.encoders.stack import ALIGNED
from isthmus.index.alignments import store_alignment
from isthmus.index.catalog import Catalog
from isthmus.index.ingest import open_ledgers
from isthmus.index.settings import SpaceSettings
from isthmus.index.stored_vectors import as_column, stored_vectors
from isthmus.progress import progress_bar

if TYPE_CHECKING:
    from isthmus.encoders.ledger import Ledger


def realign(
    space: Path,
    catalog: Catalog,
    settings: SpaceSettings,
    alignment: Alignment | None,
    *,
    progress: bool = False,
) -> SpaceSettings:
    """Give a space another alignment, or none; the caller holds the catalog's lock.

    The vectors stand in a column of their own before ``space.toml`` names it, so a crash leaves
    the space as it was or as it is to be. Columns that it no longer names are dropped at the end.

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
    changed = settings.aligned(alignment)
    if alignment is not None and changed.alignment != settings.alignment:
        store_alignment(space, alignment)
        _compute(space, catalog, changed, alignment, show=progress)
    changed.write(space)
    named = {block.column for block in changed.layout}
    catalog.drop_vectors([name for name in catalog.vector_columns() if name not in named])
    return changed


def _compute(
    space: Path, catalog: Catalog, settings: SpaceSettings, alignment: Alignment, *, show: bool
) -> None:
    (block,) = (block for block in settings.layout if block.name == ALIGNED)
    ledgers: dict[str, Ledger] = {
        str(modality): ledger
        for modality, ledger in open_ledgers(space, settings).items()
        if modality in alignment.modalities
    }
    columns = {modality: CONTENT_HASH[modality] for modality in alignment.modalities}

    with progress_bar("aligning", catalog.snapshot().rows, show=show) as advance:

        def compute(batch: pa.RecordBatch) -> pa.Array:
            parts = {
                modality: stored_vectors(ledgers[modality], batch.column(column).to_pylist())
                for modality, column in columns.items()
            }
            fused = fuse([block], settings.fusion, parts, alignment)[block.name]
            advance(len(batch))
            return as_column(fused)

        catalog.compute_vectors(block, list(columns.values()), compute)

"""Create a space; add, read and delete its items; compact its tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from isthmus.data.item_mapping import FieldMapping
from isthmus.data.item_reader import ItemReader
from isthmus.data.media import MediaStore
from isthmus.data.paths import local_path
from isthmus.durable import make_folder, put_folder
from isthmus.encoders.alignment import resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import validated_weights
from isthmus.encoders.registry import resolve_encoders
from isthmus.encoders.stack import EncoderStack
from isthmus.errors import InvalidInput, ItemNotFound, SpaceExists
from isthmus.index.catalog.alignments import store_alignment
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.compact import CompactReport, compact
from isthmus.index.catalog.content_encoding import open_embedding_caches
from isthmus.index.catalog.ingest import AddReport, Ingest, is_small_batch
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.settings import IndexSettings, SpaceSettings, Targets
from isthmus.operations.request import CreateRequest, UpsertRequest
from isthmus.schema import DOMAIN, ITEM_ID, MODALITY_MASK, Modality, modalities_in


def create_space(request: CreateRequest) -> dict[Modality, Encoder]:
    """Create an empty space on disk, whole or not at all.

    Returns
    -------
    dict of str to Encoder
        The encoders, loaded.
    """
    path = local_path(request.path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SpaceExists(f"{path} exists already; open it, or choose another folder")
    encoders = resolve_encoders(
        request.encoder,
        request.text_encoder,
        request.image_encoder,
        request.audio_encoder,
        device=request.device,
        precision=request.precision,
    )
    weights = validated_weights(request.weights or {}, encoders)
    stack = EncoderStack(encoders, weights, resolve_alignment(request.alignment, encoders))
    settings = SpaceSettings.from_stack(
        stack, IndexSettings().with_targets(Targets().replace(recall=request.recall))
    )
    building = path.with_name(f".{path.name}.creating")
    shutil.rmtree(building, ignore_errors=True)
    make_folder(building)
    Catalog.create(building, stack.named_vectors)
    settings.write(building)
    if stack.alignment is not None:
        store_alignment(building, stack.alignment)
    put_folder(building, path)
    return stack.encoders


def upsert_items(space: OpenSpace, request: UpsertRequest, *, progress: bool = False) -> AddReport:
    """Add new items and change those that are there."""
    mapping = FieldMapping(
        request.id,
        request.domain,
        request.domain_column,
        request.text,
        request.image,
        request.audio,
        request.columns,
        request.exclude,
    )
    modalities = frozenset(m for v in space.named_vectors for m in v.modalities)
    reader = ItemReader(request.items, mapping, modalities, request.csv, request.time_unit)
    media = space.media(http=request.http)
    if request.http and not request.skip_invalid:  # before much is fetched for nothing
        known = space.catalog.snapshot().known_items(lazy=True)
        reader.check(is_known=None if request.replace else known.contains)
        reader.raise_if_invalid()
    with media.downloading(reader.media_references()), _ingesting(space, reader.rows, media) as i:
        return i.add(
            reader,
            replace=request.replace,
            skip_invalid=request.skip_invalid,
            progress=progress,
        )


def delete_items(space: OpenSpace, item_ids: Sequence[str]) -> int:
    """Delete items, and return how many there were."""
    with write_lock(space.path, "catalog", space.wait_s):
        return space.catalog.delete(item_ids)


def retry_quarantine(space: OpenSpace, *, http: bool = False) -> AddReport:
    """Encode again what could not be encoded."""
    rows = space.quarantine.rows()
    failed = sorted({row[ITEM_ID] for row in rows})
    media = space.media(http=http)
    sources = (row["source"] for row in rows)
    with media.downloading(sources), _ingesting(space, len(failed), media) as ingest:
        return ingest.retry(failed)


def get_item(space: OpenSpace, item_id: str) -> dict[str, Any]:
    """Return an item: id, domain, contents, modalities it is searchable by, attributes."""
    snapshot = space.view().snapshot
    columns = [*snapshot.item_columns, MODALITY_MASK, *snapshot.attributes.schema.names]
    rows = snapshot.find([item_id], columns).to_pylist()
    if not rows:
        raise ItemNotFound(f"no item {item_id!r} in this space")
    row = rows[0]
    mask = row.pop(MODALITY_MASK)
    attributes = snapshot.attributes.of_row(row, row[DOMAIN])
    return {**row, "modalities": modalities_in(mask), "attributes": attributes}


def compact_space(
    space: OpenSpace, keep_days: float | None, *, progress: bool = False
) -> list[CompactReport]:
    """Merge small files, and drop old versions of the tables."""
    days = space.settings.index.keep_versions_days if keep_days is None else keep_days
    if days < 0:
        raise InvalidInput(f"keep_days is {days}; give zero or more")
    with (
        write_lock(space.path, "catalog", space.wait_s),
        write_lock(space.path, "interactions", space.wait_s),
    ):
        return compact(space.path, days, progress=progress)


@contextmanager
def _ingesting(space: OpenSpace, rows: int | None, media: MediaStore) -> Iterator[Ingest]:
    """Hold the lock of the catalog for one batch job."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        lazy = is_small_batch(rows, space.catalog.snapshot().rows)
        caches = open_embedding_caches(space.path, space.settings, lazy=lazy)
        yield Ingest(
            space.catalog,
            media,
            caches,
            space.settings,
            space.encoder_of,
            space.alignment,
        )

"""Create a space; add, read and delete its items; compact its tables."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from isthmus.data.addresses import is_address
from isthmus.data.amount import Amount
from isthmus.data.id_file import read_ids
from isthmus.data.item_mapping import FieldMapping
from isthmus.data.item_reader import ItemReader
from isthmus.data.media import MediaStore, is_data_uri
from isthmus.data.paths import local_path
from isthmus.durable import make_folder, put_folder
from isthmus.encoders.alignment import AUTO, Alignment, resolve_alignment
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import validated_weights
from isthmus.encoders.registry import resolve_encoders
from isthmus.encoders.stack import EncoderStack
from isthmus.errors import InvalidInput, ItemNotFound, SpaceExists, listed
from isthmus.index.catalog.alignments import store_alignment
from isthmus.index.catalog.attributes import Attributes
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.compact import CompactReport, compact
from isthmus.index.catalog.content_encoding import open_embedding_caches
from isthmus.index.catalog.ingest import (
    AddReport,
    EncodeAhead,
    Ingest,
    WriteOptions,
    is_small_batch,
)
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.index.settings import MAX_KEEP_DAYS, IndexSettings, SpaceSettings, Targets
from isthmus.operations.given_vectors import GivenVectors, declare_vectors
from isthmus.operations.ray_encoding import encoding_on_ray
from isthmus.operations.request import (
    CreateRequest,
    DeleteRequest,
    UpdateRequest,
    UpsertRequest,
)
from isthmus.requests import is_finite, require_mapping
from isthmus.retrieval.search.request import FilterOptions
from isthmus.schema import (
    DOMAIN,
    ITEM_ID,
    MODALITIES,
    MODALITY_MASK,
    Modality,
    modalities_in,
)

LEFT_OVER_S = 60.0
NO_ENCODER = "none"


def create_space(request: CreateRequest) -> dict[Modality, Encoder]:
    """Create an empty space on disk, whole or not at all; of several at once, one creates it.

    Returns
    -------
    dict of str to Encoder
        The encoders, loaded.
    """
    path = local_path(request.path)
    if any(unicodedata.category(character) == "Cc" for character in str(path)):
        raise InvalidInput(
            f"{str(path)!r} holds a control character, which the path of a table cannot; choose "
            "another folder"
        )
    exists = SpaceExists(f"{path} exists already; open it, or choose another folder")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise exists
    encoders = _encoders_of(request)
    weights = validated_weights(request.weights or {}, encoders)
    if request.vectors is not None:
        require_mapping(request.vectors, "vectors", "lengths")
    given = dict(request.vectors or {})
    stack = EncoderStack(encoders, weights, _alignment_of(request, encoders), given)
    settings = SpaceSettings.from_stack(
        stack, IndexSettings().with_targets(Targets().replace(recall=request.recall))
    )
    try:
        with _building_folder(path) as building:
            Catalog.create(building, stack.named_vectors)
            settings.write(building)
            if stack.alignment is not None:
                store_alignment(building, stack.alignment)
            put_folder(building, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise exists from error  # another process was faster
        raise
    return stack.encoders


def _encoders_of(request: CreateRequest) -> dict[Modality, Encoder]:
    by_modality = (request.text_encoder, request.image_encoder, request.audio_encoder)
    if request.encoder in (None, NO_ENCODER) and not any(by_modality):
        if request.prompts:
            raise InvalidInput(
                "a space without encoders encodes no text, and so takes no prompt "
                "(--query-prompt, --document-prompt); name the text encoder too"
            )
        return {}
    return resolve_encoders(
        request.encoder,
        *by_modality,
        device=request.device,
        precision=request.precision,
        prompts=request.prompts,
    )


def _alignment_of(request: CreateRequest, encoders: dict[Modality, Encoder]) -> Alignment | None:
    """Return the alignment of a new space; none where given vectors replace encoded ones."""
    replaced = {*MODALITIES, *("joint",)}.intersection(request.vectors or {})
    if not replaced or not encoders:
        return resolve_alignment(request.alignment, encoders) if encoders else None
    if request.alignment not in (AUTO, None):
        raise InvalidInput(
            f"an alignment projects what its encoders make, and the vectors of "
            f"{', '.join(sorted(replaced))} are given; leave --alignment out"
        )
    return None


@contextmanager
def _building_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside a path; what is left of it at the end is removed.

    The folder is locked, so that those of processes that were killed are recognised and removed.
    """
    prefix = f".{path.name}.creating-"
    make_folder(path.parent)
    for other in path.parent.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError), _locked_folder(other):
            if time.time() - other.stat().st_mtime > LEFT_OVER_S:  # a new one is locked next
                shutil.rmtree(other)
    building = path.with_name(prefix + uuid4().hex)
    building.mkdir()
    try:
        with _locked_folder(building):
            yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def upsert_items(space: OpenSpace, request: UpsertRequest, *, progress: bool = False) -> AddReport:
    """Add new items and change those that are there."""
    if request.sync and request.domain is None:
        raise InvalidInput("sync needs the domain whose items the input has; give --domain")
    given = GivenVectors.of(space.settings, request)
    remembered = {} if request.remap else space.catalog.snapshot().mappings
    mapping = FieldMapping.of({**dict(request), "vectors": given.columns, "remembered": remembered})
    options = WriteOptions(
        replace=request.replace,
        remap=request.remap,
        sync_domain=request.domain if request.sync else None,
        max_delete=Amount.parse(request.max_delete, "max_delete"),
        skip_invalid=request.skip_invalid,
        dry_run=request.dry_run,
    )
    return _write_items(space, request, given, mapping, options, progress=progress)


def update_items(space: OpenSpace, request: UpdateRequest, *, progress: bool = False) -> AddReport:
    """Change items that are there, in the columns that the input has."""
    given = GivenVectors.of(space.settings, request)
    mapping = FieldMapping(
        id=request.id,
        domain=request.domain,
        vectors=given.columns,
        remembered=space.catalog.snapshot().mappings,
        update=True,
    )
    options = WriteOptions(update=True, skip_invalid=request.skip_invalid)
    return _write_items(space, request, given, mapping, options, progress=progress)


def _write_items(
    space: OpenSpace,
    request: UpsertRequest | UpdateRequest,
    given: GivenVectors,
    mapping: FieldMapping,
    options: WriteOptions,
    *,
    progress: bool,
) -> AddReport:
    new_dims = given.new_dims(space, request)
    reader = ItemReader(
        given.items,
        mapping,
        frozenset(space.settings.encoded_modalities),
        request,
        space.path,
        {**space.settings.given_dims, **new_dims},
    )
    if new_dims:  # nothing is declared by an input that is refused
        reader.check()
        if not options.skip_invalid:
            reader.raise_if_invalid()
        settings = space.settings.with_given(new_dims)
        if not options.dry_run:
            declare_vectors(space, settings)
    else:
        settings = space.settings
    if not space.local_files:
        _refuse_files(reader.media_references())
    media = space.media(http=request.http)
    ahead = None
    if isinstance(request, UpsertRequest) and request.engine == "ray":
        ahead = encoding_on_ray(space, request, http=request.http)
    if request.http and not options.skip_invalid:  # before much is fetched for nothing
        known = space.catalog.snapshot().known_items(lazy=True)
        reader.check(
            is_known=None if options.replace else known.contains,
            domain_of=known.domains if options.update else None,
        )
        reader.raise_if_invalid()
    with (
        media.downloading(reader.media_references()),
        _ingesting(space, reader.rows, media, settings, ahead) as ingest,
    ):
        return ingest.write(reader, options, progress=progress)


def _refuse_files(references: Iterator[str]) -> None:
    """Raise `InvalidInput` if a reference is neither a data URI nor an http(s) address."""
    for reference in references:
        if not (is_data_uri(reference) or is_address(reference)):
            raise InvalidInput(
                f"{reference[:80]!r} would be a file of the service, which reads none for callers; "
                "send the bytes as a data URI (data:image/png;base64,...), or an http(s) address"
            )


def delete_items(space: OpenSpace, request: DeleteRequest) -> int:
    """Delete items, and return how many there were."""
    named = list(request.item_ids or ())
    named += read_ids(request.file) if request.file is not None else []
    with write_lock(space.path, "catalog", space.wait_s):
        if request.selects:
            selected = item_ids(space, FilterOptions(domain=request.domain, where=request.where))
            named = sorted(set(selected).intersection(named)) if request.names else [*selected]
        return space.catalog.delete(named)


def item_ids(space: OpenSpace, options: FilterOptions) -> Iterator[str]:
    """Yield the ids of all items that a filter selects, searchable or not."""
    snapshot = space.view().snapshot
    for part in snapshot.item_ids(options.domains, options.where):
        yield from part


def retry_quarantine(space: OpenSpace, *, http: bool = False) -> AddReport:
    """Encode again what could not be encoded."""
    rows = space.quarantine.rows()
    failed = sorted({row[ITEM_ID] for row in rows})
    media = space.media(http=http)
    sources = (row["source"] for row in rows)
    with media.downloading(sources), _ingesting(space, len(failed), media) as ingest:
        return ingest.retry(failed)


def get_items(space: OpenSpace, item_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return items, in this order: id, domain, contents, modalities, attributes.

    In a space of vectors that come with the items, also the names of those that each has.
    """
    snapshot = space.view().snapshot
    attributes = snapshot.attributes
    given = {name: vector.column for name, vector in space.settings.given.items()}
    columns = [*snapshot.item_columns, MODALITY_MASK, *attributes.schema.names, *given.values()]
    rows = {row[ITEM_ID]: row for row in snapshot.find(item_ids, columns).to_pylist()}
    absent = [item_id for item_id in item_ids if item_id not in rows]
    if absent:
        what = f"no item {absent[0]!r}" if len(absent) == 1 else f"no items {listed(absent)}"
        raise ItemNotFound(f"{what} in this space", absent)
    return [to_item(rows[item_id], attributes, given) for item_id in item_ids]


def to_item(
    row: dict[str, Any], attributes: Attributes, given: Mapping[str, str]
) -> dict[str, Any]:
    """Return a row of the catalog as an item, `given` naming the columns of its own vectors."""
    contents = dict(row)
    held = {name: contents.pop(column) for name, column in given.items()}
    modalities = modalities_in(contents.pop(MODALITY_MASK))
    of_item = attributes.of_row(contents, row[DOMAIN])
    item = {**contents, "modalities": modalities, "attributes": of_item}
    if given:
        item["vectors"] = [name for name, vector in held.items() if vector is not None]
    return item


def compact_space(
    space: OpenSpace, keep_days: float | None, *, progress: bool = False
) -> list[CompactReport]:
    """Merge small files, and drop old versions of the tables."""
    days = space.settings.index.keep_versions_days if keep_days is None else keep_days
    if not is_finite(days) or not 0 <= days <= MAX_KEEP_DAYS:
        raise InvalidInput(f"keep_days is {days!r}; give a number from 0 to {MAX_KEEP_DAYS}")
    with (
        write_lock(space.path, "catalog", space.wait_s),
        write_lock(space.path, "interactions", space.wait_s),
    ):
        return compact(space.path, days, collect=True, progress=progress)


@contextmanager
def _ingesting(
    space: OpenSpace,
    rows: int | None,
    media: MediaStore,
    settings: SpaceSettings | None = None,
    encode_ahead: EncodeAhead | None = None,
) -> Iterator[Ingest]:
    """Hold the lock of the catalog for one batch job."""
    with write_lock(space.path, "catalog", space.wait_s):
        space.live.require_settings()
        lazy = is_small_batch(rows, space.catalog.snapshot().rows)
        caches = open_embedding_caches(space.path, space.settings, lazy=lazy)
        yield Ingest(
            space.catalog,
            media,
            caches,
            settings or space.settings,
            space.encoder_of,
            space.alignment,
            encode_ahead,
        )

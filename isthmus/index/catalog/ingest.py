"""Ingest: a batch job that validates items, encodes new contents and stores the items.

Contents that an embedding cache has are not encoded again. A job that was killed can be repeated:
it continues with what is not stored yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.amount import Amount
from isthmus.data.columns import Problems
from isthmus.data.domain_mapping import DomainMapping, require_agreement
from isthmus.data.item_reader import ItemReader, Placement
from isthmus.data.media import MediaStore
from isthmus.digests import DigestIndex, keys_of
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.backends.runtime import prefetch
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import fuse
from isthmus.errors import InvalidInput, InvalidMedia
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    ContentEncoder,
    EncoderOf,
    MissingContents,
    batched,
    lookup_vectors,
    to_list_column,
)
from isthmus.index.catalog.item_changes import ChangeFinder, ItemChanges, KnownItems, TextMaker
from isthmus.index.catalog.quarantine import Failure, quarantine_column
from isthmus.index.catalog.snapshot import Snapshot
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import (
    DOMAIN,
    GIVEN_BIT,
    ITEM_ID,
    MEDIA,
    MODALITY_MASK,
    QUARANTINE,
    Modality,
    modality_bit,
    vector_column,
)

EncodeAhead = Callable[[ContentEncoder, MissingContents, bool], None]

SMALL_RATIO = 20  # a batch is small if the catalog has this many times as many rows
MAX_LAZY_ROWS = 50_000
COMMIT_ROWS = 4_096
PATCH_ROWS = 262_144
READING_THREADS = 8


@dataclass
class AddReport:
    """The result of adding items.

    Attributes
    ----------
    rows_read : int
        Rows of the input: the sum of added, changed, unchanged and invalid.
    added, changed, unchanged : int
        Items that were new, that differed from the stored ones, or that were the same.
    invalid : int
        Rows left out because they are invalid.
    quarantined : int
        Items with a content that could not be read or decoded.
    encoded : dict of str to int
        Number of contents that went through a model, by modality.
    truncated : int
        Texts of these that fill the input of the encoder; what lies beyond is cut off.
    longest_truncated : int
        Characters of the longest of them.
    reencoded : int
        Items, of those changed, that have another content than before.
    deleted : int
        Items that the input no longer has (`sync`).
    unknown : list of str
        Ids of an update that no item has.
    mapping : dict of str to dict
        By domain, which columns made the id, the text and the media of its items.
    vanished : dict of str to int
        Columns that the input lacks, with the number of items that lost a value (`replace`).
    seconds : float
        Duration.
    problems : list of str
        What is wrong with each invalid row, and where it stands.
    notes : list of str
        What was found out about the input, such as the encoding of a file or an attribute whose
        type became wider.
    dry_run : bool
        Whether nothing was written; the counts are what would have been done.
    """

    rows_read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    invalid: int = 0
    quarantined: int = 0
    encoded: dict[str, int] = field(default_factory=dict)
    truncated: int = 0
    longest_truncated: int = 0
    reencoded: int = 0
    deleted: int = 0
    unknown: list[str] = field(default_factory=list)
    mapping: dict[str, dict[str, str]] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class WriteOptions:
    """What becomes of the items of an input, and of those that it does not have.

    Attributes
    ----------
    replace : bool
        What the input lacks vanishes from items that are there, rather than stays.
    update : bool
        Only items that are there are changed.
    remap : bool
        The mapping of the input replaces the remembered one.
    sync_domain : str or None
        Items of this domain that the input does not have are deleted.
    max_delete : float or int
        Most items to delete: a share of the domain below 1, or a number.
    skip_invalid : bool
        Invalid rows are left out.
    dry_run : bool
        Nothing is written.
    """

    replace: bool = False
    update: bool = False
    remap: bool = False
    sync_domain: str | None = None
    max_delete: Amount = field(default_factory=lambda: Amount(0.05))
    skip_invalid: bool = False
    dry_run: bool = False

    def rows_per_commit(self, reader: ItemReader) -> int:
        """Return how many items a commit has: many where no content can change."""
        return COMMIT_ROWS if reader.has_contents else PATCH_ROWS


class Ingest:
    """One batch job on a space; the caller holds the catalog's lock.

    Parameters
    ----------
    catalog : Catalog
        Stores the items and their failures.
    media : MediaStore
        Reads media.
    caches : dict of str to EmbeddingCache
        An embedding cache for each modality of the space.
    settings : SpaceSettings
        The named vectors and the fusion weights of the space.
    encoder_of : callable
        Returns the encoder of a modality. It is called only if something must be encoded, because
        loading an encoder takes seconds.
    alignment : Alignment, optional
        The alignment that the settings name.
    encode_ahead : callable, optional
        Encodes what the caches lack before the items are written, by other means than the models
        of this process; it takes the encoder that stores the vectors, the contents, and whether
        to show progress.
    """

    def __init__(
        self,
        catalog: Catalog,
        media: MediaStore,
        caches: dict[Modality, EmbeddingCache],
        settings: SpaceSettings,
        encoder_of: EncoderOf,
        alignment: Alignment | None = None,
        encode_ahead: EncodeAhead | None = None,
    ) -> None:
        self._alignment = alignment
        self._encode_ahead = encode_ahead
        self._catalog = catalog
        self._media = media
        self._caches = caches
        self._settings = settings
        self._encoder = ContentEncoder(caches, media, encoder_of)
        self.report = AddReport(encoded=self._encoder.encoded)

    def write(
        self, reader: ItemReader, options: WriteOptions, *, progress: bool = False
    ) -> AddReport:
        """Add items or change those that are there; encode only contents that no cache has.

        Raises
        ------
        InvalidItems
            If rows are invalid and are not to be skipped; nothing is stored then.
        InvalidMapping
            If the input contradicts the remembered mapping of a domain.
        InvalidInput
            If more items would be deleted than allowed.
        """
        snapshot = self._catalog.snapshot()
        known = snapshot.known_items(lazy=is_small_batch(reader.rows, snapshot.rows))
        with progress_bar("checking", reader.rows, show=progress) as advance:
            rows = reader.check(
                snapshot.attributes.types(),
                _DomainCheck(known),
                None if options.replace else known.contains,
                known.domains if options.update else None,
                advance,
            )
        if not options.skip_invalid:
            reader.raise_if_invalid()
        self._report_input(reader, options)
        mappings = self._agree(reader, snapshot, options)
        gone = _ids_gone(reader, snapshot, options)
        placement, new = self._place(reader, snapshot, options)
        if not (options.dry_run or options.update):
            self._catalog.remember(mappings)
        with ThreadPoolExecutor(READING_THREADS) as readers:
            finder = self._finder(known, readers, mappings, new, replace=options.replace)
            size = options.rows_per_commit(reader)
            if self._encode_ahead is not None and not options.dry_run:
                missing = self._missing_contents(reader.batches(size, placement), finder)
                self._encode_ahead(self._encoder, missing, progress)
            batches = reader.batches(size, placement)
            with progress_bar("adding", rows, show=progress) as advance:
                self._run(batches, finder, advance)
        self.report.deleted = len(gone)
        if gone and not options.dry_run:
            self._catalog.delete(gone)
        return self.report

    def _missing_contents(
        self, batches: Iterator[pa.Table], finder: ChangeFinder
    ) -> MissingContents:
        """Yield the contents that no cache has, each once."""
        seen = {m: DigestIndex(np.empty(0, np.uint64)) for m in self._caches}
        for batch in batches:
            changes = finder.find(batch)
            for modality, contents in changes.contents.items():
                missing = self._missing(modality, changes)
                keys = keys_of(missing)
                is_new = (seen[modality].find(keys) < 0).tolist()
                seen[modality].add(keys)
                new = {h: contents[h] for h, is_so in zip(missing, is_new, strict=True) if is_so}
                if new:
                    yield modality, new

    def _report_input(self, reader: ItemReader, options: WriteOptions) -> None:
        report = self.report
        report.dry_run = options.dry_run
        report.invalid = len(reader.problems)
        report.problems = reader.listed_problems()
        report.notes = reader.notes
        report.unknown = [i for row, i in reader.unknown.items() if row not in reader.problems]
        report.rows_read = report.invalid + len(report.unknown)

    def _agree(
        self, reader: ItemReader, snapshot: Snapshot, options: WriteOptions
    ) -> dict[str, DomainMapping]:
        """Return the mapping of each domain of the input, which agrees with what is remembered."""
        mappings: dict[str, DomainMapping] = {}
        for domain, used in reader.used.items():
            before = snapshot.mappings.get(domain, DomainMapping())
            if options.update:
                used = replace(used, id=None)  # any column may name the items
            if not options.remap:
                require_agreement(reader.name, domain, before, used)
            mappings[domain] = before.joined(used)
            self.report.mapping[domain] = mappings[domain].roles
        return mappings

    def _place(
        self, reader: ItemReader, snapshot: Snapshot, options: WriteOptions
    ) -> tuple[Placement, dict[str, pa.Field]]:
        """Return where the attributes go, and the columns among these that are not there yet."""
        if not options.dry_run:
            return self._catalog.place_attributes(reader.types), {}
        stored, new = snapshot.attributes.columns, dict[str, pa.Field]()
        placement: dict[str, dict[str, pa.Field]] = {}
        for domain, types in reader.types.items():
            for name, type_ in types.items():
                column = stored.get(domain, {}).get(name, f"_new_{name}")
                placement.setdefault(domain, {})[name] = placed = pa.field(column, type_)
                if column not in snapshot.columns:
                    new[column] = placed
        return placement, new

    def retry(self, item_ids: Sequence[str]) -> AddReport:
        """Encode and store items of the catalog again, whether they changed or not."""
        snapshot = self._catalog.snapshot()
        columns = snapshot.item_columns
        tables = (snapshot.find(part, columns) for part in batched(item_ids, COMMIT_ROWS))
        with ThreadPoolExecutor(READING_THREADS) as readers:
            finder = self._finder(snapshot.known_items(lazy=True), readers, {}, everything=True)
            with progress_bar("retrying", len(item_ids), show=False) as advance:
                self._run(tables, finder, advance)
        return self.report

    def _finder(
        self,
        known: KnownItems,
        readers: ThreadPoolExecutor,
        mappings: Mapping[str, DomainMapping],
        new_columns: Mapping[str, pa.Field] | None = None,
        *,
        replace: bool = False,
        everything: bool = False,
    ) -> ChangeFinder:
        snapshot = self._catalog.snapshot()
        given = [*self._settings.given.values()]
        vectors = snapshot.vector_schema(given)
        missing = {v.column for v in given} - {*vectors.names}  # of a dry run alone
        new_columns = {
            **(new_columns or {}),
            **{name: pa.field(name, pa.list_(pa.float32())) for name in missing},
        }
        return ChangeFinder(
            known,
            snapshot.fetch,
            pa.schema([*snapshot.item_schema, *vectors]),
            self._media,
            self._caches,
            readers,
            TextMaker(
                {domain: mapping.text for domain, mapping in mappings.items() if mapping.text},
                snapshot.attributes.columns,
            ),
            vectors=[vector.column for vector in given],
            new_columns=new_columns,
            replace=replace,
            everything=everything,
        )

    def _run(self, batches: Iterator[pa.Table], finder: ChangeFinder, advance: Advance) -> None:
        start = time.perf_counter()
        try:
            # The next batch is read and tokenized while the model encodes this one.
            if self.report.dry_run:
                for batch in batches:
                    self._count(changes := finder.find(batch), changes.failures)
                    advance(changes.rows_read)
                return
            for changes, texts in prefetch(self._prepare(batch, finder) for batch in batches):
                failures = changes.failures + self._encode(changes, texts, advance)
                self._commit(changes, failures)
        finally:
            for cache in self._caches.values():
                cache.close()
            self._catalog.compact_if_fragmented()
            self.report.truncated = self._encoder.truncated
            self.report.longest_truncated = self._encoder.longest_truncated
            self.report.seconds = round(time.perf_counter() - start, 3)

    def _prepare(
        self, batch: pa.Table, finder: ChangeFinder
    ) -> tuple[ItemChanges, dict[bytes, Any]]:
        """Return the changes of a batch and the tokens of its texts that no cache has."""
        changes = finder.find(batch)
        missing = self._missing("text", changes)
        texts = {h: changes.contents["text"][h] for h in missing}
        return changes, self._encoder.prepare_texts(texts)

    def _encode(
        self, changes: ItemChanges, texts: dict[bytes, Any], advance: Advance
    ) -> list[Failure]:
        """Encode what the caches lack; return what could not be decoded or encoded."""
        missing = {modality: self._missing(modality, changes) for modality in self._caches}
        n_contents = sum(map(len, missing.values()))
        advance_content = _per_content(changes.rows_read, n_contents, advance)
        not_finite = self._encoder.encode_texts(missing.get("text", []), texts, advance_content)
        failures = _failures(changes, "text", not_finite)
        for modality in MEDIA:
            hashes, references = missing.get(modality, []), changes.contents.get(modality, {})
            failed = self._encoder.encode_files(modality, hashes, references, advance_content)
            failures += _failures(changes, modality, failed)
        if not n_contents:
            advance(changes.rows_read)
        return failures

    def _missing(self, modality: Modality, changes: ItemChanges) -> list[bytes]:
        return self._encoder.missing(modality, changes.contents.get(modality, {}))

    def _commit(self, changes: ItemChanges, failures: list[Failure]) -> None:
        items = changes.items
        if len(items):
            items = self._with_vectors(items, changes.hashes)
            # Before the catalog: after a kill, every content in the catalog is in a cache.
            for cache in self._caches.values():
                cache.flush()
            item_ids = items.column(ITEM_ID).to_pylist()
            quarantine = self._quarantine_column(item_ids, changes, failures)
            items = items.append_column(QUARANTINE, quarantine)
            new = pa.array(changes.new)
            self._catalog.write(items.filter(new), items.filter(pa.array(~changes.new)))
        self._catalog.patch(changes.patched)
        if failures or changes.readable:
            self._catalog.patch(self._tried(changes, failures))
        self._count(changes, failures)

    def _count(self, changes: ItemChanges, failures: Sequence[Failure]) -> None:
        reencoded = int((~changes.new).sum())
        changed = reencoded + len(changes.patched)
        report = self.report
        report.reencoded += reencoded
        report.rows_read += changes.rows_read
        report.added += int(changes.new.sum())
        report.changed += changed
        report.unchanged += changes.rows_read - int(changes.new.sum()) - changed
        if changes.vanished:
            name_of = self._catalog.snapshot().attributes.name_of
            for column, count in changes.vanished.items():
                name = name_of(column) or column.replace(vector_column(""), "vector ")
                report.vanished[name] = report.vanished.get(name, 0) + count
        report.quarantined += len({failure.item_id for failure in failures})

    def _quarantine_column(
        self, item_ids: Sequence[str], changes: ItemChanges, failures: list[Failure]
    ) -> pa.StringArray:
        find = self._catalog.snapshot().find
        return quarantine_column(item_ids, failures, changes.given, find)

    def _tried(self, changes: ItemChanges, failures: list[Failure]) -> pa.Table:
        """Return the quarantine of the items of unchanged contents that were read again."""
        stored = set(changes.items.column(ITEM_ID).to_pylist())
        failed = {failure.item_id for failure in failures}
        item_ids = sorted({*changes.readable, *failed} - stored)
        quarantine = self._quarantine_column(item_ids, changes, failures)
        return pa.table({ITEM_ID: pa.array(item_ids, pa.string()), QUARANTINE: quarantine})

    def _with_vectors(
        self, items: pa.Table, hashes: dict[Modality, list[bytes | None]]
    ) -> pa.Table:
        """Add the columns of named vectors, and the mask of the modalities that have a vector."""
        vectors = {m: lookup_vectors(self._caches[m], h) for m, h in hashes.items()}
        mask = np.zeros(len(items), np.uint8)
        for modality, masked in vectors.items():
            mask |= masked.present.astype(np.uint8) * np.uint8(modality_bit(modality))
        for named_vector in self._settings.given.values():
            present = pc.is_valid(items.column(named_vector.column)).to_numpy()
            mask |= np.asarray(present, np.uint8) * np.uint8(GIVEN_BIT)
        items = items.append_column(MODALITY_MASK, pa.array(mask))
        settings = self._settings
        fused = fuse(settings.layout, settings.weights, vectors, self._alignment)
        for named_vector in settings.layout:
            if named_vector.name in fused:
                column = to_list_column(fused[named_vector.name])
                items = items.append_column(named_vector.column, column)
        return items


def is_small_batch(rows: int | None, stored: int) -> bool:
    """Return whether a batch is so small that look-ups cost less than loading all ids.

    Parameters
    ----------
    rows : int or None
        Rows of the batch; None if unknown.
    stored : int
        Rows of the catalog.
    """
    return rows is not None and rows <= MAX_LAZY_ROWS and rows * SMALL_RATIO <= stored


def _ids_gone(reader: ItemReader, snapshot: Snapshot, options: WriteOptions) -> list[str]:
    """Return the items of the domain to synchronise that the input does not have.

    Raises
    ------
    InvalidInput
        If they are more than allowed, or not known because rows have no id.
    """
    domain = options.sync_domain
    if domain is None or domain not in snapshot.filled_domains:
        return []
    if reader.ids.null_count:
        row = pc.index(reader.ids.is_null(), True).as_py()
        raise InvalidInput(
            f"{reader.name} {reader.place(row)} has no id, so what is gone from {domain} is not "
            "known; give it one"
        )
    present = set(reader.ids.to_pylist())
    stored = [item_id for part in snapshot.item_ids([domain]) for item_id in part]
    gone = [item_id for item_id in stored if item_id not in present]
    limit = options.max_delete.of(len(stored))
    if len(gone) > limit:
        share = 100 * len(gone) / len(stored)
        raise InvalidInput(
            f"{reader.name} lacks {len(gone):,} of the {len(stored):,} items of {domain} "
            f"({share:.1f}%), and at most {options.max_delete} may be deleted; nothing was "
            f"changed. If they are to go, give --max-delete {len(gone)}"
        )
    return gone


class _DomainCheck:
    """Finds rows whose item id belongs to an item of another domain."""

    def __init__(self, known: KnownItems) -> None:
        self._known = known

    def __call__(self, item_ids: pa.Array, domains: Any) -> Problems:
        present = self._known.domains(item_ids)
        differ = pc.fill_null(pc.not_equal(present, domains), False)
        return [
            (row, _other_domain(item_ids[row].as_py(), present[row].as_py(), domains[row].as_py()))
            for row in pc.indices_nonzero(differ).to_pylist()
        ]


def _other_domain(item_id: str, present: str, given: str) -> str:
    return (
        f"item id {item_id!r} belongs to domain {present!r} already, not {given!r}; "
        f'give ids of their own (--id "{given}-{{…}}"), or delete that item first'
    )


def _failures(
    changes: ItemChanges, modality: Modality, failed: dict[bytes, InvalidMedia]
) -> list[Failure]:
    if not failed:
        return []
    rows = changes.items.select([ITEM_ID, DOMAIN, modality]).to_pylist()
    return [
        Failure(row[ITEM_ID], modality, row[DOMAIN], row[modality], str(failed[h]))
        for row, h in zip(rows, changes.hashes[modality], strict=True)
        if h in failed
    ]


def _per_content(rows: int, contents: int, advance: Advance) -> Advance:
    """Return an advance by contents that adds up to the rows of a batch."""
    return lambda steps: advance(rows * steps / max(contents, 1))

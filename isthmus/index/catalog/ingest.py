"""Ingest: a batch job that validates items, encodes new contents and stores the items.

Contents that an embedding cache has are not encoded again. A job that was killed can be repeated:
it continues with what is not stored yet.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.data.columns import Problems
from isthmus.data.item_reader import ItemReader
from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.backends.runtime import prefetch
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.fusion import fuse
from isthmus.errors import InvalidMedia
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    ContentEncoder,
    EncoderOf,
    batched,
    lookup_vectors,
    to_list_column,
)
from isthmus.index.catalog.item_changes import ChangeFinder, ItemChanges, KnownItems
from isthmus.index.catalog.quarantine import Failure, quarantine_column
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import (
    DOMAIN,
    ITEM_ID,
    MEDIA,
    MODALITY_MASK,
    QUARANTINE,
    Modality,
    modality_bit,
)

SMALL_RATIO = 20  # a batch is small if the catalog has this many times as many rows
MAX_LAZY_ROWS = 50_000
COMMIT_ROWS = 4_096
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
    vanished : dict of str to int
        Columns that the input lacks, with the number of items that lost a value (`replace`).
    seconds : float
        Duration.
    problems : list of str
        What is wrong with each invalid row, and where it stands.
    notes : list of str
        What was found out about the input, such as the encoding of a file or an attribute whose
        type became wider.
    """

    rows_read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    invalid: int = 0
    quarantined: int = 0
    encoded: dict[str, int] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


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
    """

    def __init__(
        self,
        catalog: Catalog,
        media: MediaStore,
        caches: dict[Modality, EmbeddingCache],
        settings: SpaceSettings,
        encoder_of: EncoderOf,
        alignment: Alignment | None = None,
    ) -> None:
        self._alignment = alignment
        self._catalog = catalog
        self._media = media
        self._caches = caches
        self._settings = settings
        self._encoder = ContentEncoder(caches, media, encoder_of)
        self.report = AddReport(encoded=self._encoder.encoded)

    def add(
        self,
        reader: ItemReader,
        *,
        replace: bool = False,
        skip_invalid: bool = False,
        progress: bool = False,
    ) -> AddReport:
        """Add items; encode only contents that no cache has.

        Parameters
        ----------
        reader : ItemReader
            The items.
        replace : bool, default False
            What the input lacks vanishes from items that the catalog has, rather than stays.
        skip_invalid : bool, default False
            Leave invalid rows out.
        progress : bool, default False
            Whether to show bars.

        Raises
        ------
        InvalidItems
            If rows are invalid and `skip_invalid` is false; nothing is stored then.
        """
        snapshot = self._catalog.snapshot()
        known = snapshot.known_items(lazy=is_small_batch(reader.rows, snapshot.rows))
        with progress_bar("checking", reader.rows, show=progress) as advance:
            rows = reader.check(
                snapshot.attributes.types(),
                _DomainCheck(known),
                None if replace else known.contains,
                advance,
            )
        if not skip_invalid:
            reader.raise_if_invalid()
        self.report.invalid = len(reader.problems)
        self.report.problems = reader.listed_problems()
        self.report.notes = reader.notes
        self.report.rows_read = self.report.invalid
        placement = self._catalog.place_attributes(reader.types)
        with ThreadPoolExecutor(READING_THREADS) as readers:
            finder = self._finder(known, readers, replace=replace)
            batches = reader.batches(COMMIT_ROWS, placement)
            with progress_bar("adding", rows, show=progress) as advance:
                self._run(batches, finder, advance)
        return self.report

    def retry(self, item_ids: Sequence[str]) -> AddReport:
        """Encode and store items of the catalog again, whether they changed or not."""
        snapshot = self._catalog.snapshot()
        columns = snapshot.item_columns
        tables = (snapshot.find(part, columns) for part in batched(item_ids, COMMIT_ROWS))
        with ThreadPoolExecutor(READING_THREADS) as readers:
            finder = self._finder(snapshot.known_items(lazy=True), readers, everything=True)
            with progress_bar("retrying", len(item_ids), show=False) as advance:
                self._run(tables, finder, advance)
        return self.report

    def _finder(
        self,
        known: KnownItems,
        readers: ThreadPoolExecutor,
        *,
        replace: bool = False,
        everything: bool = False,
    ) -> ChangeFinder:
        snapshot = self._catalog.snapshot()
        return ChangeFinder(
            known,
            snapshot.fetch,
            snapshot.item_schema,
            self._media,
            self._caches,
            readers,
            replace=replace,
            everything=everything,
        )

    def _run(self, batches: Iterator[pa.Table], finder: ChangeFinder, advance: Advance) -> None:
        start = time.perf_counter()
        try:
            # The next batch is read and tokenized while the model encodes this one.
            for changes, texts in prefetch(self._prepare(batch, finder) for batch in batches):
                failures = changes.failures + self._encode(changes, texts, advance)
                self._commit(changes, failures)
        finally:
            for cache in self._caches.values():
                cache.close()
            self._catalog.compact_if_fragmented()
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
        """Encode what the caches lack; return what could not be decoded."""
        missing = {modality: self._missing(modality, changes) for modality in self._caches}
        n_contents = sum(map(len, missing.values()))
        advance_content = _per_content(changes.rows_read, n_contents, advance)
        self._encoder.encode_texts(missing.get("text", []), texts, advance_content)
        failures = []
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
        changed = int((~changes.new).sum()) + len(changes.patched)
        report = self.report
        report.rows_read += changes.rows_read
        report.added += int(changes.new.sum())
        report.changed += changed
        report.unchanged += changes.rows_read - int(changes.new.sum()) - changed
        if changes.vanished:
            name_of = self._catalog.snapshot().attributes.name_of
            for column, count in changes.vanished.items():
                name = name_of(column) or column
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


class _DomainCheck:
    """Finds rows whose item id belongs to an item of another domain."""

    def __init__(self, known: KnownItems) -> None:
        self._known = known

    def __call__(self, item_ids: pa.Array, domains: Any) -> Problems:
        names = [name or "" for name in item_ids.to_pylist()]
        known = self._known.of_items(names)
        positions = known.find(names)
        problems = []
        for row in np.flatnonzero(positions >= 0).tolist():
            present, given = known.domain(int(positions[row])), domains[row].as_py()
            if given is not None and present != given:
                name = item_ids[row].as_py()
                problems.append(
                    (
                        row,
                        f"item id {name!r} belongs to domain {present!r} already, not {given!r}; "
                        f'give ids of their own (--id "{given}-{{…}}"), or delete that item first',
                    )
                )
        return problems


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

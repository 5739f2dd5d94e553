"""The batch job: items in, vectors stored; nothing is encoded twice, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.data.item_reader import ItemReader
from isthmus.data.media import MediaStore
from isthmus.encoders.alignment import Alignment
from isthmus.encoders.backends.runtime import prefetch
from isthmus.encoders.embedding_cache import EmbeddingCache
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.fusion import fuse
from isthmus.errors import InvalidMedia
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.content_encoding import (
    ContentEncoder,
    as_column,
    batched,
    stored_vectors,
)
from isthmus.index.catalog.item_changes import ChangeFinder, Changes, ItemDigests
from isthmus.index.catalog.quarantine import Failure, Quarantine
from isthmus.index.settings import SpaceSettings
from isthmus.progress import Advance, progress_bar
from isthmus.schema import (
    DOMAIN,
    ITEM_ID,
    MEDIA,
    MODALITY_MASK,
    Modality,
    inline_column,
    media_columns,
    modality_bit,
)

SMALL = 20  # times as much is stored as comes
MOST_PEEKED = 50_000
COMMIT_ROWS = 4_096
READERS = 8


@dataclass
class AddReport:
    """What a batch job did.

    Attributes
    ----------
    rows_read : int
        Rows of the input; the sum of the four counts below.
    added, changed, unchanged : int
        Items that were new, differed, or were there already.
    invalid : int
        Rows left out because they break the rules.
    quarantined : int
        Items with a content that could not be read or decoded.
    encoded : dict of str to int
        Contents that went through a model, by modality.
    seconds : float
        How long it took.
    problems : list of str
        What is wrong with each invalid row.
    """

    rows_read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    invalid: int = 0
    quarantined: int = 0
    encoded: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return asdict(self)


class Ingest:
    """One batch job over a space; the caller holds the catalog's lock.

    Parameters
    ----------
    catalog : Catalog
        Where items go.
    quarantine : Quarantine
        Where failures go.
    media : MediaStore
        Reads files.
    caches : dict of str to EmbeddingCache
        A cache for each modality of the space.
    settings : SpaceSettings
        The named vectors and the fusion weights of the space.
    encoder_of : callable
        Gives the encoder of a modality; called only if something must be encoded, since loading
        one takes seconds.
    alignment : Alignment, optional
        What the settings' aligned named vector is made by.
    """

    def __init__(
        self,
        catalog: Catalog,
        quarantine: Quarantine,
        media: MediaStore,
        caches: dict[Modality, EmbeddingCache],
        settings: SpaceSettings,
        encoder_of: Callable[[Modality], Encoder],
        alignment: Alignment | None = None,
    ) -> None:
        self._alignment = alignment
        self._catalog = catalog
        self._quarantine = quarantine
        self._media = media
        self._caches = caches
        self._settings = settings
        self._contents = ContentEncoder(caches, media, encoder_of)
        self.report = AddReport(encoded=self._contents.encoded)

    def add(
        self, reader: ItemReader, *, skip_invalid: bool = False, progress: bool = False
    ) -> AddReport:
        """Add items, encoding only what was never encoded.

        Raises
        ------
        InvalidItems
            If rows break the rules, unless they are to be skipped; nothing is stored then.
        """
        snapshot = self._catalog.snapshot()
        known = snapshot.digests(peek=is_small(reader.rows, snapshot.rows))
        with progress_bar("checking", reader.rows, show=progress) as advance:
            rows = reader.check(snapshot.attributes, _OneDomainAnItem(known), advance)
        if not skip_invalid:
            reader.raise_if_invalid()
        self.report.invalid = len(reader.problems)
        self.report.problems = [f"row {n}: {p}" for n, p in sorted(reader.problems.items())]
        self.report.rows_read = self.report.invalid
        attributes = self._catalog.add_attributes(reader.attributes)
        with ThreadPoolExecutor(READERS) as readers:
            finder = ChangeFinder(known, self._media, list(self._caches), readers)
            batches = reader.batches(COMMIT_ROWS, attributes)
            with progress_bar("adding", rows, show=progress) as advance:
                self._run(batches, finder, advance)
        return self.report

    def again(self, item_ids: Sequence[str]) -> AddReport:
        """Take items of the catalog through the job again, whether they changed or not."""
        snapshot = self._catalog.snapshot()
        columns = [*snapshot.item_columns, *snapshot.attributes.names]
        items = (snapshot.find(part, columns) for part in batched(item_ids, COMMIT_ROWS))
        with ThreadPoolExecutor(READERS) as readers:
            finder = ChangeFinder(None, self._media, list(self._caches), readers)
            with progress_bar("retrying", len(item_ids), show=False) as advance:
                self._run((self._without_inline(table) for table in items), finder, advance)
        return self.report

    def _without_inline(self, items: pa.Table) -> pa.Table:
        for modality in media_columns(self._caches):
            nothing = pa.nulls(len(items), pa.binary())
            items = items.append_column(inline_column(modality), nothing)
        return items

    def _run(self, batches: Iterator[pa.Table], finder: ChangeFinder, advance: Advance) -> None:
        start = time.perf_counter()
        try:
            for changes, texts in prefetch(self._plan(batch, finder) for batch in batches):
                failures = changes.failures + self._encode(changes, texts, advance)
                self._commit(changes, failures)
        finally:
            for cache in self._caches.values():
                cache.close()
            self._catalog.compact_if_fragmented()
            self.report.seconds = round(time.perf_counter() - start, 3)

    def _plan(self, batch: pa.Table, finder: ChangeFinder) -> tuple[Changes, dict[bytes, Any]]:
        """Find changes and tokenise their unknown texts: all that needs no model to run."""
        changes = finder.find(batch)
        wanted = self._unknown("text", changes)
        texts = {h: changes.contents["text"][h] for h in wanted}
        return changes, self._contents.prepare_texts(texts)

    def _encode(self, changes: Changes, texts: dict[bytes, Any], advance: Advance) -> list[Failure]:
        """Encode what the caches lack; give what could not be decoded."""
        unknown = {modality: self._unknown(modality, changes) for modality in self._caches}
        count = sum(map(len, unknown.values()))
        advance_a_content = _share(changes.read, count, advance)
        self._contents.encode_texts(unknown.get("text", []), texts, advance_a_content)
        failures = []
        for modality in MEDIA:
            hashes, references = unknown.get(modality, []), changes.contents.get(modality, {})
            bad = self._contents.encode_files(modality, hashes, references, advance_a_content)
            failures += _failures(changes, modality, bad)
        if not count:
            advance(changes.read)
        return failures

    def _unknown(self, modality: Modality, changes: Changes) -> list[bytes]:
        return self._contents.unknown(modality, changes.contents.get(modality, {}))

    def _commit(self, changes: Changes, failures: list[Failure]) -> None:
        items = changes.items
        if len(items):
            items = self._with_vectors(items, changes.hashes)
            for cache in self._caches.values():
                cache.flush()  # what the catalog holds, the cache knows, even after a kill
            new = pa.array(changes.new)
            self._catalog.write(items.filter(new), items.filter(pa.array(~changes.new)))
            self._quarantine.settle(items.column(ITEM_ID).to_pylist(), failures)
        report = self.report
        report.rows_read += changes.read
        report.added += int(changes.new.sum())
        report.changed += int((~changes.new).sum())
        report.unchanged += changes.read - len(items)
        report.quarantined += len({failure.item_id for failure in failures})

    def _with_vectors(
        self, items: pa.Table, hashes: dict[Modality, list[bytes | None]]
    ) -> pa.Table:
        parts = {m: stored_vectors(self._caches[m], h) for m, h in hashes.items()}
        mask = np.zeros(len(items), np.uint8)
        for modality, part in parts.items():
            mask |= part.present.astype(np.uint8) * np.uint8(modality_bit(modality))
        items = items.append_column(MODALITY_MASK, pa.array(mask))
        settings = self._settings
        fused = fuse(settings.layout, settings.weights, parts, self._alignment)
        for named_vector in settings.layout:
            if named_vector.name in fused:
                items = items.append_column(
                    named_vector.column, as_column(fused[named_vector.name])
                )
        return items


def is_small(rows: int | None, stored: int) -> bool:
    """Tell whether a job is so small that it looks things up rather than loads all it may need."""
    return rows is not None and rows <= MOST_PEEKED and rows * SMALL <= stored


class _OneDomainAnItem:
    """Finds items that would move an item id from one domain to another."""

    def __init__(self, known: ItemDigests) -> None:
        self._known = known

    def __call__(self, item_ids: pa.Array, domains: Any) -> list[tuple[int, str]]:
        names = [name or "" for name in item_ids.to_pylist()]
        known = self._known.among(names)
        places = known.find(names)
        problems = []
        for row in np.flatnonzero(places >= 0).tolist():
            there, here = known.domain(int(places[row])), domains[row].as_py()
            if here is not None and there != here:
                name = item_ids[row].as_py()
                problems.append(
                    (
                        row,
                        f"item id {name!r} belongs to domain {there!r} already, not {here!r}; "
                        f'give ids of their own (--id "{here}-{{…}}"), or delete that item first',
                    )
                )
        return problems


def _failures(
    changes: Changes, modality: Modality, bad: dict[bytes, InvalidMedia]
) -> list[Failure]:
    if not bad:
        return []
    rows = changes.items.select([ITEM_ID, DOMAIN, modality]).to_pylist()
    return [
        Failure(row[ITEM_ID], modality, row[DOMAIN], row[modality], str(bad[h]))
        for row, h in zip(rows, changes.hashes[modality], strict=True)
        if h in bad
    ]


def _share(rows: int, contents: int, advance: Advance) -> Advance:
    """Spread the rows of a batch evenly over its contents, so that the bar moves steadily."""
    return lambda steps: advance(rows * steps / max(contents, 1))

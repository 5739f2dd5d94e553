"""Item changes: which items of a batch are new or changed, and which contents they have.

A batch is compared with the stored items column by column. Only the columns that it has count: a
stored item keeps the others. Contents (the text, the bytes of the media) are compared by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.item_mapping import rows_by_domain
from isthmus.data.media import MediaStore, from_data_uri, is_data_uri
from isthmus.data.template import TextTemplate
from isthmus.digests import DIGEST_BYTES, DigestIndex, TextKeys, digest
from isthmus.errors import InvalidMapping, InvalidMedia
from isthmus.index.catalog.quarantine import Failure
from isthmus.numerics.arrays import Mask
from isthmus.schema import (
    CONTENT_HASH,
    DOMAIN,
    ITEM_ID,
    KEPT,
    MEDIA,
    MODALITIES,
    MODALITY_MASK,
    QUARANTINE,
    ROW_ID,
    TEXT,
    WHOLE_TEXT,
    Modality,
    inline_column,
    modality_bit,
)

Hashes = list[bytes | None]
# Given row ids of the catalog and names of columns, returns these rows.
FetchRows = Callable[[npt.NDArray[np.uint64], Sequence[str]], pa.Table]


KEYS = TextKeys()  # of item ids


class KnownItems:
    """The items of a catalog by id, in memory.

    Parameters
    ----------
    table : pyarrow.Table
        Item id, domain and row id.
    """

    def __init__(self, table: pa.Table) -> None:
        self._index = DigestIndex(KEYS.of(table.column(ITEM_ID).combine_chunks()))
        self._domains = table.column(DOMAIN).combine_chunks().dictionary_encode()
        self._row_ids = np.asarray(table.column(ROW_ID).to_numpy(), np.uint64)

    def of_items(self, item_ids: pa.Array) -> KnownItems:
        """Return known items that include these."""
        del item_ids
        return self

    def find(self, item_ids: pa.Array) -> npt.NDArray[np.int64]:
        """Return the position of each item, -1 for a new item, shape (n_items,)."""
        return self._index.find(KEYS.of(item_ids))

    def contains(self, item_ids: pa.Array) -> Mask:
        """Return which of these items the catalog has, shape (n_items,)."""
        return np.asarray(self.of_items(item_ids).find(item_ids) >= 0, bool)

    def domains(self, item_ids: pa.Array) -> pa.Array:
        """Return the domain of each of these items, null where the catalog has none."""
        return self.of_items(item_ids)._domains_of(item_ids)

    def _domains_of(self, item_ids: pa.Array) -> pa.Array:
        positions = self.find(item_ids)
        found = self._domains.take(pa.array(positions, mask=positions < 0))
        return found.dictionary_decode()

    def row_ids(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Return the catalog's row ids of the items at positions, both of shape (n,)."""
        return self._row_ids[positions]


class LazyKnownItems(KnownItems):
    """Known items that are read for each batch, for jobs much smaller than the catalog.

    Parameters
    ----------
    read : callable
        Returns the table of some items.
    """

    def __init__(self, read: Callable[[Sequence[str]], pa.Table]) -> None:
        self._read = read

    def of_items(self, item_ids: pa.Array) -> KnownItems:
        """Return the items with these ids, read from the catalog."""
        return KnownItems(self._read(item_ids.drop_null().to_pylist()))


@dataclass
class ItemChanges:
    """The new and changed items of one batch.

    Attributes
    ----------
    rows_read : int
        Number of rows in the batch.
    items : pyarrow.Table
        The items that are new or have another content, with all their columns but the vectors.
    new : numpy.ndarray
        bool, shape (n_items,): items that the catalog does not have yet.
    hashes : dict of str to list
        By modality, the digest of each item's content; None for an item without that content.
    patched : pyarrow.Table
        The items whose contents are the same and whose other columns changed: item id and the
        columns that the batch has.
    given : frozenset of str
        Modalities that the batch has a column for.
    contents : dict of str to dict
        By modality, the distinct contents: digest to text, or to the reference of a file.
    failures : list of Failure
        Contents that could not be read.
    vanished : dict of str to int
        By name, the stored columns that the batch lacks and how many of its items lose a value.
    readable : list of str
        Quarantined items whose media could be read and are those that are indexed.
    """

    rows_read: int
    items: pa.Table
    new: Mask
    hashes: dict[Modality, Hashes]
    patched: pa.Table
    given: frozenset[str]
    contents: dict[Modality, dict[bytes, str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    readable: list[str] = field(default_factory=list)
    vanished: dict[str, int] = field(default_factory=dict)


class TextMaker:
    """Renders texts out of stored attributes.

    Parameters
    ----------
    templates : mapping of str to str
        The template of the text of each domain.
    columns : mapping of str to mapping
        By domain and attribute, the column that holds it.
    """

    def __init__(
        self, templates: Mapping[str, str], columns: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._templates = {domain: TextTemplate(t) for domain, t in templates.items()}
        self._columns = columns

    def render(self, items: pa.Table, batch: pa.Table) -> list[str | None]:
        """Return the texts of items, given whole, of which a batch has some columns.

        An item of a domain of whose text the batch has no column keeps its text.

        Raises
        ------
        InvalidMapping
            If a column that the text is made of is not stored.
        """
        texts: list[str | None] = items.column(TEXT).to_pylist()
        for domain, rows in rows_by_domain(items.column(DOMAIN).combine_chunks()):
            template, stored = self._templates.get(domain), self._columns.get(domain, {})
            if template is None or not any(
                stored.get(name) in batch.column_names for name in template.fields
            ):
                continue
            for name in template.fields:
                if name not in stored:
                    raise InvalidMapping(
                        f"the text of {domain} is {template.template!r}, and its column {name!r} "
                        "is neither given nor stored as an attribute; give it too"
                    )
            part = items.take(pa.array(rows))
            columns = {name: part.column(stored[name]).to_pylist() for name in template.fields}
            for row, text in zip(rows, template.render_columns(columns), strict=True):
                texts[row] = text
        return texts


def with_columns(table: pa.Table, more: pa.Table) -> pa.Table:
    """Return a table with the columns of another behind its own.

    One by one they would take time with the square of their number.
    """
    schema = pa.schema([*table.schema, *more.schema])
    return pa.table([*table.columns, *more.columns], schema=schema)


class ChangeFinder:
    """Compares batches of items with the catalog.

    Parameters
    ----------
    known : KnownItems
        The items in the catalog.
    fetch : callable
        Returns stored columns of rows.
    columns : pyarrow.Schema
        The stored columns that an item has: id, domain, contents, attributes, and the vectors that
        are given with items.
    media : MediaStore
        Reads media, and stores media given as bytes.
    modalities : sequence of str
        Modalities that the space encodes.
    readers : Executor
        Threads that read media.
    texts : TextMaker
        Renders the texts of stored items of which only some columns are given.
    vectors : sequence of str, default ()
        The columns of vectors that are given with items.
    new_columns : mapping of str to pyarrow.Field
        Columns that batches have and the catalog not yet, where nothing is to be written.
    replace : bool, default False
        Columns that a batch lacks become null, rather than stay as they are.
    everything : bool, default False
        Treat every item as changed.
    """

    def __init__(
        self,
        known: KnownItems,
        fetch: FetchRows,
        columns: pa.Schema,
        media: MediaStore,
        modalities: Iterable[Modality],
        readers: Executor,
        texts: TextMaker,
        *,
        vectors: Sequence[str] = (),
        new_columns: Mapping[str, pa.Field] | None = None,
        replace: bool = False,
        everything: bool = False,
    ) -> None:
        self._vectors = tuple(vectors)
        self._known = known
        self._fetch = fetch
        self._columns = columns
        self._media = media
        self._modalities = tuple(modalities)
        self._readers = readers
        self._texts = texts
        self._new_columns = dict(new_columns or {})
        self._replace = replace
        self._everything = everything

    def find(self, batch: pa.Table) -> ItemChanges:
        """Return the changes of a batch of items."""
        row_ids, known = self._rows_of(batch)
        batch = self._with_kept_values(batch, row_ids, known)
        batch = self._with_whole_texts(batch, row_ids, known)
        absent = self._absent(batch)
        if self._replace:
            fields = [self._columns.field(name) for name in absent]
            nulls = {field_.name: pa.nulls(len(batch), field_.type) for field_ in fields}
            batch = with_columns(batch, pa.table(nulls, schema=pa.schema(fields)))
        stored = self._stored(row_ids, known, self._compared(batch))
        batch, failures = self._store_inline_media(batch, stored)
        hashes = {m: self._hash(m, batch, stored, failures) for m in self._modalities}
        differs = self._everything & known
        for modality, digests in hashes.items():
            before = stored.column(CONTENT_HASH[modality]).to_pylist()
            differs |= known & np.array([a != b for a, b in zip(digests, before, strict=True)])
        for name in self._given_vectors(batch):
            differs |= known & vectors_differ(batch.column(name), stored.column(name))
        patched = self._patched(batch, stored, known & ~differs)
        rows = np.flatnonzero(differs | ~known)
        hashes = {m: [h[i] for i in rows] for m, h in hashes.items()}
        items = self._complete(batch.take(pa.array(rows)), row_ids[rows], known[rows])
        return ItemChanges(
            rows_read=len(batch),
            items=_with_hashes(items, hashes),
            new=~known[rows],
            hashes=hashes,
            patched=patched,
            given=frozenset(m for m in MODALITIES if m in batch.column_names),
            contents={m: _distinct(h, items.column(m).to_pylist()) for m, h in hashes.items()},
            failures=failures,
            readable=self._readable(batch, stored, known & ~differs, failures),
            vanished=_count_values(stored, absent) if self._replace else {},
        )

    def _rows_of(self, batch: pa.Table) -> tuple[npt.NDArray[np.uint64], Mask]:
        """Return the row id of each item, and whether the catalog has it."""
        item_ids = batch.column(ITEM_ID).combine_chunks()
        items = self._known.of_items(item_ids)
        positions = items.find(item_ids)
        known = positions >= 0
        row_ids = np.zeros(len(batch), np.uint64)
        row_ids[known] = items.row_ids(positions[known])
        return row_ids, known

    def _with_kept_values(
        self, batch: pa.Table, row_ids: npt.NDArray[np.uint64], known: Mask
    ) -> pa.Table:
        """Fill in the columns that rows of known items, unlike others, do not have."""
        if KEPT not in batch.column_names:
            return batch
        kept = batch.column(KEPT).to_pylist()
        batch = batch.drop_columns([KEPT])
        if self._replace:
            return batch
        rows_of: dict[str, list[int]] = {}
        for row in np.flatnonzero(known).tolist():
            for name in kept[row]:
                rows_of.setdefault(name, []).append(row)
        stored = self._stored(row_ids, known, list(rows_of))
        for name, rows in rows_of.items():
            given = batch.column(name).combine_chunks()
            both = pa.concat_arrays([given, stored.column(name).combine_chunks().cast(given.type)])
            at = np.arange(len(batch))
            at[rows] += len(batch)
            index = batch.schema.get_field_index(name)
            batch = batch.set_column(index, batch.schema.field(index), both.take(pa.array(at)))
        return batch

    def _with_whole_texts(
        self, batch: pa.Table, row_ids: npt.NDArray[np.uint64], known: Mask
    ) -> pa.Table:
        """Complete the texts of known items of which the batch lacks columns."""
        if WHOLE_TEXT not in batch.column_names:
            return batch
        whole = batch.column(WHOLE_TEXT).to_numpy()
        batch = batch.drop_columns([WHOLE_TEXT])
        rows = np.flatnonzero(known & ~whole)
        if not len(rows) or self._replace:
            return batch
        part = self._complete(
            batch.take(pa.array(rows)).drop_columns([TEXT]), row_ids[rows], known[rows]
        )
        texts = batch.column(TEXT).to_pylist()
        for row, text in zip(rows.tolist(), self._texts.render(part, batch), strict=True):
            texts[row] = text
        at = batch.schema.get_field_index(TEXT)
        return batch.set_column(at, TEXT, pa.array(texts, pa.string()))

    def _stored(
        self, row_ids: npt.NDArray[np.uint64], known: Mask, columns: Sequence[str]
    ) -> pa.Table:
        """Return stored columns of the items of a batch, null for new items and new columns."""
        stored = [name for name in columns if name not in self._new_columns]
        found = self._fetch(row_ids[known], stored)
        for name in columns:
            if name in self._new_columns:
                field_ = self._new_columns[name]
                found = found.append_column(field_, pa.nulls(len(found), field_.type))
        at = np.cumsum(known) - 1
        return found.take(pa.array(at, mask=~known))

    def _patchable(self, batch: pa.Table) -> list[str]:
        """Return the columns of a batch that are compared by value, and hold no vectors."""
        others = {ITEM_ID, DOMAIN, *self._vectors, *(inline_column(m) for m in MEDIA)}
        return [name for name in batch.column_names if name not in others]

    def _given_vectors(self, batch: pa.Table) -> list[str]:
        return [name for name in self._vectors if name in batch.column_names]

    def _compared(self, batch: pa.Table) -> list[str]:
        hashes = [CONTENT_HASH[modality] for modality in self._modalities]
        compared = [*self._patchable(batch), *self._given_vectors(batch)]
        return [*compared, *hashes, MODALITY_MASK, QUARANTINE]

    def _patched(self, batch: pa.Table, stored: pa.Table, same: Mask) -> pa.Table:
        """Return the items, among those of unchanged contents, with other columns that changed."""
        patched, names = np.zeros(len(batch), bool), [ITEM_ID]
        for name in self._patchable(batch):
            differs = same & _differs(batch.column(name), stored.column(name))
            if differs.any():
                patched |= differs
                names.append(name)
        return batch.select(names).filter(pa.array(patched))

    def _complete(self, items: pa.Table, row_ids: npt.NDArray[np.uint64], known: Mask) -> pa.Table:
        """Add the columns that a batch lacks: what is stored, null for new items."""
        return with_columns(items, self._stored(row_ids, known, self._absent(items)))

    def _absent(self, batch: pa.Table) -> list[str]:
        """Return the columns of an item that a batch lacks."""
        present = set(batch.column_names)
        return [name for name in self._columns.names if name not in present]

    def _readable(
        self, batch: pa.Table, stored: pa.Table, same: Mask, failures: Sequence[Failure]
    ) -> list[str]:
        """Return the quarantined items whose media could be read and are those indexed."""
        given = [m for m in self._modalities if m in MEDIA and m in batch.column_names]
        if not given:
            return []
        failed = {failure.item_id for failure in failures}
        needed = sum(modality_bit(m) for m in given)
        masks = stored.column(MODALITY_MASK).to_pylist()
        quarantined = stored.column(QUARANTINE).is_valid().to_pylist()
        item_ids = batch.column(ITEM_ID).to_pylist()
        return [
            item_ids[row]
            for row in np.flatnonzero(same).tolist()
            if quarantined[row] and item_ids[row] not in failed and masks[row] & needed == needed
        ]

    def _store_inline_media(
        self, batch: pa.Table, stored: pa.Table
    ) -> tuple[pa.Table, list[Failure]]:
        """Store bytes and data URIs; the batch has references to them afterwards.

        An item whose data URI cannot be read keeps the reference that it had.
        """
        failures: list[Failure] = []
        for modality in MEDIA:
            if inline_column(modality) in batch.column_names:
                before = stored.column(modality).to_pylist()
                batch = self._store_inline(batch, modality, before, failures)
        return batch, failures

    def _store_inline(
        self,
        batch: pa.Table,
        modality: Modality,
        before: Sequence[str | None],
        failures: list[Failure],
    ) -> pa.Table:
        references = batch.column(modality).to_pylist()
        inline = batch.column(inline_column(modality)).to_pylist()
        for row, (reference, data) in enumerate(zip(references, inline, strict=True)):
            try:
                if data:
                    references[row] = self._media.put(data)
                elif reference and is_data_uri(reference):
                    references[row] = self._media.put(from_data_uri(reference))
            except InvalidMedia as error:
                references[row] = before[row]
                failures.append(
                    _failure(batch, row, modality, "data URI", error, kept=bool(before[row]))
                )
        batch = batch.drop_columns([inline_column(modality)])
        at = batch.schema.get_field_index(modality)
        return batch.set_column(at, modality, pa.array(references, pa.string()))

    def _hash(
        self, modality: Modality, batch: pa.Table, stored: pa.Table, failures: list[Failure]
    ) -> Hashes:
        """Return the digests of a content: those stored, where the batch has no such column.

        An item whose file cannot be read keeps the content that it had, with a failure.
        """
        before: Hashes = stored.column(CONTENT_HASH[modality]).to_pylist()
        if modality not in batch.column_names:
            return before
        values = batch.column(modality).to_pylist()
        if modality == TEXT:
            return [digest(text) if text else None for text in values]
        hashes: Hashes = []
        for row, result in enumerate(self._readers.map(self._hash_file, values)):
            if isinstance(result, InvalidMedia):
                kept = before[row] is not None
                failures.append(_failure(batch, row, modality, values[row], result, kept=kept))
                hashes.append(before[row])
            else:
                hashes.append(result)
        return hashes

    def _hash_file(self, reference: str | None) -> bytes | InvalidMedia | None:
        if not reference:
            return None
        try:
            return self._media.digest(reference)
        except InvalidMedia as error:
            return error


def _count_values(stored: pa.Table, names: Sequence[str]) -> dict[str, int]:
    """Return the number of values of each column, of those that have any."""
    counts = {name: len(stored) - stored.column(name).null_count for name in names}
    return {name: count for name, count in counts.items() if count}


def _with_hashes(items: pa.Table, hashes: Mapping[Modality, Hashes]) -> pa.Table:
    for modality, digests in hashes.items():
        column = pa.array(digests, pa.binary(DIGEST_BYTES))
        items = items.append_column(CONTENT_HASH[modality], column)
    return items


def _differs(given: pa.ChunkedArray, stored: pa.ChunkedArray) -> Mask:
    """Return where two columns of one type differ; null equals null."""
    if pa.types.is_nested(given.type):
        pairs = zip(given.to_pylist(), stored.to_pylist(), strict=True)
        return np.array([a != b for a, b in pairs], bool)
    unequal = pc.fill_null(pc.not_equal(given, stored), False)
    one_null = pc.xor(pc.is_null(given), pc.is_null(stored))
    return np.asarray(pc.or_(unequal, one_null).to_numpy(), bool)


def vectors_differ(given: pa.ChunkedArray, stored: pa.ChunkedArray) -> Mask:
    """Return where two columns of vectors of one length, or null, differ, shape (n_rows,)."""
    present = [np.asarray(pc.is_valid(column).to_numpy(), bool) for column in (given, stored)]
    differs = present[0] != present[1]
    both = np.flatnonzero(present[0] & present[1])
    if len(both):
        rows = pa.array(both)
        flat = [column.take(rows).combine_chunks().flatten() for column in (given, stored)]
        left, right = (np.asarray(values).reshape(len(both), -1) for values in flat)
        differs[both] = (left != right).any(axis=1)
    return np.asarray(differs, bool)


def _distinct(hashes: Sequence[bytes | None], contents: Sequence[Any]) -> dict[bytes, str]:
    return {
        h: content
        for h, content in zip(hashes, contents, strict=True)
        if h is not None and content is not None
    }


def _failure(
    batch: pa.Table,
    row: int,
    modality: Modality,
    source: str,
    error: InvalidMedia,
    *,
    kept: bool,
) -> Failure:
    item_id, domain = batch.column(ITEM_ID)[row].as_py(), batch.column(DOMAIN)[row].as_py()
    reason = f"{error}; the item keeps the {modality} that it had" if kept else str(error)
    return Failure(item_id, modality, domain, source, reason)

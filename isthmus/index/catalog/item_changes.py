"""Item changes: which items of a batch are new or changed, and which contents they have.

An item is compared by digests: one of its row (all columns), and one of each content (the text,
the bytes of the media). The catalog stores both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.media import MediaStore, from_data_uri, is_data_uri
from isthmus.digests import DIGEST_BYTES, DigestIndex, digest, keys_of
from isthmus.errors import InvalidMedia
from isthmus.index.catalog.quarantine import Failure
from isthmus.numerics.arrays import Mask
from isthmus.schema import (
    CONTENT_HASH,
    DOMAIN,
    ITEM_ID,
    MEDIA,
    ROW_HASH,
    TEXT,
    Modality,
    inline_column,
)

ROW = "row"  # the name of the row digest beside those of the modalities


class ItemDigests:
    """Digests of stored items, in memory.

    Parameters
    ----------
    table : pyarrow.Table
        Item id, domain, and the digests of the row and of its contents.
    """

    def __init__(self, table: pa.Table) -> None:
        self._index = DigestIndex(keys_of(map(digest, table.column(ITEM_ID).to_pylist())))
        self._domains = table.column(DOMAIN).combine_chunks().dictionary_encode()
        columns: dict[str, str] = {ROW: ROW_HASH}
        columns |= {str(modality): name for modality, name in CONTENT_HASH.items()}
        self._hashes = {
            kind: table.column(name).combine_chunks()
            for kind, name in columns.items()
            if name in table.column_names
        }

    def of_items(self, item_ids: Sequence[str]) -> ItemDigests:
        """Return digests that include those of these items."""
        del item_ids
        return self

    def find(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the position of each item, -1 for a new item, shape (n_items,)."""
        return self._index.find(keys_of(map(digest, item_ids)))

    def domain(self, position: int) -> str:
        """Return the domain of the item at a position."""
        return str(self._domains[position].as_py())

    def hashes(self, kind: str, positions: npt.NDArray[np.int64]) -> list[bytes | None]:
        """Return the digests of items: of their ``row``, or of their content of a modality."""
        indices = pa.array(positions, mask=positions < 0)
        hashes: list[bytes | None] = self._hashes[kind].take(indices).to_pylist()
        return hashes


class LazyItemDigests(ItemDigests):
    """Digests of stored items that are read for each batch, for jobs much smaller than the catalog.

    Parameters
    ----------
    read : callable
        Returns the table of some items.
    """

    def __init__(self, read: Callable[[Sequence[str]], pa.Table]) -> None:
        self._read = read

    def of_items(self, item_ids: Sequence[str]) -> ItemDigests:
        """Return the digests of these items, read from the catalog."""
        return ItemDigests(self._read(item_ids))


@dataclass
class ItemChanges:
    """The new and changed items of one batch.

    Attributes
    ----------
    rows_read : int
        Number of rows in the batch.
    items : pyarrow.Table
        The new and changed items, with digests and without vectors.
    new : numpy.ndarray
        bool, shape (n_items,): items that the catalog does not have yet.
    hashes : dict of str to list
        By modality, the digest of each item's content; None for an item without that content.
    contents : dict of str to dict
        By modality, the distinct contents: digest to text, or to the reference of a file.
    failures : list of Failure
        Contents that could not be read.
    """

    rows_read: int
    items: pa.Table
    new: Mask
    hashes: dict[Modality, list[bytes | None]]
    contents: dict[Modality, dict[bytes, str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class ChangeFinder:
    """Compares batches of items with the catalog.

    Parameters
    ----------
    stored : ItemDigests or None
        Digests of the items in the catalog; None treats every item as changed.
    media : MediaStore
        Reads media, and stores media given as bytes.
    modalities : sequence of str
        Modalities that the space encodes.
    readers : Executor
        Threads that read media.
    """

    def __init__(
        self,
        stored: ItemDigests | None,
        media: MediaStore,
        modalities: Sequence[Modality],
        readers: Executor,
    ) -> None:
        self._stored = stored
        self._media = media
        self._modalities = tuple(modalities)
        self._readers = readers

    def find(self, batch: pa.Table) -> ItemChanges:
        """Return the changes of a batch of items."""
        batch, failures = self._store_inline_media(batch)
        hashes: dict[Modality, list[bytes | None]] = {}
        if "text" in self._modalities:
            hashes["text"] = [digest(t) if t else None for t in batch.column(TEXT).to_pylist()]
        for modality in MEDIA:
            if modality in self._modalities:
                hashes[modality] = self._hash_files(batch, modality, failures)
        row_hashes = _hash_rows(batch)
        new, changed = self._compare(batch, row_hashes, hashes)
        rows = np.flatnonzero(new | changed)
        hashes = {m: [h[i] for i in rows] for m, h in hashes.items()}
        items = batch.append_column(ROW_HASH, pa.array(row_hashes, pa.binary(DIGEST_BYTES)))
        items = items.take(pa.array(rows, pa.int64()))
        for modality, column in CONTENT_HASH.items():
            digests = hashes.get(modality) or [None] * len(items)
            items = items.append_column(column, pa.array(digests, pa.binary(DIGEST_BYTES)))
        item_ids = set(items.column(ITEM_ID).to_pylist())
        return ItemChanges(
            rows_read=len(batch),
            items=items,
            new=new[rows],
            hashes=hashes,
            contents={m: _distinct(h, items.column(m).to_pylist()) for m, h in hashes.items()},
            failures=[failure for failure in failures if failure.item_id in item_ids],
        )

    def _store_inline_media(self, batch: pa.Table) -> tuple[pa.Table, list[Failure]]:
        """Store bytes and data URIs; the batch has references to them afterwards."""
        failures: list[Failure] = []
        for modality in MEDIA:
            if inline_column(modality) in batch.column_names:
                batch = self._store_inline(batch, modality, failures)
        return batch, failures

    def _store_inline(
        self, batch: pa.Table, modality: Modality, failures: list[Failure]
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
                references[row] = None
                failures.append(_failure(batch, row, modality, "data URI", error))
        batch = batch.drop_columns([inline_column(modality)])
        at = batch.schema.get_field_index(modality)
        return batch.set_column(at, modality, pa.array(references, pa.string()))

    def _hash_files(
        self, batch: pa.Table, modality: Modality, failures: list[Failure]
    ) -> list[bytes | None]:
        references = batch.column(modality).to_pylist()
        hashes: list[bytes | None] = []
        for row, result in enumerate(self._readers.map(self._hash_file, references)):
            if isinstance(result, InvalidMedia):
                failures.append(_failure(batch, row, modality, references[row], result))
                hashes.append(None)
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

    def _compare(
        self,
        batch: pa.Table,
        row_hashes: list[bytes],
        hashes: dict[Modality, list[bytes | None]],
    ) -> tuple[Mask, Mask]:
        """Return masks of the new items and of the changed items, shape (n_rows,) each."""
        if self._stored is None:
            return np.zeros(len(batch), bool), np.ones(len(batch), bool)
        item_ids = batch.column(ITEM_ID).to_pylist()
        stored = self._stored.of_items(item_ids)
        positions = stored.find(item_ids)
        present = {ROW: list[bytes | None](row_hashes), **{str(m): h for m, h in hashes.items()}}
        differs = np.zeros(len(batch), bool)
        for kind, digests in present.items():
            before = stored.hashes(kind, positions)
            differs |= np.array([a != b for a, b in zip(digests, before, strict=True)], bool)
        return positions < 0, (positions >= 0) & differs


def _hash_rows(batch: pa.Table) -> list[bytes]:
    """Return a digest of each row; nulls do not count, so that columns can be added."""
    names = sorted(batch.column_names)
    columns = (batch.column(name).to_pylist() for name in names)
    return [
        digest(repr([(n, v) for n, v in zip(names, row, strict=True) if v is not None]))
        for row in zip(*columns, strict=True)
    ]


def _distinct(hashes: Sequence[bytes | None], contents: Sequence[Any]) -> dict[bytes, str]:
    return {h: content for h, content in zip(hashes, contents, strict=True) if h is not None}


def _failure(
    batch: pa.Table, row: int, modality: Modality, source: str, error: InvalidMedia
) -> Failure:
    item_id, domain = batch.column(ITEM_ID)[row].as_py(), batch.column(DOMAIN)[row].as_py()
    return Failure(item_id, modality, domain, source, str(error))

"""Changes: which items of a batch are new or changed, and which contents they need encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.media import DATA_URI, MediaStore, from_data_uri
from isthmus.digests import DigestIndex, digest, keys_of
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


@dataclass
class Changes:
    """The new and changed items of one batch.

    Attributes
    ----------
    read : int
        Rows of the batch.
    items : pyarrow.Table
        Its new and changed items, with digests and without vectors.
    new : numpy.ndarray
        bool, shape (len(items),): which are new.
    hashes : dict of str to list
        Content digest of each item, by modality; None where there is no content.
    contents : dict of str to dict
        The distinct contents, by modality: digest to text, or to a reference to a file.
    failures : list of Failure
        Contents that cannot even be read.
    """

    read: int
    items: pa.Table
    new: Mask
    hashes: dict[Modality, list[bytes | None]]
    contents: dict[Modality, dict[bytes, str]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


class ChangeFinder:
    """Compares batches of items with the catalog.

    Parameters
    ----------
    known : ItemDigests or None
        What the catalog holds; None takes every item as changed.
    media : MediaStore
        Reads files, and keeps those that came inline.
    modalities : sequence of str
        Modalities that the space encodes.
    readers : Executor
        Threads that read files.
    """

    def __init__(
        self,
        known: ItemDigests | None,
        media: MediaStore,
        modalities: Sequence[Modality],
        readers: Executor,
    ) -> None:
        self._known = known
        self._media = media
        self._modalities = tuple(modalities)
        self._readers = readers

    def find(self, batch: pa.Table) -> Changes:
        """Find the changes of a batch of items."""
        batch, failures = self._keep_inline(batch)
        hashes: dict[Modality, list[bytes | None]] = {}
        if "text" in self._modalities:
            hashes["text"] = [digest(t) if t else None for t in batch.column(TEXT).to_pylist()]
        for modality in MEDIA:
            if modality in self._modalities:
                hashes[modality] = self._hash_files(batch, modality, failures)
        row_hashes = _hash_rows(batch)
        new, changed = self._compare(batch, row_hashes, hashes)
        pending = np.flatnonzero(new | changed)
        hashes = {m: [h[i] for i in pending] for m, h in hashes.items()}
        items = batch.append_column(ROW_HASH, pa.array(row_hashes, pa.binary(16)))
        items = items.take(pa.array(pending, pa.int64()))
        for modality, column in CONTENT_HASH.items():
            digests = hashes.get(modality) or [None] * len(items)
            items = items.append_column(column, pa.array(digests, pa.binary(16)))
        waiting = set(items.column(ITEM_ID).to_pylist())
        return Changes(
            read=len(batch),
            items=items,
            new=new[pending],
            hashes=hashes,
            contents={m: _distinct(h, items.column(m).to_pylist()) for m, h in hashes.items()},
            failures=[f for f in failures if f.item_id in waiting],
        )

    def _keep_inline(self, batch: pa.Table) -> tuple[pa.Table, list[Failure]]:
        """Put bytes and data URIs into the media store, by reference."""
        failures: list[Failure] = []
        for modality in MEDIA:
            if inline_column(modality) in batch.column_names:
                batch = self._keep_inline_of(batch, modality, failures)
        return batch, failures

    def _keep_inline_of(
        self, batch: pa.Table, modality: Modality, failures: list[Failure]
    ) -> pa.Table:
        references = batch.column(modality).to_pylist()
        inline = batch.column(inline_column(modality)).to_pylist()
        for row, (reference, data) in enumerate(zip(references, inline, strict=True)):
            try:
                if data:
                    references[row] = self._media.put(data)
                elif reference and reference.startswith(DATA_URI):
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
        for row, found in enumerate(self._readers.map(self._hash_file, references)):
            if isinstance(found, InvalidMedia):
                failures.append(_failure(batch, row, modality, references[row], found))
                hashes.append(None)
            else:
                hashes.append(found)
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
        """Tell which items are new, and which are there but differ."""
        if self._known is None:
            return np.zeros(len(batch), bool), np.ones(len(batch), bool)
        item_ids = batch.column(ITEM_ID).to_pylist()
        known = self._known.among(item_ids)
        places = known.find(item_ids)
        given = {"row": list[bytes | None](row_hashes), **{str(m): h for m, h in hashes.items()}}
        differs = np.zeros(len(batch), bool)
        for what, digests in given.items():
            stored = known.hashes(what, places)
            differs |= np.array([a != b for a, b in zip(digests, stored, strict=True)], bool)
        return places < 0, (places >= 0) & differs


def _hash_rows(batch: pa.Table) -> list[bytes]:
    """Digest all but the contents' bytes; absent values do not count, so columns may be added."""
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


class ItemDigests:
    """The digests of items, held in memory.

    Parameters
    ----------
    table : pyarrow.Table
        Item id, domain, and the digests of the row and of its contents.
    """

    def __init__(self, table: pa.Table) -> None:
        self._index = DigestIndex(keys_of(map(digest, table.column(ITEM_ID).to_pylist())))
        self._domains = table.column(DOMAIN).combine_chunks().dictionary_encode()
        columns: dict[str, str] = {"row": ROW_HASH}
        columns |= {str(modality): name for modality, name in CONTENT_HASH.items()}
        self._hashes = {
            k: table.column(name).combine_chunks()
            for k, name in columns.items()
            if name in table.column_names
        }

    def among(self, item_ids: Sequence[str]) -> ItemDigests:
        """Give the digests of these items, and perhaps of others."""
        del item_ids
        return self

    def find(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give the place of each item, or -1 where it is new, shape (len(item_ids),)."""
        return self._index.find(keys_of(map(digest, item_ids)))

    def domain(self, place: int) -> str:
        """Give the domain of the item at a place."""
        return str(self._domains[place].as_py())

    def hashes(self, what: str, places: npt.NDArray[np.int64]) -> list[bytes | None]:
        """Give the digests (of ``row``, or of a modality) of the items at places."""
        known = pa.array(places, mask=places < 0)
        taken: list[bytes | None] = self._hashes[what].take(known).to_pylist()
        return taken


class PeekedDigests(ItemDigests):
    """The same, read for each batch of items.

    Parameters
    ----------
    read : callable
        Gives the table of some items.
    """

    def __init__(self, read: Callable[[Sequence[str]], pa.Table]) -> None:
        self._read = read

    def among(self, item_ids: Sequence[str]) -> ItemDigests:
        """Read the digests of these items."""
        return ItemDigests(self._read(item_ids))

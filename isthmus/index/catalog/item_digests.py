"""What the catalog knows of each item, compactly: to tell new, changed and unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.digests import DigestIndex, digest, keys_of
from isthmus.schema import CONTENT_HASH, DOMAIN, ITEM_ID, ROW_HASH


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

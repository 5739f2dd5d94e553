"""Lists of what is near items by content, remembered: many users have an interest in one item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask

KEPT_ENTRIES = 4_000_000  # of eight bytes, over all lists
KEPT_KINDS = 32

Search = Callable[[Columns], tuple[Columns, FloatArray]]


class Among(NamedTuple):
    """What a list depends on beside the item and its length.

    Attributes
    ----------
    allowed : numpy.ndarray
        bool, shape (n_items,): what may be in it; not written to.
    effort : float
        See `ItemFeatures.nearest`.
    """

    allowed: Mask
    effort: float


class _Kept(NamedTuple):
    among: Among
    length: int
    lists: dict[int, tuple[npt.NDArray[np.int32], FloatArray]]


class NearLists:
    """The lists that were asked for lately; threads may share it."""

    def __init__(self) -> None:
        self._kept: dict[Any, _Kept] = {}

    def get(
        self, columns: Columns, n: int, among: Among, search: Search
    ) -> tuple[Columns, FloatArray]:
        """Give a list for each item, searching for those that are not known.

        Parameters
        ----------
        columns : numpy.ndarray
            int64, shape (n_lists,): the items.
        n : int
            Length of a list.
        among : Among
            What else it depends on.
        search : callable
            Gives the lists of some items, int64 and float32, shape (n_some, n).
        """
        lists = self._lists_of(n, among)
        found = [lists.get(column) for column in columns.tolist()]
        missing = [at for at, known in enumerate(found) if known is None]
        if missing:
            asked, place = np.unique(columns[missing], return_inverse=True)
            items, cosines = search(asked)
            made = list(zip(items.astype(np.int32), cosines, strict=True))
            lists.update(zip(asked.tolist(), made, strict=True))
            for at, own in zip(missing, place.tolist(), strict=True):
                found[at] = made[own]
        out = np.empty((len(columns), n), np.int64), np.empty((len(columns), n), np.float32)
        for at, own in enumerate(found):
            if own is not None:
                out[0][at], out[1][at] = own
        return out

    def _lists_of(
        self, n: int, among: Among
    ) -> dict[int, tuple[npt.NDArray[np.int32], FloatArray]]:
        """Give the lists of a kind; all are forgotten once they are many."""
        entries = sum(own.length * len(own.lists) for own in self._kept.values())
        if entries > KEPT_ENTRIES or len(self._kept) > KEPT_KINDS:
            self._kept = {}
        key = id(among.allowed), among.effort, n
        kept = self._kept.get(key)
        if kept is None or kept.among.allowed is not among.allowed:
            kept = self._kept[key] = _Kept(among, n, {})
        return kept.lists

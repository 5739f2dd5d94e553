"""Rows of one input that say the same: only one of them is taken.

One row is kept for each user, item and event: the one with the latest time and, among equal times
or without times, the last. A row without a time is older than any that has one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.interactions.times import NO_TIME
from isthmus.digests import digest, keys_of
from isthmus.schema import INTERACTION_KEY, TIME

RowNumbers = npt.NDArray[np.int64]

# Odd, so that multiplying loses nothing, and different, so that a user called as an item counts.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


class Repeats:
    """Finds the rows that another row of the same input takes the place of.

    It holds 16 bytes a row, and 40 while it looks for them: rows are told apart by 64-bit digests.
    """

    def __init__(self) -> None:
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._times: list[npt.NDArray[np.int64]] = []

    def see(self, rows: pa.Table) -> None:
        """Take in the next rows of the input."""
        self._keys.append(_keys(rows))
        times = rows.column(TIME).cast(pa.int64()).fill_null(NO_TIME)
        self._times.append(np.asarray(times.to_numpy(), np.int64))

    def superseded(self, passed_over: RowNumbers) -> RowNumbers:
        """Give the numbers of the rows not to be taken, in order.

        Parameters
        ----------
        passed_over : numpy.ndarray
            Numbers of rows that are not to be looked at, int64.
        """
        if not self._keys:
            return np.zeros(0, np.int64)
        keys, times = np.concatenate(self._keys), np.concatenate(self._times)
        looked_at = np.delete(np.arange(len(keys)), passed_over)
        order = looked_at[np.lexsort((times[looked_at], keys[looked_at]))]  # stable
        followed = keys[order][:-1] == keys[order][1:]
        return np.sort(order[:-1][followed])


def _keys(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """Give a 64-bit number for each row's user, item and event, shape (len(rows),)."""
    keys = np.zeros(len(rows), np.uint64)
    for name, factor in zip(INTERACTION_KEY, _FACTORS, strict=True):
        coded = rows.column(name).combine_chunks().dictionary_encode()
        distinct = keys_of(map(digest, coded.dictionary.to_pylist()))
        keys += distinct[coded.indices.to_numpy()] * np.uint64(factor)
    return keys

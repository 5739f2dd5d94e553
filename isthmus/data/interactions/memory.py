"""Interactions held in memory, by user, and kept up with the table on disk fragment by fragment.

Asking Lance for the rows of one user takes some two milliseconds where a list takes ten. A file of
a Lance table is never changed: what is written goes to new fragments, and what is deleted or
replaced is listed beside the old ones. So after a write only what is new is read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.times import NO_TIME
from isthmus.schema import EVENT, INTERACTIONS, ITEM_ID, TIME, USER_ID

ADDRESS = "_rowaddr"
OFFSET = np.uint64(0xFFFFFFFF)  # the part of an address that is the place in the fragment

Integers = npt.NDArray[np.int64]


class _Fragment(NamedTuple):
    """The rows of a fragment, sorted by user, time, item and event.

    Attributes
    ----------
    rows : pyarrow.Table
        All that lived when it was read.
    offsets : numpy.ndarray
        int64, shape (n_rows,): the place of each in the fragment.
    users : pyarrow.StringArray
        Ascending, none twice.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where each user's rows begin.
    living : numpy.ndarray or None
        bool, shape (n_rows,): which of them are not deleted; None where none is.
    deleted : int
        How many rows of the fragment were deleted by then.
    """

    rows: pa.Table
    offsets: Integers
    users: pa.StringArray
    starts: Integers
    living: npt.NDArray[np.bool_] | None
    deleted: int

    def of(self, user_id: str) -> Integers:
        """Give the places of a user's living rows, in their order."""
        users = self.users
        at = bisect_left(range(len(users)), user_id, key=lambda place: users[place].as_py())
        if at == len(users) or users[at].as_py() != user_id:
            return np.empty(0, np.int64)
        own = np.arange(self.starts[at], self.starts[at + 1])
        return own if self.living is None else own[self.living[own]]


class HeldInteractions:
    """All interactions of one version of a table; immutable.

    Parameters
    ----------
    fragments : dict of int to _Fragment
        By Lance's number.
    """

    def __init__(self, fragments: dict[int, _Fragment]) -> None:
        self._fragments = fragments

    @classmethod
    def read(cls, dataset: Any, before: HeldInteractions | None = None) -> HeldInteractions:
        """Read a table; what an earlier version of it held already is not read again."""
        known = {} if before is None else before._fragments
        return cls(
            {
                fragment.fragment_id: _kept_up(fragment, known.get(fragment.fragment_id))
                for fragment in dataset.get_fragments()
            }
        )

    def of(self, user_ids: Sequence[str]) -> pa.Table:
        """Give the interactions of some users, see `Interactions.of`."""
        parts = []
        for user_id in sorted(set(user_ids)):
            found = [(own.rows, own.of(user_id)) for own in self._fragments.values()]
            found = [(rows, places) for rows, places in found if len(places)]
            own = [_taken(rows, places) for rows, places in found]
            parts += own if len(own) < 2 else [in_order(pa.concat_tables(own))]
        return pa.concat_tables([INTERACTIONS.empty_table(), *parts])


def in_order(table: pa.Table) -> pa.Table:
    """Sort interactions by user, time (none before all others), item and event."""
    return table.take(pa.array(_order(table)))


def _order(table: pa.Table) -> Integers:
    keys = [_ranks(table.column(name)) for name in (EVENT, ITEM_ID, USER_ID)]
    times = table.column(TIME).cast(pa.int64()).fill_null(NO_TIME).to_numpy()
    return np.asarray(np.lexsort((keys[0], keys[1], times, keys[2])), np.int64)


def _ranks(names: pa.ChunkedArray) -> Integers:
    """Give the place of each name among all distinct ones, ascending."""
    coded = pa.chunked_array([names]).combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return np.asarray(ranks[coded.indices.to_numpy()])


def _taken(rows: pa.Table, places: Integers) -> pa.Table:
    """Give some rows; a stretch of them is not copied."""
    first, last = int(places[0]), int(places[-1])
    if last - first == len(places) - 1:
        return rows.slice(first, len(places))
    return rows.take(pa.array(places))


def _kept_up(fragment: Any, known: _Fragment | None) -> _Fragment:
    """Give a fragment as it is now: as it is known, but for what was deleted since."""
    deleted = int(fragment.num_deletions)
    if known is None or deleted < known.deleted:
        return _read(fragment, deleted)
    if known.deleted == deleted:
        return known
    there = fragment.to_table(columns=[], with_row_address=True)
    return known._replace(living=np.isin(known.offsets, _offsets(there)), deleted=deleted)


def _read(fragment: Any, deleted: int) -> _Fragment:
    table = fragment.to_table(with_row_address=True)
    rows = table.select(INTERACTIONS.names).combine_chunks()
    order = _order(rows)
    rows = rows.take(pa.array(order)).combine_chunks()
    coded = rows.column(USER_ID).combine_chunks().dictionary_encode()  # in order, as the rows are
    lengths = np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
    return _Fragment(
        rows=rows,
        offsets=_offsets(table)[order],
        users=coded.dictionary,
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        living=None,
        deleted=deleted,
    )


def _offsets(table: pa.Table) -> Integers:
    return np.asarray(table.column(ADDRESS).to_numpy() & OFFSET, np.int64)

"""The store of interactions: one row for each user, item and kind of event.

The rule: of two rows of the same user, item and event the one with the later time is kept and, at
equal times or without times, the one added last. A row without a time is older than any that has
one. Items need not be there: what a row counts for is found out when it is read.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import NO_TIME
from isthmus.data.lance_tables import (
    compact_if_fragmented,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.schema import EVENT, INTERACTION_KEY, INTERACTIONS, ITEM_ID, TIME, USER_ID

ADDRESS = "_rowaddr"
OFFSET = np.uint64(0xFFFFFFFF)  # the part of an address that is the place in the fragment
Integers = npt.NDArray[np.int64]

FOLDER = "interactions.lance"
HELD_ROWS = 2_000_000  # some 100 bytes each
READ_S_A_ROW = 1e-6
REPLACES = (
    "source.time > target.time OR (source.time IS NOT NULL AND target.time IS NULL) OR "
    "((source.time = target.time OR (source.time IS NULL AND target.time IS NULL)) AND "
    "(source.value != target.value OR source.weight != target.weight))"
)


class Interactions:
    """The interactions of a space; whoever writes holds the lock ``interactions``.

    Every read is of what is on disk at that moment, whichever process wrote it.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FOLDER
        self._opened: Any = None
        self._held: tuple[Any, HeldInteractions] | None = None
        self._spent_s = 0.0

    def __len__(self) -> int:
        dataset = self._now()
        return 0 if dataset is None else int(dataset.count_rows())

    @property
    def version(self) -> int:
        """Version of the table on disk now; 0 before the first interaction (some 20 µs)."""
        dataset = self._now()
        return 0 if dataset is None else int(dataset.version)

    def of(self, user_ids: Sequence[str]) -> pa.Table:
        """Give the interactions of some users.

        Large tables have an index of users, so this costs about the same however many there are.
        Once users were looked up for as long as it takes to read a table that fits into memory, it
        is read, and kept up with what is written.

        Returns
        -------
        pyarrow.Table
            Of the schema `isthmus.schema.INTERACTIONS`, by user, each one's oldest first (those
            without a time before all others).
        """
        dataset = self._now()
        if dataset is None or not user_ids:
            return INTERACTIONS.empty_table()
        if self._held is not None or self._worth_holding(dataset):
            return self._hold(dataset).of(user_ids)
        start = time.perf_counter()
        parts = [dataset.to_table(filter=where) for where in predicates_in(USER_ID, list(user_ids))]
        found = in_order(pa.concat_tables(parts))
        self._spent_s += time.perf_counter() - start
        return found

    def table(self, *columns: str) -> pa.Table:
        """Give every interaction, in no order.

        Parameters
        ----------
        *columns : str
            Columns to give; all where none is named.
        """
        names = list(columns or INTERACTIONS.names)
        dataset = self._now()
        if dataset is None:
            return INTERACTIONS.empty_table().select(names)
        return dataset.to_table(columns=names)

    def add(self, rows: pa.Table) -> tuple[int, int]:
        """Store interactions by the rule above; all of them are there at once, or none.

        Parameters
        ----------
        rows : pyarrow.Table
            Of the schema `isthmus.schema.INTERACTIONS`, no user, item and event twice.

        Returns
        -------
        tuple of int
            How many were new, and how many took the place of another.
        """
        import lance

        dataset = self._writable()
        merge = dataset.merge_insert(list(INTERACTION_KEY)).when_matched_update_all(REPLACES)
        transaction, done = merge.when_not_matched_insert_all().execute_uncommitted(rows)
        added, changed = int(done["num_inserted_rows"]), int(done["num_updated_rows"])
        if added or changed:  # or readers would see a new version of the same
            lance.LanceDataset.commit(dataset, transaction)
        return added, changed

    def forget(self, user_id: str) -> int:
        """Delete the interactions of a user, and give how many there were."""
        dataset = self._now()
        if dataset is None:
            return 0
        (where,) = predicates_in(USER_ID, [user_id])
        there = int(dataset.count_rows(where))
        if there:
            self._writable().delete(where)
        return there

    def compact_if_fragmented(self) -> None:
        """Merge small fragments where there are many, and index users once there are many."""
        compact_if_fragmented(self._writable(), USER_ID)

    def _worth_holding(self, dataset: Any) -> bool:
        rows = int(dataset.count_rows())
        return rows <= HELD_ROWS and self._spent_s > rows * READ_S_A_ROW

    def _hold(self, dataset: Any) -> HeldInteractions:
        """Give what is held, as it is now on disk; a table that became too large is let go."""
        known = self._held
        if known is not None and known[0] is dataset:
            return known[1]
        held = HeldInteractions.read(dataset, None if known is None else known[1])
        self._held = (dataset, held) if dataset.count_rows() <= HELD_ROWS else None
        return held

    def _now(self) -> Any:
        """Give the table as it is on disk; None before the first interaction."""
        known = self._opened
        if known is None:
            known = open_table(self._path)
        elif known.latest_version != known.version:
            known = known.checkout_version(known.latest_version)
        self._opened = known
        return known

    def _writable(self) -> Any:
        return open_or_create(self._path, INTERACTIONS)


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

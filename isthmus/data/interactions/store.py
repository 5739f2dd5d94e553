"""The store of interactions: one row for each event, as it came.

Only an event that is stored already, equal in all of user, item, event, value, weight and time, is
not stored again; so a file can be added twice. A row without a time is older than any row with one.
Items need not be in the catalog: the store does not look them up.

Lance takes some two milliseconds to look up the rows of one user. So a store that is read often
keeps the whole table in memory. The files of a Lance table never change: new rows go to new
fragments, and deletions are listed beside the old ones. So after a write only new fragments are
read.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import NO_TIME
from isthmus.data.interactions.feedback import canonical
from isthmus.data.lance_tables import (
    any_of,
    commit,
    compact_if_fragmented,
    delete_rows,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.data.leases import hold
from isthmus.data.table_checksums import TableStamp, stamp_of, table_identity
from isthmus.data.users.merged import MergedUsers
from isthmus.digests import digest, keys_of
from isthmus.schema import (
    EVENT,
    EVENT_ADDED,
    EVENT_KEY,
    EVENT_RECOMMENDATION,
    INTERACTION_KEY,
    INTERACTIONS,
    INTERACTIONS_TABLE,
    ITEM_ID,
    RECOMMENDATION_ID,
    STORED_INTERACTIONS,
    TIME,
    USER_ID,
    VALUE,
    WEIGHT,
)

MAX_CACHED_ROWS = 2_000_000  # some 100 bytes each
READ_SECONDS_PER_ROW = 1e-6
ROW_ADDRESS = "_rowaddr"
# One odd factor per column: multiplication by an odd number is a bijection modulo 2**64, and with
# different factors the user "a" of item "b" differs from the user "b" of item "a".
KEY_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
NUMBER_FACTORS = (0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)
OFFSET_BITS = np.uint64(0xFFFFFFFF)  # of a row address: the position in its fragment

Integers = npt.NDArray[np.int64]


class Extent(NamedTuple):
    """What events there are at a moment.

    Attributes
    ----------
    events : int
        Their number.
    last_added : int
        When the last of them was added, in microseconds since 1970; 0 for none.
    """

    events: int = 0
    last_added: int = 0


class InteractionStore:
    """The interactions of a space; a writer must hold the lock ``interactions``.

    Every read returns what is on disk at that moment, whichever process wrote it.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / INTERACTIONS_TABLE
        self._opened: _Opened | None = None
        self._cache: tuple[Any, CachedInteractions] | None = None
        self._seconds_spent = 0.0  # on look-ups by Lance
        self.merged = MergedUsers(folder)

    def __len__(self) -> int:
        dataset = self._latest()
        return 0 if dataset is None else int(dataset.count_rows())

    @property
    def version(self) -> int:
        """Version of the table on disk; 0 before the first interaction (some 20 µs)."""
        dataset = self._latest()
        return 0 if dataset is None else int(dataset.version)

    def of_users(self, user_ids: Sequence[str]) -> pa.Table:
        """Return the interactions of some users.

        Large tables have an index of users, so the cost does not grow with the table. A table
        that fits into memory is read into it as soon as look-ups have taken as long as that would.

        Returns
        -------
        pyarrow.Table
            With the schema `isthmus.schema.INTERACTIONS`, by user, each one's oldest first (rows
            without a time before all others).
        """
        dataset = self._latest()
        if dataset is None or not user_ids:
            return INTERACTIONS.empty_table()
        if self._cache is not None or self._is_worth_caching(dataset):
            return self._cached(dataset).of_users(user_ids)
        start = time.perf_counter()
        names = [*INTERACTIONS.names, EVENT_ADDED]
        parts = [
            dataset.to_table(filter=p, columns=names)
            for p in predicates_in(USER_ID, list(user_ids))
        ]
        rows = sort_by_user_and_time(pa.concat_tables(parts)).select(INTERACTIONS.names)
        self._seconds_spent += time.perf_counter() - start
        return rows

    def of_items(self, item_ids: Sequence[str]) -> pa.Table:
        """Return user_id, item_id and event of the interactions with some items."""
        columns = [USER_ID, ITEM_ID, EVENT]
        dataset = self._latest()
        if dataset is None or not item_ids:
            return INTERACTIONS.empty_table().select(columns)
        predicates = predicates_in(ITEM_ID, list(item_ids))
        return pa.concat_tables(dataset.to_table(filter=p, columns=columns) for p in predicates)

    def table(self, *columns: str) -> pa.Table:
        """Return every interaction, in the order in which they were added.

        Parameters
        ----------
        *columns : str
            Columns to return; all where none is named.
        """
        names = list(columns or INTERACTIONS.names)
        dataset = self._latest()
        if dataset is None:
            return INTERACTIONS.empty_table().select(names)
        table = dataset.to_table(columns=[*names, EVENT_ADDED])
        return table.sort_by(EVENT_ADDED).select(names)

    def of_recommendations(self) -> pa.Table:
        """Return the events that name the list that their item was shown in.

        Returns
        -------
        pyarrow.Table
            recommendation_id, item_id, event, value and time, in the order of their addition.
        """
        names = [ITEM_ID, EVENT, VALUE, TIME]
        dataset = self._latest()
        if dataset is None or EVENT_RECOMMENDATION not in dataset.schema.names:
            fields = [pa.field(RECOMMENDATION_ID, pa.string()), *map(INTERACTIONS.field, names)]
            return pa.schema(fields).empty_table()
        columns = [EVENT_RECOMMENDATION, *names, EVENT_ADDED]
        table = dataset.to_table(columns=columns, filter=f"{EVENT_RECOMMENDATION} IS NOT NULL")
        table = table.sort_by(EVENT_ADDED).drop_columns(EVENT_ADDED)
        return table.rename_columns([RECOMMENDATION_ID, *names])

    def add(
        self,
        rows: pa.Table,
        keys: npt.NDArray[np.uint64] | None = None,
        recommendations: Sequence[str | None] = (),
    ) -> int:
        """Store the events that are not stored yet; all become visible at once, or none.

        Those of a user that was merged into another are stored as the other's.

        Parameters
        ----------
        rows : pyarrow.Table
            With the schema `isthmus.schema.INTERACTIONS`, no event twice.
        keys : numpy.ndarray, optional
            uint64, shape (n_rows,): what tells events of one user and item apart, no key twice; by
            default all that is said of them.
        recommendations : sequence of str or None
            The list that the item of each event was shown in; by default none is known.

        Returns
        -------
        int
            How many were new.
        """
        added = time.time_ns() // 1_000 + np.arange(len(rows))  # in their order
        is_merged = bool(self.merged.count(rows.column(USER_ID)))
        if is_merged:
            rows = _of_users(rows, self.merged.resolve(rows.column(USER_ID)))
        keys = event_keys(rows) if keys is None else keys
        internal = (keys.view(np.int64), added)
        stored = pa.table([*rows.columns, *map(pa.array, internal)], schema=STORED_INTERACTIONS)
        dataset = self._writable()
        field = pa.field(EVENT_RECOMMENDATION, pa.string())
        if any(recommendations) and field.name not in dataset.schema.names:
            dataset.add_columns(pa.schema([field]))
            dataset = self._writable()
        if field.name in dataset.schema.names:
            named = list(recommendations) or [None] * len(rows)
            stored = stored.append_column(field, pa.array(named, pa.string()))
        stored = _without_repeats(stored) if is_merged else stored
        merge = dataset.merge_insert([USER_ID, ITEM_ID, EVENT_KEY])
        transaction, done = merge.when_not_matched_insert_all().execute_uncommitted(stored)
        new = int(done["num_inserted_rows"])
        if new:  # an empty commit would only make readers reload
            commit(dataset, transaction)
        return new

    def added_after(self, moment: int) -> int:
        """Return how many events were added after a moment, in microseconds since 1970."""
        dataset = self._latest()
        return 0 if dataset is None else int(dataset.count_rows(f"{EVENT_ADDED} > {moment}"))

    def extent(self) -> Extent:
        """Return how many events there are, and when the last one was added."""
        dataset = self._latest()
        if dataset is None:
            return Extent()
        added = dataset.to_table(columns=[EVENT_ADDED]).column(EVENT_ADDED)
        return Extent(len(added), pc.max(added).as_py() or 0)

    def deleted_since(self, extent: Extent) -> int:
        """Return how many of the events that there were have been deleted, or merged, since."""
        dataset = self._latest()
        there = (
            0 if dataset is None else dataset.count_rows(f"{EVENT_ADDED} <= {extent.last_added}")
        )
        return max(extent.events - int(there), 0)

    def delete_user(self, user_id: str) -> int:
        """Delete the interactions of a user, and return how many there were."""
        if self._latest() is None:
            return 0
        (predicate,) = predicates_in(USER_ID, [user_id])
        return delete_rows(self._writable(), predicate)

    def delete_expired(self, days: float | None, days_of: Mapping[str, float]) -> int:
        """Delete the events that are older than they are kept, and return how many there were.

        An event without a time is as old as its addition.

        Parameters
        ----------
        days : float or None
            Days that events are kept; None for ever.
        days_of : mapping of str to float
            Days for kinds of event, in the place of `days`.
        """
        predicate = self._expired(days, days_of)
        return 0 if predicate is None else delete_rows(self._writable(), predicate)

    def count_expired(self, days: float | None, days_of: Mapping[str, float]) -> int:
        """Return how many events `delete_expired` would delete."""
        predicate = self._expired(days, days_of)
        return 0 if predicate is None else int(self._latest().count_rows(predicate))

    def _expired(self, days: float | None, days_of: Mapping[str, float]) -> str | None:
        """Return the predicate of expired events; None where there can be none."""
        if self._latest() is None or (days is None and not days_of):
            return None
        by_kind = {canonical(kind): kept for kind, kept in days_of.items()}
        kinds = self.table(EVENT).column(EVENT).unique().to_pylist()
        expired = [
            _older_than(kind, kept)
            for kind in kinds
            if (kept := by_kind.get(canonical(kind), days)) is not None
        ]
        return " OR ".join(expired) or None

    def rename_user(self, former: str, user_id: str) -> int:
        """Move the interactions of a user to another one, and return how many there were.

        An event that both have stays once. They are added before they are deleted, so that a
        rename that was interrupted is done again without a loss.
        """
        dataset = self._latest()
        if dataset is None:
            return 0
        (predicate,) = predicates_in(USER_ID, [former])
        rows = dataset.to_table(filter=predicate)
        if not len(rows):
            return 0
        moved = _of_users(rows, pa.array([user_id] * len(rows), pa.string()))
        # An event without an id of its own has a key that all that is said of it makes.
        of_former, stored = event_keys(rows).view(np.int64), rows.column(EVENT_KEY).to_numpy()
        keys = np.where(stored == of_former, event_keys(moved).view(np.int64), stored)
        moved = moved.drop_columns(EVENT_KEY).append_column(EVENT_KEY, pa.array(keys))
        moved = _without_repeats(moved.select(rows.schema.names).cast(rows.schema))
        dataset = self._writable()
        merge = dataset.merge_insert([USER_ID, ITEM_ID, EVENT_KEY])
        transaction, done = merge.when_not_matched_insert_all().execute_uncommitted(moved)
        if done["num_inserted_rows"]:
            commit(dataset, transaction)
        return delete_rows(self._writable(), predicate)

    def compact_if_fragmented(self) -> None:
        """Merge small fragments if there are many; index users in a large table."""
        compact_if_fragmented(self._writable(), USER_ID)

    def _is_worth_caching(self, dataset: Any) -> bool:
        rows = int(dataset.count_rows())
        return rows <= MAX_CACHED_ROWS and self._seconds_spent > rows * READ_SECONDS_PER_ROW

    def _cached(self, dataset: Any) -> CachedInteractions:
        """Return the table in memory, as it is on disk; a table that grew too large is dropped."""
        cache = self._cache
        if cache is not None and cache[0] is dataset:
            return cache[1]
        interactions = CachedInteractions.read(dataset, None if cache is None else cache[1])
        fits = dataset.count_rows() <= MAX_CACHED_ROWS
        self._cache = (dataset, interactions) if fits else None
        return interactions

    def _latest(self) -> Any:
        """Return the table as it is on disk; None before the first interaction."""
        if self._opened is not None:
            hold(self._path, self._opened.stamp.version)
            if self._opened.stamp.is_newest():
                return self._opened.dataset
        dataset = open_table(self._path)
        if dataset is None:
            self._opened = self._cache = None
            return None
        table = table_identity(self._path)
        if self._opened is not None and table != self._opened.table:
            self._cache = None  # another space was put in the place of this one
        self._opened = _Opened(dataset, stamp_of(self._path, int(dataset.version)), table)
        return dataset

    def _writable(self) -> Any:
        return open_or_create(self._path, STORED_INTERACTIONS)


class _Opened(NamedTuple):
    """The table, the stamp of its version, and what identifies it."""

    dataset: Any
    stamp: TableStamp
    table: str | None


class _Fragment(NamedTuple):
    """The rows of a fragment, sorted by user, time, item and event.

    Attributes
    ----------
    rows : pyarrow.Table
        The rows that were not deleted when it was read.
    offsets : numpy.ndarray
        int64, shape (n_rows,): the position of each row in the fragment.
    users : pyarrow.StringArray
        The distinct user ids, ascending, shape (n_users,).
    starts : numpy.ndarray
        int64, shape (n_users + 1,): user *i* has the rows ``starts[i]`` to ``starts[i + 1]``.
    alive : numpy.ndarray or None
        bool, shape (n_rows,): rows that are not deleted; None where none is deleted.
    deleted : int
        How many rows of the fragment were deleted at that time.
    """

    rows: pa.Table
    offsets: Integers
    users: pa.StringArray
    starts: Integers
    alive: npt.NDArray[np.bool_] | None
    deleted: int

    def rows_of(self, user_id: str) -> Integers:
        """Return the positions of a user's rows, in their order."""
        users = self.users
        at = bisect_left(range(len(users)), user_id, key=lambda i: users[i].as_py())
        if at == len(users) or users[at].as_py() != user_id:
            return np.empty(0, np.int64)
        positions = np.arange(self.starts[at], self.starts[at + 1])
        return positions if self.alive is None else positions[self.alive[positions]]


class CachedInteractions:
    """All interactions of one version of a table, in memory; immutable.

    Parameters
    ----------
    fragments : dict of int to _Fragment
        By Lance's number of the fragment.
    """

    def __init__(self, fragments: dict[int, _Fragment]) -> None:
        self._fragments = fragments

    @classmethod
    def read(cls, dataset: Any, previous: CachedInteractions | None = None) -> CachedInteractions:
        """Return a table in memory; fragments that an earlier version held are not read again."""
        cached = {} if previous is None else previous._fragments
        return cls(
            {
                fragment.fragment_id: _update(fragment, cached.get(fragment.fragment_id))
                for fragment in dataset.get_fragments()
            }
        )

    def of_users(self, user_ids: Sequence[str]) -> pa.Table:
        """Return the interactions of some users, see `InteractionStore.of_users`."""
        parts = []
        for user_id in sorted(set(user_ids)):
            in_fragments = [(f.rows, f.rows_of(user_id)) for f in self._fragments.values()]
            tables = [_take(rows, at) for rows, at in in_fragments if len(at)]
            # The rows of one fragment are sorted already.
            parts += (
                tables if len(tables) < 2 else [sort_by_user_and_time(pa.concat_tables(tables))]
            )
        plain = (part.select(INTERACTIONS.names) for part in parts)
        return pa.concat_tables([INTERACTIONS.empty_table(), *plain])


def _older_than(kind: str, days: float) -> str:
    """Return the predicate of the events of a kind that are older than some days."""
    moment = datetime.now(UTC) - timedelta(days=days)
    micros = round(moment.timestamp() * 1e6)
    of_kind = any_of(EVENT, [kind])
    older = f"{TIME} < timestamp '{moment:%Y-%m-%d %H:%M:%S.%f}'"
    return f"({of_kind} AND ({older} OR ({TIME} IS NULL AND {EVENT_ADDED} < {micros})))"


def _of_users(rows: pa.Table, user_ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return events as those of other users."""
    place = rows.schema.get_field_index(USER_ID)
    return rows.set_column(place, rows.schema.field(place), user_ids)


def _without_repeats(stored: pa.Table) -> pa.Table:
    """Return rows of the table, the first of those that are one event."""
    columns = (stored.column(name).to_pylist() for name in (USER_ID, ITEM_ID, EVENT_KEY))
    first = {key: row for row, key in reversed([*enumerate(zip(*columns, strict=True))])}
    return stored.take(pa.array(sorted(first.values()), pa.int64()))


def event_keys(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """Return a 64-bit key of each event, (n,): user, item, kind, value, weight and time."""
    keys = np.zeros(len(rows), np.uint64)
    for name, factor in zip(INTERACTION_KEY, KEY_FACTORS, strict=True):
        coded = pa.chunked_array([rows.column(name)]).combine_chunks().dictionary_encode()
        distinct = keys_of(map(digest, coded.dictionary.to_pylist()))
        keys += distinct[coded.indices.to_numpy()] * np.uint64(factor)
    numbers = (
        _bits(rows.column(VALUE)),
        _bits(rows.column(WEIGHT)),
        rows.column(TIME).cast(pa.int64()).fill_null(NO_TIME).to_numpy().astype(np.uint64),
    )
    for column, factor in zip(numbers, NUMBER_FACTORS, strict=True):
        mixed = column * np.uint64(factor)  # twice, so that small numbers reach all bits
        keys += (mixed ^ (mixed >> np.uint64(31))) * np.uint64(factor)
    return keys


def _bits(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return float32 numbers as their bits; no value differs from every value."""
    numbers = np.asarray(column.to_numpy(), np.float32) + np.float32(0)  # -0 is 0
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint32).astype(np.uint64)


def sort_by_user_and_time(table: pa.Table) -> pa.Table:
    """Return interactions by user, time (none before all others), item, event and when added."""
    return table.take(pa.array(_order(table)))


def _order(table: pa.Table) -> Integers:
    events, items, users = (_ranks(table.column(name)) for name in (EVENT, ITEM_ID, USER_ID))
    times = table.column(TIME).cast(pa.int64()).fill_null(NO_TIME).to_numpy()
    added = table.column(EVENT_ADDED).to_numpy()
    keys = (added, events, items, times, users)  # the last key is first
    return np.asarray(np.lexsort(keys), np.int64)


def _ranks(names: pa.ChunkedArray) -> Integers:
    """Return the rank of each name among the distinct names, ascending, shape (n_rows,)."""
    coded = pa.chunked_array([names]).combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return np.asarray(ranks[coded.indices.to_numpy()])


def _take(rows: pa.Table, positions: Integers) -> pa.Table:
    """Return some rows, without a copy where they are contiguous."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first == len(positions) - 1:
        return rows.slice(first, len(positions))
    return rows.take(pa.array(positions))


def _update(fragment: Any, cached: _Fragment | None) -> _Fragment:
    """Return a fragment as it is on disk: the cached one, less what was deleted since."""
    deleted = int(fragment.num_deletions)
    if cached is None or deleted < cached.deleted:
        return _read(fragment, deleted)
    if cached.deleted == deleted:
        return cached
    remaining = fragment.to_table(columns=[], with_row_address=True)
    return cached._replace(alive=np.isin(cached.offsets, _offsets(remaining)), deleted=deleted)


def _read(fragment: Any, deleted: int) -> _Fragment:
    table = fragment.to_table(with_row_address=True)
    rows = table.select([*INTERACTIONS.names, EVENT_ADDED]).combine_chunks()
    order = _order(rows)
    rows = rows.take(pa.array(order)).combine_chunks()
    coded = rows.column(USER_ID).combine_chunks().dictionary_encode()  # ascending, as the rows are
    lengths = np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
    return _Fragment(
        rows=rows,
        offsets=_offsets(table)[order],
        users=coded.dictionary,
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        alive=None,
        deleted=deleted,
    )


def _offsets(table: pa.Table) -> Integers:
    return np.asarray(table.column(ROW_ADDRESS).to_numpy() & OFFSET_BITS, np.int64)

"""The store of the attributes of users: one row a user, one typed column an attribute.

A write reads the table, joins the new rows to it, and commits all as one version: readers see the
state before or after it, whenever the writer is killed. Attributes of users are few and short, so
the table is read whole: a million users with five attributes take some 100 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import convert
from isthmus.data.lance_commits import DurableCommits
from isthmus.data.lance_library import lance_library
from isthmus.data.lance_tables import (
    compact_if_fragmented,
    delete_rows,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.data.leases import hold
from isthmus.data.table_checksums import TableStamp, stamp_of
from isthmus.errors import InvalidInput
from isthmus.schema import USER_ID, USERS_TABLE

EMPTY = pa.schema([pa.field(USER_ID, pa.string(), nullable=False)])
MAX_CACHED_ROWS = 2_000_000


class UserStore:
    """The attributes of the users of a space; a writer must hold the lock ``interactions``.

    Every read returns what is on disk at that moment, whichever process wrote it.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / USERS_TABLE
        self._opened: tuple[Any, TableStamp] | None = None
        self._cache: tuple[Any, pa.Table, dict[str, int]] | None = None

    def __len__(self) -> int:
        dataset = self._latest()
        return 0 if dataset is None else int(dataset.count_rows())

    @property
    def version(self) -> int:
        """Version of the table on disk; 0 before the first user."""
        dataset = self._latest()
        return 0 if dataset is None else int(dataset.version)

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The type of each attribute."""
        dataset = self._latest()
        schema = EMPTY if dataset is None else dataset.schema
        return {field.name: field.type for field in schema if field.name != USER_ID}

    def table(self) -> pa.Table:
        """Return all users by id, with a column an attribute."""
        dataset = self._latest()
        return EMPTY.empty_table() if dataset is None else self._read(dataset)[0]

    def of_users(self, user_ids: Sequence[str]) -> pa.Table:
        """Return the users that are there, in the order of the ids, each once."""
        dataset = self._latest()
        if dataset is None:
            return EMPTY.empty_table()
        table, row_of = self._read(dataset)
        known = [row_of[user] for user in dict.fromkeys(user_ids) if user in row_of]
        return table.take(pa.array(known, pa.int64()))

    def put(self, users: pa.Table) -> tuple[int, int]:
        """Add users, or change those that are there; attributes that are not given stay.

        Parameters
        ----------
        users : pyarrow.Table
            user_id, no user twice, and a column for each attribute.

        Returns
        -------
        tuple of int
            How many were added, and how many changed. Nothing is written where none was.
        """
        before = self.table()
        merged, added, changed = _merge(before, users)
        if added or changed or merged.schema.names != before.schema.names:
            self._overwrite(merged)
        return added, changed

    def delete(self, user_ids: Sequence[str]) -> int:
        """Delete users, and return how many there were."""
        dataset = self._latest()
        if dataset is None or not user_ids:
            return 0
        there = self.of_users(user_ids).column(USER_ID).to_pylist()
        if there:
            table = open_or_create(self._path, EMPTY)
            for predicate in predicates_in(USER_ID, there):
                delete_rows(table, predicate)
        return len(there)

    def _overwrite(self, users: pa.Table) -> None:
        """Commit a whole table as the next version."""
        table = open_or_create(self._path, EMPTY)
        lance_library().write_dataset(
            users.sort_by(USER_ID),
            table.uri,
            mode="overwrite",
            commit_lock=DurableCommits(self._path),
        )
        compact_if_fragmented(open_or_create(self._path, EMPTY), USER_ID)

    def _read(self, dataset: Any) -> tuple[pa.Table, dict[str, int]]:
        """Return a version in memory, sorted by user, and the row of each user."""
        if self._cache is not None and self._cache[0] is dataset:
            return self._cache[1], self._cache[2]
        table = dataset.to_table().sort_by(USER_ID).combine_chunks()
        row_of = {user: row for row, user in enumerate(table.column(USER_ID).to_pylist())}
        self._cache = (dataset, table, row_of) if len(table) <= MAX_CACHED_ROWS else None
        return table, row_of

    def _latest(self) -> Any:
        """Return the table as it is on disk; None before the first user."""
        if self._opened is not None:
            dataset, stamp = self._opened
            hold(self._path, stamp.version)
            if stamp.is_newest():
                return dataset
        dataset = open_table(self._path)
        self._opened = None
        if dataset is not None:
            self._opened = dataset, stamp_of(self._path, int(dataset.version))
        return dataset


def _merge(before: pa.Table, users: pa.Table) -> tuple[pa.Table, int, int]:
    """Return all users with the new values, and how many were added and changed."""
    ids = pa.chunked_array(
        [*before.column(USER_ID).chunks, *users.column(USER_ID).chunks], pa.string()
    ).unique()
    old, new = (
        pc.index_in(ids, value_set=t.column(USER_ID).combine_chunks()) for t in (before, users)
    )
    is_new, was_there = pc.is_valid(new), pc.is_valid(old)
    columns: dict[str, pa.Array] = {USER_ID: ids}
    differs = pa.array([False] * len(ids))
    for name in dict.fromkeys([*before.column_names, *users.column_names]):
        if name == USER_ID:
            continue
        type_ = (users if name in users.column_names else before).schema.field(name).type
        former = _taken(before, name, old, type_)
        if name not in users.column_names:
            columns[name] = former
            continue
        columns[name] = pc.if_else(is_new, _taken(users, name, new, type_), former)
        differs = pc.or_(differs, _differ(former, columns[name]))
    changed = pc.and_(differs, was_there)
    added = pc.and_(is_new, pc.invert(was_there))
    schema = pa.schema(
        [EMPTY.field(0), *(pa.field(n, c.type) for n, c in columns.items() if n != USER_ID)]
    )
    counts = (int(pc.sum(mask, min_count=0).as_py() or 0) for mask in (added, changed))
    n_added, n_changed = counts
    return pa.table(columns, schema=schema), n_added, n_changed


def _taken(table: pa.Table, name: str, rows: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return the values of rows, null where a row is null, as a type that holds them."""
    if name not in table.column_names:
        return pa.nulls(len(rows), type_)
    values, misfits = convert(table.column(name).combine_chunks(), type_)
    if misfits:
        raise InvalidInput(f"the stored attribute {name!r} of users {misfits[0][1]}")
    return values.take(rows)


def _differ(left: pa.Array, right: pa.Array) -> pa.Array:
    """Return whether values differ; null equals null, and lists are compared whole."""
    if pa.types.is_nested(left.type):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return pa.array([a != b for a, b in pairs], pa.bool_())
    both = pc.equal(left, right).fill_null(False)
    neither = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.invert(pc.or_(both, neither))

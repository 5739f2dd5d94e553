"""The store of interactions: one row for each user, item and kind of event.

The rule: of two rows of the same user, item and event the one with the later time is kept and, at
equal times or without times, the one added last. A row without a time is older than any that has
one. Items need not be there: what a row counts for is found out when it is read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.interactions.memory import HeldInteractions, in_order
from isthmus.data.lance_tables import among, open_or_make, open_table, tidy
from isthmus.schema import INTERACTION_KEY, INTERACTIONS, USER_ID

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
        parts = [dataset.to_table(filter=where) for where in among(USER_ID, list(user_ids))]
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
        (where,) = among(USER_ID, [user_id])
        there = int(dataset.count_rows(where))
        if there:
            self._writable().delete(where)
        return there

    def tidy(self) -> None:
        """Merge small fragments where there are many, and index users once there are many."""
        tidy(self._writable(), USER_ID)

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
        return open_or_make(self._path, INTERACTIONS)

"""The store of interactions: one row for each user, item and kind of event.

The rule: of two rows of the same user, item and event the one with the later time is kept and, at
equal times or without times, the one added last. A row without a time is older than any that has
one. Items need not be there: what a row counts for is found out when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.columns import EVENT, INTERACTION_KEY, INTERACTIONS, ITEM_ID, TIME, USER_ID
from isthmus.interactions.times import NO_TIME
from isthmus.tables import among, open_or_make, open_table, tidy

FOLDER = "interactions.lance"
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

        Returns
        -------
        pyarrow.Table
            Of the schema `isthmus.columns.INTERACTIONS`, by user, each one's oldest first (those
            without a time before all others).
        """
        dataset = self._now()
        if dataset is None or not user_ids:
            return INTERACTIONS.empty_table()
        parts = [dataset.to_table(filter=where) for where in among(USER_ID, list(user_ids))]
        return _in_order(pa.concat_tables(parts))

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
            Of the schema `isthmus.columns.INTERACTIONS`, no user, item and event twice.

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


def _in_order(table: pa.Table) -> pa.Table:
    """Sort by user, time (none before all others), item and event."""
    keys = table.select(INTERACTION_KEY)
    keys = keys.append_column(TIME, table.column(TIME).cast(pa.int64()).fill_null(NO_TIME))
    order = [(name, "ascending") for name in (USER_ID, TIME, ITEM_ID, EVENT)]
    return table.take(pc.sort_indices(keys, sort_keys=order))

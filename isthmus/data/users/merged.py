"""Which users were merged into others, so that later events of theirs are the others' too.

A log that is added again, or a device that sends late, still has the former id of a user. Each
former id stands here with the user that has everything now, never with another former id.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.lance_tables import (
    commit,
    compact_if_fragmented,
    delete_rows,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.data.table_checksums import TableStamp, stamp_of
from isthmus.schema import MERGED_USERS_TABLE, USER_ID

INTO: Final = "into"
MERGED_USERS: Final = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in (USER_ID, INTO)]
)


class MergedUsers:
    """The former ids of users; a writer must hold the lock ``interactions``.

    Every read returns what is on disk at that moment, whichever process wrote it.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MERGED_USERS_TABLE
        self._known: tuple[TableStamp, dict[str, str]] | None = None

    def targets(self) -> dict[str, str]:
        """Return the present user of each former id."""
        if self._known is not None and self._known[0].is_newest():
            return self._known[1]
        dataset = open_table(self._path)
        if dataset is None:
            self._known = None
            return {}
        table = dataset.to_table()
        formers, users = (table.column(name).to_pylist() for name in (USER_ID, INTO))
        targets = dict(zip(formers, users, strict=True))
        self._known = (stamp_of(self._path, int(dataset.version)), targets)
        return targets

    def formers(self, user_id: str) -> list[str]:
        """Return the former ids of a user, in order."""
        return sorted(former for former, user in self.targets().items() if user == user_id)

    def count(self, user_ids: pa.ChunkedArray) -> int:
        """Return how many of some ids are former ones."""
        return int(pc.sum(self._are_former(user_ids), min_count=0).as_py())

    def resolve(self, user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return ids with the present user in the place of each former one; the same if none is."""
        if not self.count(user_ids):
            return user_ids
        targets = self.targets()
        resolved = [targets.get(user, user) for user in user_ids.to_pylist()]
        return pa.chunked_array([pa.array(resolved, user_ids.type)])

    def add(self, former: str, user_id: str) -> None:
        """Remember that a user was merged into another, with all that were merged into it."""
        targets = self.targets()
        formers = [former, *self.formers(former)]
        if user_id in targets:  # it is a user of its own again
            self._delete([user_id])
        new = [name for name in formers if name != user_id and targets.get(name) != user_id]
        if not new:
            return
        rows = pa.table([new, [user_id] * len(new)], schema=MERGED_USERS)
        dataset = open_or_create(self._path, MERGED_USERS)
        merge = dataset.merge_insert([USER_ID]).when_matched_update_all()
        transaction, _ = merge.when_not_matched_insert_all().execute_uncommitted(rows)
        commit(dataset, transaction)
        compact_if_fragmented(open_or_create(self._path, MERGED_USERS), USER_ID)

    def forget(self, user_id: str) -> None:
        """Forget a user: as a former id, and the former ids that it has."""
        there = [name for name, user in self.targets().items() if user_id in (name, user)]
        if there:
            self._delete(there)

    def _delete(self, formers: list[str]) -> None:
        dataset = open_or_create(self._path, MERGED_USERS)
        for predicate in predicates_in(USER_ID, formers):
            delete_rows(dataset, predicate)
            dataset = open_or_create(self._path, MERGED_USERS)

    def _are_former(self, user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        formers = pa.array(list(self.targets()), pa.string())
        return pc.is_in(user_ids, value_set=formers)

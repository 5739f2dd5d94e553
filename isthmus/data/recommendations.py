"""The store of recommendations: one row for each list that was given, with its propensities.

A propensity is the probability with which the item stood at its place: 1 where nothing was left to
chance. Lists with propensities can be evaluated later, see `isthmus.numerics.off_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from isthmus.data.lance_tables import (
    commit,
    compact_if_fragmented,
    delete_rows,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.schema import ITEM_ID, RECOMMENDATION_ID, RECOMMENDATIONS_TABLE, TIME, USER_ID

PROPENSITY: Final = "propensity"
RECOMMENDATIONS: Final = pa.schema(
    [
        pa.field(RECOMMENDATION_ID, pa.string(), nullable=False),
        pa.field(USER_ID, pa.string()),
        pa.field(TIME, pa.timestamp("us", "UTC"), nullable=False),
        pa.field("release", pa.int32(), nullable=False),
        pa.field("scenario", pa.string()),
        pa.field("experiment", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("request", pa.string(), nullable=False),  # JSON of what else was asked for
        pa.field("offset", pa.int32(), nullable=False),  # places before the first item
        pa.field(ITEM_ID, pa.list_(pa.string()), nullable=False),
        pa.field("score", pa.list_(pa.float32()), nullable=False),
        pa.field(PROPENSITY, pa.list_(pa.float64()), nullable=False),
        pa.field("explored", pa.list_(pa.bool_()), nullable=False),
    ]
)


class RecommendationStore:
    """The recommendations of a space; a writer must hold the lock ``interactions``.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECOMMENDATIONS_TABLE

    def __len__(self) -> int:
        dataset = open_table(self._path)
        return 0 if dataset is None else int(dataset.count_rows())

    def table(self, where: str | None = None) -> pa.Table:
        """Return the recommendations for which a predicate of the table engine holds, by time."""
        dataset = open_table(self._path)
        if dataset is None:
            return RECOMMENDATIONS.empty_table()
        table = dataset.to_table(columns=RECOMMENDATIONS.names, filter=where)
        return table.sort_by([(TIME, "ascending"), (RECOMMENDATION_ID, "ascending")])

    def add(self, rows: Sequence[dict[str, Any]]) -> int:
        """Store recommendations that are not stored yet, all at once; return how many were new."""
        dataset = open_or_create(self._path, RECOMMENDATIONS)
        merge = dataset.merge_insert([RECOMMENDATION_ID])
        table = pa.Table.from_pylist(list(rows), schema=RECOMMENDATIONS)
        transaction, done = merge.when_not_matched_insert_all().execute_uncommitted(table)
        new = int(done["num_inserted_rows"])
        if new:
            commit(dataset, transaction)
            compact_if_fragmented(dataset, USER_ID)
        return new

    def delete_user(self, user_id: str) -> int:
        """Delete the recommendations to a user, and return how many there were."""
        (predicate,) = predicates_in(USER_ID, [user_id])
        return self._delete(predicate)

    def rename_user(self, former: str, user_id: str) -> int:
        """Move the recommendations of a user to another one, and return how many there were."""
        (predicate,) = predicates_in(USER_ID, [former])
        rows = self.table(predicate)
        if len(rows):
            place = rows.schema.get_field_index(USER_ID)
            names = pa.array([user_id] * len(rows), rows.schema.field(place).type)
            dataset = open_or_create(self._path, RECOMMENDATIONS)
            merge = dataset.merge_insert([RECOMMENDATION_ID]).when_matched_update_all()
            moved = rows.set_column(place, rows.schema.field(place), names)
            transaction, _ = merge.execute_uncommitted(moved)
            commit(dataset, transaction)
        return len(rows)

    def delete_before(self, moment: datetime) -> int:
        """Delete the recommendations that are older than a moment, and return how many."""
        return self._delete(f"{TIME} < timestamp '{moment:%Y-%m-%d %H:%M:%S.%f}'")

    def _delete(self, predicate: str) -> int:
        dataset = open_table(self._path)
        if dataset is None:
            return 0
        return delete_rows(dataset, predicate)

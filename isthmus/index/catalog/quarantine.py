"""The quarantine: what could not be embedded, why, and how often it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.lance_tables import (
    compact_if_fragmented,
    open_or_create,
    open_table,
    predicates_in,
)
from isthmus.schema import ITEM_ID, QUARANTINE_TABLE

SCHEMA = pa.schema(
    [
        (ITEM_ID, pa.string()),
        ("modality", pa.string()),
        ("domain", pa.string()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("last_tried", pa.timestamp("us", "UTC")),
        ("attempts", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Failure:
    """One content that could not be embedded."""

    item_id: str
    modality: str
    domain: str
    source: str
    reason: str


class Quarantine:
    """The failures of a space, one row for each item and modality.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / QUARANTINE_TABLE

    def rows(self) -> list[dict[str, Any]]:
        """Give every failure, by item id."""
        table = open_table(self._path)
        if table is None:
            return []
        rows: list[dict[str, Any]] = table.to_table().to_pylist()
        return sorted(rows, key=lambda row: (row["item_id"], row["modality"]))

    def __len__(self) -> int:
        table = open_table(self._path)
        return 0 if table is None else int(table.count_rows())

    def settle(self, item_ids: Sequence[str], failures: Sequence[Failure]) -> None:
        """Record how items fared: failures are kept, other entries of these items removed."""
        if not failures and len(self) == 0:
            return
        dataset = open_or_create(self._path, SCHEMA)
        tried: dict[tuple[str, str], int] = {}
        for predicate in predicates_in("item_id", item_ids):
            for row in dataset.to_table(filter=predicate).to_pylist():
                tried[row["item_id"], row["modality"]] = row["attempts"]
        for predicate in predicates_in("item_id", sorted({item_id for item_id, _ in tried})):
            dataset.delete(predicate)
        if failures:
            dataset.insert(_table(failures, tried), mode="append")
        compact_if_fragmented(dataset, ITEM_ID)


def _table(failures: Sequence[Failure], tried: dict[tuple[str, str], int]) -> pa.Table:
    now = datetime.now(UTC)
    rows = [
        {
            **vars(failure),
            "last_tried": now,
            "attempts": tried.get((failure.item_id, failure.modality), 0) + 1,
        }
        for failure in failures
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)

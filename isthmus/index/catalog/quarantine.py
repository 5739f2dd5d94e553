"""The quarantine: contents that could not be embedded, with the reason and the attempts."""

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
from isthmus.schema import DOMAIN, ITEM_ID, QUARANTINE_TABLE

MODALITY = "modality"
ATTEMPTS = "attempts"
SCHEMA = pa.schema(
    [
        (ITEM_ID, pa.string()),
        (MODALITY, pa.string()),
        (DOMAIN, pa.string()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("last_tried", pa.timestamp("us", "UTC")),
        (ATTEMPTS, pa.int64()),
    ]
)


@dataclass(frozen=True)
class Failure:
    """One content that could not be embedded.

    Attributes
    ----------
    item_id, modality, domain : str
        The item, and which content of it.
    source : str
        Reference to the content.
    reason : str
        The error.
    """

    item_id: str
    modality: str
    domain: str
    source: str
    reason: str


class Quarantine:
    """The failures of a space, one row per item and modality.

    Parameters
    ----------
    folder : Path
        The space.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / QUARANTINE_TABLE

    def rows(self) -> list[dict[str, Any]]:
        """Return every failure, ordered by item id and modality."""
        table = open_table(self._path)
        if table is None:
            return []
        rows: list[dict[str, Any]] = table.to_table().to_pylist()
        return sorted(rows, key=lambda row: (row[ITEM_ID], row[MODALITY]))

    def __len__(self) -> int:
        table = open_table(self._path)
        return 0 if table is None else int(table.count_rows())

    def record(self, item_ids: Sequence[str], failures: Sequence[Failure]) -> None:
        """Record the result of an attempt: these failures replace all entries of the items.

        Parameters
        ----------
        item_ids : sequence of str
            The items that were tried.
        failures : sequence of Failure
            What failed among them.
        """
        if not failures and len(self) == 0:
            return
        dataset = open_or_create(self._path, SCHEMA)
        attempts: dict[tuple[str, str], int] = {}
        for predicate in predicates_in(ITEM_ID, item_ids):
            for row in dataset.to_table(filter=predicate).to_pylist():
                attempts[row[ITEM_ID], row[MODALITY]] = row[ATTEMPTS]
        for predicate in predicates_in(ITEM_ID, sorted({item_id for item_id, _ in attempts})):
            dataset.delete(predicate)
        if failures:
            dataset.insert(_to_table(failures, attempts), mode="append")
        compact_if_fragmented(dataset, ITEM_ID)


def _to_table(failures: Sequence[Failure], attempts: dict[tuple[str, str], int]) -> pa.Table:
    now = datetime.now(UTC)
    rows = [
        {
            **vars(failure),
            "last_tried": now,
            ATTEMPTS: attempts.get((failure.item_id, failure.modality), 0) + 1,
        }
        for failure in failures
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)

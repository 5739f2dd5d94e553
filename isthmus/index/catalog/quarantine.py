"""The quarantine: contents that could not be embedded, with the reason and the attempts.

The failures of an item stand in a column of the catalog, so that they come and go in the commit
that changes the item.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from isthmus.schema import DOMAIN, ITEM_ID, QUARANTINE

MODALITY = "modality"
ATTEMPTS = "attempts"
LAST_TRIED = "last_tried"

Find = Callable[[Sequence[str], Sequence[str]], pa.Table]


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
    read : callable
        Returns `Snapshot.quarantined` of the catalog as it is now.
    """

    def __init__(self, read: Callable[[], pa.Table]) -> None:
        self._read = read

    def rows(self) -> list[dict[str, Any]]:
        """Return every failure, ordered by item id and modality."""
        rows = [
            {ITEM_ID: item[ITEM_ID], DOMAIN: item[DOMAIN], **failure}
            for item in self._read().to_pylist()
            for failure in _decode(item[QUARANTINE])
        ]
        return sorted(rows, key=lambda row: (row[ITEM_ID], row[MODALITY]))

    def __len__(self) -> int:
        return len(self.rows())


def quarantine_column(
    item_ids: Sequence[str], failures: Iterable[Failure], find: Find
) -> pa.StringArray:
    """Return the column of the quarantine after an attempt, shape (n_items,).

    Parameters
    ----------
    item_ids : sequence of str
        The items that were tried.
    failures : iterable of Failure
        What failed among them.
    find : callable
        `Snapshot.find` of the catalog before the attempt; the attempts there are counted on.
    """
    failed: dict[str, list[Failure]] = {}
    for failure in failures:
        failed.setdefault(failure.item_id, []).append(failure)
    stored = find(list(failed), [ITEM_ID, QUARANTINE]).to_pylist()
    attempts = {
        (item[ITEM_ID], former[MODALITY]): former[ATTEMPTS]
        for item in stored
        for former in _decode(item[QUARANTINE])
    }
    now = datetime.now(UTC)
    return pa.array(
        [
            _encode(failed[item_id], attempts, now) if item_id in failed else None
            for item_id in item_ids
        ],
        pa.string(),
    )


def _encode(
    failures: Sequence[Failure], attempts: Mapping[tuple[str, str], int], now: datetime
) -> str:
    entries = []
    for failure in failures:
        entry = {name: v for name, v in asdict(failure).items() if name not in (ITEM_ID, DOMAIN)}
        before = attempts.get((failure.item_id, failure.modality), 0)
        entries.append({**entry, LAST_TRIED: now.isoformat(), ATTEMPTS: before + 1})
    return json.dumps(entries)


def _decode(entries: str | None) -> list[dict[str, Any]]:
    return [
        {**entry, LAST_TRIED: datetime.fromisoformat(entry[LAST_TRIED])}
        for entry in json.loads(entries or "[]")
    ]

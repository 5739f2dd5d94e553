"""The quarantine: contents that could not be embedded, with the reason and the attempts.

The failures of an item stand in a column of the catalog, so that they come and go in the commit
that changes the item.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from isthmus.schema import DOMAIN, ITEM_ID, MEDIA, QUARANTINE, TEXT

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
    item_ids: Sequence[str], failures: Iterable[Failure], tried: Collection[str], find: Find
) -> pa.StringArray:
    """Return the column of the quarantine after an attempt, shape (n_items,).

    Failures of modalities that were not tried stay.

    Parameters
    ----------
    item_ids : sequence of str
        The items that were tried.
    failures : iterable of Failure
        What failed among them.
    tried : collection of str
        Modalities that were tried.
    find : callable
        `Snapshot.find` of the catalog before the attempt; the attempts there are counted on.
    """
    failed: dict[str, list[Failure]] = {}
    for failure in failures:
        failed.setdefault(failure.item_id, []).append(failure)
    looked_up = list(failed) if {TEXT, *MEDIA} <= set(tried) else item_ids
    stored = {
        item[ITEM_ID]: json.loads(item[QUARANTINE] or "[]")
        for item in find(looked_up, [ITEM_ID, QUARANTINE]).to_pylist()
    }
    now = datetime.now(UTC).isoformat()
    entries = (
        _after(stored.get(item_id, []), failed.get(item_id, []), tried, now) for item_id in item_ids
    )
    return pa.array([json.dumps(entry) if entry else None for entry in entries], pa.string())


def _after(
    stored: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure],
    tried: Collection[str],
    now: str,
) -> list[Mapping[str, Any]]:
    """Return the entries of an item after an attempt."""
    attempts = {entry[MODALITY]: entry[ATTEMPTS] for entry in stored}
    failed = {failure.modality for failure in failures}
    entries = [e for e in stored if e[MODALITY] not in failed and e[MODALITY] not in tried]
    for failure in failures:
        entry = {name: v for name, v in asdict(failure).items() if name not in (ITEM_ID, DOMAIN)}
        before = attempts.get(failure.modality, 0)
        entries.append({**entry, LAST_TRIED: now, ATTEMPTS: before + 1})
    return entries


def _decode(entries: str | None) -> list[dict[str, Any]]:
    return [
        {**entry, LAST_TRIED: datetime.fromisoformat(entry[LAST_TRIED])}
        for entry in json.loads(entries or "[]")
    ]

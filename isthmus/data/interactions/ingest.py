"""Ingest of interactions: validate the whole input, deduplicate it, store it in batches."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.reader import InteractionReader
from isthmus.data.interactions.store import InteractionStore
from isthmus.digests import digest, keys_of
from isthmus.progress import progress_bar
from isthmus.schema import EVENT, ITEM_ID, USER_ID, VALUE

COMMIT_ROWS = 1_000_000
MAX_EXAMPLES = 5

Contains = Callable[[pa.Array], pa.BooleanArray]


@dataclass
class UnknownItems:
    """Items that are not in the catalog yet; their interactions are stored all the same.

    Attributes
    ----------
    items, interactions : int
        Number of such items in the input, and of interactions with them.
    examples : list of str
        Some of their ids.
    """

    items: int = 0
    interactions: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class InteractionReport:
    """The result of adding interactions.

    Attributes
    ----------
    rows_read : int
        Rows of the input; the sum of the four counts below.
    added, unchanged : int
        Events that were new, or that the store had already.
    repeated : int
        Rows left out because they repeat another row of the input exactly.
    invalid : int
        Rows left out because they are invalid.
    events : dict of str to int
        Rows of each kind of event, without those left out.
    without_value : int
        Rows that have no value.
    users : int
        Number of users in the input.
    unknown_items : UnknownItems
        Items of the input that are not in the catalog yet.
    seconds : float
        Duration.
    problems : list of str
        What is wrong with each invalid row, and where it stands.
    notes : list of str
        What was found out about the input, such as the encoding of a file.
    """

    rows_read: int = 0
    added: int = 0
    unchanged: int = 0
    repeated: int = 0
    invalid: int = 0
    events: dict[str, int] = field(default_factory=dict)
    without_value: int = 0
    users: int = 0
    unknown_items: UnknownItems = field(default_factory=UnknownItems)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def add_interactions(
    store: InteractionStore,
    reader: InteractionReader,
    in_catalog: Contains,
    *,
    skip_invalid: bool = False,
    progress: bool = False,
) -> InteractionReport:
    """Add interactions; the caller holds the lock ``interactions``.

    A run that was killed can be repeated: what it stored counts as unchanged.

    Parameters
    ----------
    store : InteractionStore
        Where they are stored.
    reader : InteractionReader
        The input.
    in_catalog : callable
        Returns for item ids (an Arrow array) whether the catalog has them.
    skip_invalid : bool, default False
        Leave invalid rows out instead of raising.
    progress : bool, default False
        Whether to show progress bars.

    Raises
    ------
    InvalidInteractions
        If rows are invalid and `skip_invalid` is false; nothing is stored then.
    """
    start = time.perf_counter()
    with progress_bar("checking", reader.rows, show=progress) as advance:
        rows = reader.check(advance)
    if not skip_invalid:
        reader.raise_if_invalid()
    report = InteractionReport(
        rows_read=rows,
        repeated=len(reader.repeated),
        invalid=len(reader.problems),
        problems=reader.listed_problems(),
        notes=reader.notes,
    )
    users: list[npt.NDArray[np.uint64]] = []
    items: Counter[str] = Counter()
    of_merged = 0
    with progress_bar("adding", rows - report.repeated - report.invalid, show=progress) as advance:
        for batch in reader.batches(COMMIT_ROWS):
            of_merged += store.merged.count(batch.column(USER_ID))
            added = store.add(batch)
            report.added += added
            report.unchanged += len(batch) - added
            _count_kinds(report, batch)
            users.append(keys_of(map(digest, batch.column(USER_ID).unique().to_pylist())))
            for pair in pc.value_counts(batch.column(ITEM_ID)).to_pylist():
                items[pair["values"]] += pair["counts"]
            advance(len(batch))
    if report.added:
        store.compact_if_fragmented()
    note_merged(report, of_merged)
    report.users = len(np.unique(np.concatenate(users))) if users else 0
    report.unknown_items = _unknown_items(items, in_catalog)
    report.seconds = round(time.perf_counter() - start, 3)
    return report


def note_merged(report: InteractionReport, events: int) -> None:
    """Say in a report how many events were of users that had been merged into others."""
    if events:
        report.notes.append(
            f"events of users that were merged into others: {events:,}; they are stored as the "
            "others'"
        )


def report_events(report: InteractionReport, rows: pa.Table, in_catalog: Contains) -> None:
    """Count in a report the kinds, users and unknown items of the rows of one batch."""
    _count_kinds(report, rows)
    report.users = len(rows.column(USER_ID).unique())
    counted = pc.value_counts(rows.column(ITEM_ID)).to_pylist()
    items = Counter({pair["values"]: pair["counts"] for pair in counted})
    report.unknown_items = _unknown_items(items, in_catalog)


def _count_kinds(report: InteractionReport, batch: pa.Table) -> None:
    for kind in pc.value_counts(batch.column(EVENT)).to_pylist():
        name = kind["values"]
        report.events[name] = report.events.get(name, 0) + kind["counts"]
    report.without_value += batch.column(VALUE).null_count


def _unknown_items(items: Counter[str], in_catalog: Contains) -> UnknownItems:
    ids = pa.array(items, pa.string())
    unknown = ids.filter(pc.invert(in_catalog(ids))).to_pylist()
    interactions = sum(items[item_id] for item_id in unknown)
    return UnknownItems(len(unknown), interactions, sorted(unknown)[:MAX_EXAMPLES])

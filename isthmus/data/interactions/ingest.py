"""Adding: a whole input is checked, brought to one row a user, item and event, and stored."""

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
from isthmus.data.interactions.store import Interactions
from isthmus.digests import digest, keys_of
from isthmus.progress import progress_bar
from isthmus.schema import ITEM_ID, USER_ID

ROWS_A_COMMIT = 1_000_000
MOST_EXAMPLES = 5

Holds = Callable[[pa.Array], pa.BooleanArray]


@dataclass
class UnknownItems:
    """Items that the catalog does not hold; their interactions are stored and wait for them.

    Attributes
    ----------
    items, interactions : int
        How many such items the input has, and how many interactions with them.
    examples : list of str
        A few of their ids.
    """

    items: int = 0
    interactions: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class InteractionReport:
    """What adding interactions did.

    Attributes
    ----------
    rows_read : int
        Rows of the input; the sum of the five counts below.
    added, changed, unchanged : int
        Interactions that were new, took the place of another, or were there already (the same,
        or later).
    repeated : int
        Rows that another row of the input takes the place of: the same user, item and event,
        later or further down.
    invalid : int
        Rows left out because they break the rules.
    users : int
        Users of the input.
    unknown_items : UnknownItems
        Items of the input that the catalog does not hold yet.
    seconds : float
        How long it took.
    problems : list of str
        What is wrong with each invalid row.
    """

    rows_read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    repeated: int = 0
    invalid: int = 0
    users: int = 0
    unknown_items: UnknownItems = field(default_factory=UnknownItems)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as plain values."""
        return asdict(self)


def add_interactions(
    store: Interactions,
    reader: InteractionReader,
    holds: Holds,
    *,
    skip_invalid: bool = False,
    progress: bool = False,
) -> InteractionReport:
    """Add interactions; the caller holds the lock. Doing it again after a kill completes it.

    Parameters
    ----------
    store : Interactions
        Where they go.
    reader : InteractionReader
        Where they come from.
    holds : callable
        Tells which of some item ids (an Arrow array) the catalog holds.
    skip_invalid : bool, default False
        Leave invalid rows out rather than refuse them all.
    progress : bool, default False
        Whether to show bars.

    Raises
    ------
    InvalidInteractions
        If rows break the rules, unless they are to be skipped; nothing is stored then.
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
        problems=[f"row {row}: {what}" for row, what in sorted(reader.problems.items())],
    )
    users: list[npt.NDArray[np.uint64]] = []
    items: Counter[str] = Counter()
    with progress_bar("adding", rows - report.repeated - report.invalid, show=progress) as advance:
        for batch in reader.batches(ROWS_A_COMMIT):
            added, changed = store.add(batch)
            report.added += added
            report.changed += changed
            report.unchanged += len(batch) - added - changed
            users.append(keys_of(map(digest, batch.column(USER_ID).unique().to_pylist())))
            for pair in pc.value_counts(batch.column(ITEM_ID)).to_pylist():
                items[pair["values"]] += pair["counts"]
            advance(len(batch))
    if report.added or report.changed:
        store.compact_if_fragmented()
    report.users = len(np.unique(np.concatenate(users))) if users else 0
    report.unknown_items = _unknown(items, holds)
    report.seconds = round(time.perf_counter() - start, 3)
    return report


def _unknown(items: Counter[str], holds: Holds) -> UnknownItems:
    names = pa.array(items, pa.string())
    unknown = names.filter(pc.invert(holds(names))).to_pylist()
    waiting = sum(items[name] for name in unknown)
    return UnknownItems(len(unknown), waiting, sorted(unknown)[:MOST_EXAMPLES])

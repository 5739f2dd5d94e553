"""Which interactions hold ratings: those of the kinds of event whose values differ.

Where values are given for one kind of event alone, all others have the value 1, which says
nothing of what a user would give an item.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.schema import EVENT, ITEM_ID, VALUE, WEIGHT


@dataclass(frozen=True, eq=False)
class Rated:
    """What users gave items.

    Attributes
    ----------
    events : tuple of str
        The kinds of event whose values are ratings.
    matrix : InteractionMatrix
        The values, whatever they weigh.
    """

    events: tuple[str, ...]
    matrix: InteractionMatrix


def rated_events(interactions: pa.Table) -> tuple[str, ...]:
    """Name the kinds of event whose values differ.

    Examples
    --------
    >>> events = ["rating", "rating", "view", "view"]
    >>> rated_events(pa.table({"event": events, "value": [4.0, 2.0, 1.0, 1.0]}))
    ('rating',)
    """
    found = interactions.group_by(EVENT).aggregate([(VALUE, "min"), (VALUE, "max")])
    columns = (found.column(name).to_pylist() for name in (EVENT, f"{VALUE}_min", f"{VALUE}_max"))
    return tuple(sorted(event for event, low, high in zip(*columns, strict=True) if low != high))


def of_events(interactions: pa.Table, events: Collection[str]) -> pa.Table:
    """Give the interactions of some kinds of event."""
    kinds = pa.array(list(events), pa.string())
    return interactions.filter(pc.is_in(interactions.column(EVENT), value_set=kinds))


def unweighted(interactions: pa.Table) -> pa.Table:
    """Give interactions that all weigh the same."""
    at = interactions.schema.get_field_index(WEIGHT)
    ones = pa.repeat(pa.scalar(1.0, pa.float32()), len(interactions))
    return interactions.set_column(at, interactions.schema.field(at), ones)


def values_of(interactions: pa.Table) -> dict[str, float]:
    """Give the value of each item of one user: the largest, as a matrix has it."""
    found = interactions.group_by(ITEM_ID).aggregate([(VALUE, "max")])
    columns = (found.column(name).to_pylist() for name in (ITEM_ID, f"{VALUE}_max"))
    return dict(zip(*columns, strict=True))

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
from isthmus.schema import EVENT, ITEM_ID, USER_ID, VALUE, WEIGHT

GOOD_SHARE = 0.8


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


def default_positive_from(interactions: pa.Table) -> float | None:
    """Give the least value that counts as liked.

    Where all values above zero are equal there is no such value: whatever is above zero is
    liked. Otherwise it is four fifths of the largest, which is four of five stars.

    Parameters
    ----------
    interactions : pyarrow.Table
        With a column value.
    """
    values = interactions.column(VALUE)
    found = pc.min_max(values.filter(pc.greater(values, 0)))
    return _good(found["min"].as_py(), found["max"].as_py())


def positive_from_of_users(interactions: pa.Table) -> dict[str, float | None]:
    """Give the same of each user's interactions alone, by user; none for who liked nothing.

    Parameters
    ----------
    interactions : pyarrow.Table
        With columns user_id and value.
    """
    liked = interactions.filter(pc.greater(interactions.column(VALUE), 0))
    found = liked.group_by(USER_ID).aggregate([(VALUE, "min"), (VALUE, "max")])
    rows = (found.column(name).to_pylist() for name in (USER_ID, f"{VALUE}_min", f"{VALUE}_max"))
    return {user: _good(low, high) for user, low, high in zip(*rows, strict=True)}


def _good(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None or low == high else GOOD_SHARE * high

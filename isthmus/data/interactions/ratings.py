"""Interactions as feedback: the value from which one is positive, and the events that are ratings.

Where only one kind of event has differing values, all others have the value 1, which says nothing
about the rating that a user would give.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.schema import EVENT, ITEM_ID, USER_ID, VALUE, WEIGHT

POSITIVE_SHARE = 0.8  # of the largest value: four of five stars


def default_positive_from(interactions: pa.Table) -> float | None:
    """Return the smallest value that counts as positive feedback.

    It is four fifths of the largest value. Where all values above zero are equal it is None:
    every value above zero is positive.

    Parameters
    ----------
    interactions : pyarrow.Table
        With a column value.
    """
    values = interactions.column(VALUE)
    extremes = pc.min_max(values.filter(pc.greater(values, 0)))
    return _threshold(extremes["min"].as_py(), extremes["max"].as_py())


def positive_from_by_user(interactions: pa.Table) -> dict[str, float | None]:
    """Return `default_positive_from` of each user's interactions.

    Users without a value above zero are absent.

    Parameters
    ----------
    interactions : pyarrow.Table
        With columns user_id and value.
    """
    positive = interactions.filter(pc.greater(interactions.column(VALUE), 0))
    extremes = positive.group_by(USER_ID).aggregate([(VALUE, "min"), (VALUE, "max")])
    rows = (extremes.column(name).to_pylist() for name in (USER_ID, f"{VALUE}_min", f"{VALUE}_max"))
    return {user: _threshold(low, high) for user, low, high in zip(*rows, strict=True)}


def _threshold(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None or low == high else POSITIVE_SHARE * high


@dataclass(frozen=True, eq=False)
class RatingData:
    """The ratings that users gave items.

    Attributes
    ----------
    events : tuple of str
        The kinds of event whose values are ratings.
    matrix : InteractionMatrix
        The values, all with the weight 1.
    """

    events: tuple[str, ...]
    matrix: InteractionMatrix


def rated_events(interactions: pa.Table) -> tuple[str, ...]:
    """Return the kinds of event whose values differ.

    Examples
    --------
    >>> events = ["rating", "rating", "view", "view"]
    >>> rated_events(pa.table({"event": events, "value": [4.0, 2.0, 1.0, 1.0]}))
    ('rating',)
    """
    extremes = interactions.group_by(EVENT).aggregate([(VALUE, "min"), (VALUE, "max")])
    columns = (
        extremes.column(name).to_pylist() for name in (EVENT, f"{VALUE}_min", f"{VALUE}_max")
    )
    return tuple(sorted(event for event, low, high in zip(*columns, strict=True) if low != high))


def select_events(interactions: pa.Table, events: Collection[str]) -> pa.Table:
    """Return the interactions of some kinds of event."""
    kinds = pa.array(list(events), pa.string())
    return interactions.filter(pc.is_in(interactions.column(EVENT), value_set=kinds))


def with_unit_weights(interactions: pa.Table) -> pa.Table:
    """Return interactions with every weight set to 1."""
    at = interactions.schema.get_field_index(WEIGHT)
    ones = pa.repeat(pa.scalar(1.0, pa.float32()), len(interactions))
    return interactions.set_column(at, interactions.schema.field(at), ones)


def value_by_item(interactions: pa.Table) -> dict[str, float]:
    """Return the largest value of each item, for the interactions of one user."""
    largest = interactions.group_by(ITEM_ID).aggregate([(VALUE, "max")])
    columns = (largest.column(name).to_pylist() for name in (ITEM_ID, f"{VALUE}_max"))
    return dict(zip(*columns, strict=True))

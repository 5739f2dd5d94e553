"""Ratings: the events whose values are ratings, and the latest of each user and item."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.columns import NO_TIME
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.schema import EVENT, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT


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

    Where all events of a kind have the value 1, that says nothing about the rating that a user
    would give.

    Examples
    --------
    >>> events = ["rating", "rating", "view", "view"]
    >>> rated_events(pa.table({"event": events, "value": [4.0, 2.0, 1.0, None]}))
    ('rating',)
    """
    extremes = interactions.group_by(EVENT).aggregate([(VALUE, "min"), (VALUE, "max")])
    columns = (
        extremes.column(name).to_pylist() for name in (EVENT, f"{VALUE}_min", f"{VALUE}_max")
    )
    return tuple(sorted(event for event, low, high in zip(*columns, strict=True) if low != high))


def latest_ratings(interactions: pa.Table, events: Collection[str]) -> pa.Table:
    """Return the latest event with a value of each user and item, of some kinds of event.

    Of those at one time, or without one, the last row is the latest.
    """
    kinds = pa.array(list(events), pa.string())
    rated = pc.and_(
        pc.is_in(interactions.column(EVENT), value_set=kinds),
        pc.is_valid(interactions.column(VALUE)),
    )
    return latest_events(interactions.filter(rated))


def latest_events(table: pa.Table) -> pa.Table:
    """Return the latest event of each user and item.

    Of those at one time, or without one, the last row is the latest.
    """
    if not len(table):
        return table
    users, items = (
        pa.chunked_array([table.column(name)]).combine_chunks().dictionary_encode()
        for name in (USER_ID, ITEM_ID)
    )
    times = table.column(TIME).cast(pa.int64()).fill_null(NO_TIME).to_numpy()
    keys = users.indices.to_numpy().astype(np.int64) * len(items.dictionary)
    keys += items.indices.to_numpy()
    order = np.lexsort((times, keys))
    last = np.append(keys[order][1:] != keys[order][:-1], True)
    return table.take(pa.array(np.sort(order[last])))


def with_unit_weights(interactions: pa.Table) -> pa.Table:
    """Return interactions with every weight set to 1."""
    at = interactions.schema.get_field_index(WEIGHT)
    ones = pa.repeat(pa.scalar(1.0, pa.float32()), len(interactions))
    return interactions.set_column(at, interactions.schema.field(at), ones)


def value_by_item(ratings: pa.Table) -> dict[str, float]:
    """Return the value of each item, for the latest ratings of one user."""
    columns = (ratings.column(name).to_pylist() for name in (ITEM_ID, VALUE))
    return dict(zip(*columns, strict=True))

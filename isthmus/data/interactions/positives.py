"""Which interactions count as liked."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.schema import USER_ID, VALUE

GOOD_SHARE = 0.8


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

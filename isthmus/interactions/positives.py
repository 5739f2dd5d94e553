"""Which interactions count as liked."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.columns import VALUE

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
    low, high = found["min"].as_py(), found["max"].as_py()
    return None if low is None or low == high else GOOD_SHARE * high

"""Which interactions are positive: what ranking protocols hide and learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ratings import default_positive_from
from isthmus.errors import InvalidInput
from isthmus.schema import VALUE


@dataclass(frozen=True, eq=False)
class Positives:
    """The positive interactions among all.

    Attributes
    ----------
    table : pyarrow.Table
        The positive ones.
    least : float or None
        The least value that is positive; None where every interaction is.
    of : int
        How many interactions there are in all.
    """

    table: pa.Table
    least: float | None
    of: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it."""
        least = "any value (all are equal)" if self.least is None else f"{self.least:g}"
        return {"positive from": least, "positive": f"{len(self.table):,} of {self.of:,}"}


def positives_of(interactions: pa.Table, positive_from: float | None = None) -> Positives:
    """Choose the positive interactions.

    Parameters
    ----------
    interactions : pyarrow.Table
        With a column value.
    positive_from : float, optional
        The least value that is positive. By default every interaction is where all values are
        equal, and else those of 0.8 of the largest value or more: 4 of 5 stars, as is usual
        where ratings become implicit feedback (Liang et al., WWW 2018).

    Raises
    ------
    InvalidInput
        If no value is above zero and nothing is told, or nothing is positive.

    Examples
    --------
    >>> positives_of(pa.table({"value": [5.0, 4.0, 3.5]})).facts
    {'positive from': '4', 'positive': '2 of 3'}
    """
    values = interactions.column(VALUE)
    if positive_from is None:
        found = pc.min_max(values)
        smallest, largest = found["min"].as_py(), found["max"].as_py()
        if smallest == largest:  # of two zeros one may be negative, so they are compared
            return Positives(interactions, None, len(interactions))
        positive_from = default_positive_from(interactions)
        if largest <= 0:
            raise InvalidInput(
                f"the largest value is {largest:g}, so what is positive must be told; give "
                "positive_from (--positive-from)"
            )
        if positive_from is None:  # zero and one other value
            positive_from = largest
    kept = np.asarray(values.to_numpy(), np.float32) >= np.float32(positive_from)
    if not kept.any():
        raise InvalidInput(
            f"no value reaches {positive_from:g}, from which they are positive; the largest is "
            f"{pc.max(values).as_py():g}: give a smaller positive_from (--positive-from)"
        )
    return Positives(interactions.filter(pa.array(kept)), positive_from, len(interactions))

"""Items that were shown to users lately, or dismissed by them, from their stored events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import DISMISSALS, IMPRESSIONS, canonical
from isthmus.schema import EVENT, ITEM_ID, TIME, USER_ID


def shown_items(events: pa.Table, until: float, seconds: float) -> Mapping[str, list[str]]:
    """Return the items that were shown to each user, or dismissed, in the time before a moment.

    Parameters
    ----------
    events : pyarrow.Table
        Stored events, with the schema `isthmus.schema.INTERACTIONS`. Those without a time do not
        count.
    until : float
        The moment, in seconds since 1970.
    seconds : float
        The length of the time.
    """
    kinds = pc.unique(events.column(EVENT)).to_pylist()
    shown = [kind for kind in kinds if canonical(kind) in (*IMPRESSIONS, *DISMISSALS)]
    if not shown:
        return {}
    end = datetime.fromtimestamp(until, UTC)
    times = events.column(TIME)
    within = pc.and_(
        pc.greater_equal(times, pa.scalar(end - timedelta(seconds=seconds), times.type)),
        pc.less(times, pa.scalar(end, times.type)),
    )
    of_kind = pc.is_in(events.column(EVENT), value_set=pa.array(shown, pa.string()))
    rows = events.filter(pc.fill_null(pc.and_(within, of_kind), False))
    items: dict[str, list[str]] = {}
    columns = (rows.column(name).to_pylist() for name in (USER_ID, ITEM_ID))
    for user, item in zip(*columns, strict=True):
        items.setdefault(user, []).append(item)
    return items

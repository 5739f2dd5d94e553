"""What became of logged recommendations: click-through, calibration, cold-start users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.interactions.feedback import default_weight
from isthmus.numerics.arrays import Mask
from isthmus.schema import EVENT, ITEM_ID, RECOMMENDATION_ID, SCORE, TIME, USER_ID

SINGLE_PLACES: Final = 10  # further ones count together
BINS: Final = 10
NO_SCENARIO: Final = "-"
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class PlaceCount:
    """Items that were shown at a place of the lists of a scenario, and clicks on them."""

    scenario: str
    position: str
    shown: int
    clicked: int


@dataclass(frozen=True)
class ScoreBin:
    """A tenth of the places, by their scores: the mean score, and the share that was clicked."""

    number: int
    places: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class LogSummary:
    """What a log of recommendations says.

    Attributes
    ----------
    lists, items : int
        Number of lists, and of different items in them.
    cold_lists : int
        Lists for users of whom no positive event was stored before.
    places : list of PlaceCount
        By scenario (``-`` for none) and position (1 to 10, and ``11+``).
    bins : list of ScoreBin
        From the lowest scores to the highest; empty where there is nothing.
    """

    lists: int
    items: int
    cold_lists: int
    places: list[PlaceCount]
    bins: list[ScoreBin]


def summarize_log(lists: pa.Table, events: pa.Table, histories: pa.Table) -> LogSummary:
    """Join logged lists with the events that name them, and with the histories of their users.

    Parameters
    ----------
    lists : pyarrow.Table
        Logged lists.
    events : pyarrow.Table
        Events that name a recommendation; those that count as positive are clicks.
    histories : pyarrow.Table
        user_id, event and time of the interactions of the users of the lists.
    """
    rows = zip(*(events.column(n).to_pylist() for n in (RECOMMENDATION_ID, ITEM_ID, EVENT)),
               strict=True)  # fmt: skip
    clicked = {(name, item) for name, item, event in rows if default_weight(event) > 0}
    counts: dict[tuple[str, int], list[int]] = {}
    scores: list[float] = []
    clicks: list[bool] = []
    seen: set[str] = set()
    columns = (RECOMMENDATION_ID, "scenario", "offset", ITEM_ID, SCORE)
    for name, scenario, offset, items, of_items in zip(
        *(lists.column(column).to_pylist() for column in columns), strict=True
    ):
        seen.update(items)
        scores += of_items
        for at, item in enumerate(items, offset):
            hit = (name, item) in clicked
            clicks.append(hit)
            key = (scenario or NO_SCENARIO, min(at, SINGLE_PLACES))
            count = counts.setdefault(key, [0, 0])
            count[0] += 1
            count[1] += hit
    places = [
        PlaceCount(scenario, f"{at + 1}+" if at == SINGLE_PLACES else str(at + 1), *count)
        for (scenario, at), count in sorted(counts.items())
    ]
    return LogSummary(
        len(lists),
        len(seen),
        _cold_lists(lists, histories),
        places,
        _bins(np.array(scores), np.array(clicks, bool)),
    )


def _cold_lists(lists: pa.Table, histories: pa.Table) -> int:
    """Count the lists that are older than all positive events of their user."""
    first: dict[str, datetime] = {}
    for user, event, time in zip(
        *(histories.column(name).to_pylist() for name in (USER_ID, EVENT, TIME)), strict=True
    ):
        if default_weight(event) > 0:  # without a time, it is older than any with one
            first[user] = min(first.get(user, LAST), time or FIRST)
    users, times = lists.column(USER_ID).to_pylist(), lists.column(TIME).to_pylist()
    return sum(first.get(user, LAST) >= time for user, time in zip(users, times, strict=True))


def _bins(scores: npt.NDArray[np.float64], clicks: Mask) -> list[ScoreBin]:
    if not len(scores):
        return []
    order = np.argsort(scores, kind="stable")
    return [
        ScoreBin(number, len(part), float(scores[part].mean()), float(clicks[part].mean()))
        for number, part in enumerate(np.array_split(order, BINS), 1)
        if len(part)
    ]

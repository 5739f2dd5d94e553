"""Events with ids of their own, as trackers send them: stored once, however often they are sent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pydantic import Field, SkipValidation, field_validator

from isthmus.data.columns import LARGEST
from isthmus.data.interactions.ingest import InteractionReport, note_merged, report_events
from isthmus.digests import digest, keys_of
from isthmus.errors import InvalidInput, InvalidInteractions, IsthmusError
from isthmus.ids import Id, to_id
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.requests import Request
from isthmus.schema import EVENT, INTERACTIONS, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT

SOURCE: Final = "the events"
CLOCKS_AHEAD: Final = timedelta(days=1)  # of senders, and zones that were left out


class Event(Request):
    """Something that a user did with an item, under an id that the sender gave it."""

    event_id: Id = Field(description="Id of the event; the same one sent again changes nothing.")
    user_id: Id = Field(description="Who did it; an anonymous visitor has an id too.")
    item_id: Id = Field(description="With which item, which the space need not hold yet.")
    event: str = Field(
        default="interaction",
        description="Kind of event: impression, click, purchase, rating, dislike, or any other.",
    )
    value: float | None = Field(
        default=None, description="Its value, such as a rating; 1 for kinds without values."
    )
    weight: float = Field(default=1.0, ge=0, description="Its weight.")
    time: datetime | None = Field(
        default=None, description="When it happened; by default when it arrives. UTC without zone."
    )
    recommendation_id: str | None = Field(
        default=None, description="The list that the item was shown in, as its answer names it."
    )
    position: int | None = Field(default=None, ge=1, description="The place of the item in it.")

    @field_validator("event")
    @classmethod
    def _require_kind(cls, value: str) -> str:
        return to_id(value.strip(), "event")

    @field_validator("value", "weight")
    @classmethod
    def _require_finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
        if value is not None and abs(value) > LARGEST:
            raise ValueError(f"{value} is over the largest number, {LARGEST:.2g}")
        return value

    @field_validator("time")
    @classmethod
    def _require_past(cls, value: datetime | None) -> datetime | None:
        """Refuse what is to come: it would be the newest for ever, and all else old beside it."""
        if value is not None and _aware(value) > datetime.now(UTC) + CLOCKS_AHEAD:
            raise ValueError(
                f"{value.isoformat()} is in the future; give the time in UTC or with its zone"
            )
        return value


class RecordEventsRequest(Request):
    """Events to record."""

    events: SkipValidation[Any] = Field(
        description="Events: event_id, user_id, item_id, and event, value, weight, time, "
        "recommendation_id, position."
    )


def record_events(space: OpenSpace, request: RecordEventsRequest) -> InteractionReport:
    """Store the events whose ids are not stored yet; all of them at once, or none.

    The id of an event is kept as the key of its row and nowhere else: it goes with the row when
    the user is forgotten.

    Raises
    ------
    InvalidInteractions
        If an event is not valid; nothing is stored then.
    """
    start = time.perf_counter()
    events = parse_events(request.events)
    first: dict[int, Event] = {}
    keys = keys_of(digest(event.event_id) for event in events).tolist()
    for key, event in zip(keys, events, strict=True):
        first.setdefault(key, event)
    report = InteractionReport(rows_read=len(events), repeated=len(events) - len(first))
    if first:
        rows = _to_rows(list(first.values()))
        with write_lock(space.path, "interactions", space.wait_s):
            note_merged(report, space.interactions.merged.count(rows.column(USER_ID)))
            shown_in = [event.recommendation_id for event in first.values()]
            added = space.interactions.add(rows, np.array(list(first), np.uint64), shown_in)
            report.added = added
            report.unchanged = len(first) - report.added
            if report.added:
                space.interactions.compact_if_fragmented()
        report_events(report, rows, lambda ids: space.catalog.snapshot().contains(ids))
    report.seconds = round(time.perf_counter() - start, 3)
    return report


def parse_events(given: Any) -> list[Event]:
    """Return events, of mappings or as they are.

    Raises
    ------
    InvalidInput
        If they are no list.
    InvalidInteractions
        If some are not valid.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise InvalidInput("events are no list; give a list of events, each a mapping")
    events: list[Event] = []
    problems: list[tuple[int, str]] = []
    for at, one in enumerate(given):
        try:
            if not isinstance(one, Event | Mapping):
                raise InvalidInput(f"is {one!r}; give a mapping")
            events.append(one if isinstance(one, Event) else Event(**one))
        except (IsthmusError, TypeError) as error:
            problems.append((at, str(error)))
    if problems:
        raise InvalidInteractions(problems, SOURCE, "event {}".format)
    return events


def _to_rows(events: list[Event]) -> pa.Table:
    """Return events as rows of the store; those without a time get the present, in their order."""
    now = time.time_ns() // 1_000
    columns = {
        USER_ID: [event.user_id for event in events],
        ITEM_ID: [event.item_id for event in events],
        EVENT: [event.event for event in events],
        VALUE: [event.value for event in events],
        WEIGHT: [event.weight for event in events],
        TIME: [
            now + at if event.time is None else _microseconds(event.time)
            for at, event in enumerate(events)
        ],
    }
    arrays = [
        pa.array(columns[f.name], pa.int64() if f.name == TIME else f.type).cast(f.type)
        for f in INTERACTIONS
    ]
    return pa.table(arrays, schema=INTERACTIONS)


def _aware(moment: datetime) -> datetime:
    """Return a moment with its zone, UTC where it has none."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _microseconds(moment: datetime) -> int:
    since = _aware(moment) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

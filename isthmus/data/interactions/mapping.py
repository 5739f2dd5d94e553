"""The interaction mapping: which columns of an input are user, item, value, weight and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from isthmus.data.column_types import plain_type
from isthmus.data.template import TextTemplate
from isthmus.errors import InvalidMapping
from isthmus.schema import EVENT, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT

DEFAULT_EVENT = "interaction"
VALUE_COLUMNS = (VALUE, "rating")
TIME_COLUMNS = (TIME, "timestamp")


@dataclass(frozen=True)
class InteractionMapping:
    """Which columns are what; every other column is passed over.

    Parameters
    ----------
    user : str, default "user_id"
        Column of the user id, or a template such as ``"shop-{customer}"``.
    item : str, default "item_id"
        Column of the item id, or a template such as ``"film-{movie_id}"``.
    value : str, optional
        Column of how strong it was. Default: the column value or rating if there is one, else
        every interaction has the value 1.
    time : str, optional
        Column of when it was. Default: the column time or timestamp if there is one.
    weight : str, optional
        Column of what an interaction counts for. Default: the column weight if there is one,
        else every interaction has the weight 1.
    event : str, optional
        One kind of event (``view``, ``purchase``) for the whole input. Takes the place of
        `event_column`.
    event_column : str, optional
        Column of the kind of event. Default: the column event if there is one, else every
        interaction is an ``interaction``.
    """

    user: str = USER_ID
    item: str = ITEM_ID
    value: str | None = None
    time: str | None = None
    weight: str | None = None
    event: str | None = None
    event_column: str | None = None

    @property
    def verbatim(self) -> tuple[str, ...]:
        """Columns whose spelling matters, so that a CSV's ``007`` stays ``007``."""
        ids = (*TextTemplate(self.user).fields, *TextTemplate(self.item).fields)
        return (*ids, self.event_column or EVENT)

    def resolve(self, schema: pa.Schema, source: str) -> ResolvedInteractions:
        """Check the mapping against an input's columns and fill in the defaults.

        Raises
        ------
        InvalidMapping
            If a named column is absent, or has a type that cannot be what it is mapped to; the
            message lists the columns.
        """
        if self.event is not None and not self.event.strip():
            raise InvalidMapping("the kind of event is empty; give a name such as view")
        names = schema.names
        resolved = ResolvedInteractions(
            user=TextTemplate(self.user),
            item=TextTemplate(self.item),
            value=self.value or _first(VALUE_COLUMNS, names),
            time=self.time or _first(TIME_COLUMNS, names),
            weight=self.weight or _first([WEIGHT], names),
            event=(self.event or DEFAULT_EVENT).strip(),
            event_column=None if self.event else self.event_column or _first([EVENT], names),
        )
        for column, what in resolved.reads():
            if column not in names:
                raise InvalidMapping(
                    f"{source} has no column {column!r}; its columns are: {', '.join(names)}"
                )
            if not _can_be(what, plain_type(schema.field(column).type)):
                raise InvalidMapping(
                    f"{source}: column {column!r} is {schema.field(column).type}; {_WANTED[what]}"
                )
        return resolved


@dataclass(frozen=True)
class ResolvedInteractions:
    """A mapping that fits one input."""

    user: TextTemplate
    item: TextTemplate
    value: str | None
    time: str | None
    weight: str | None
    event: str
    event_column: str | None

    def reads(self) -> Iterator[tuple[str, str]]:
        """Give each column that the mapping reads, and what for."""
        for field in (*self.user.fields, *self.item.fields):
            yield field, "id"
        named = {"event": self.event_column, "number": self.value, "time": self.time}
        for what, column in [*named.items(), ("number", self.weight)]:
            if column is not None:
                yield column, what


_WANTED = {
    "id": "an id of a user or an item is text or an integer",
    "event": "a kind of event is text or an integer",
    "number": "a value or a weight is a number",
    "time": "a time is a timestamp, a date, ISO 8601 text, or seconds or milliseconds since 1970",
}


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _can_be(what: str, type_: pa.DataType) -> bool:
    if type_ == pa.string() or pa.types.is_null(type_) or pa.types.is_integer(type_):
        return True
    number = pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    if what == "number":
        return bool(number or pa.types.is_boolean(type_))
    if what == "time":
        return bool(number or pa.types.is_timestamp(type_) or pa.types.is_date(type_))
    return False

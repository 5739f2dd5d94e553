"""Remedies of values that do not fit the type of an attribute, for messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from isthmus.data.convert import NEEDS_UNIT, Misfit, Values, to_objects, type_of
from isthmus.data.types import UTC_TIME, type_name, widen
from isthmus.errors import command_in


class OtherRows:
    """The remedy where values do not fit the type that the other rows give a new attribute."""

    def of(self, row: int, why: str) -> str:
        """Return the end of a problem."""
        del row
        return " as in other rows; write all of them as one type" if why.startswith("holds") else ""


class CastRemedy:
    """The remedy where values do not fit the type that an attribute has: a cast."""

    def __init__(
        self, space: Path | None, domain: str, name: str, type_: pa.DataType, values: Values
    ) -> None:
        self._space, self._domain, self._name = space, domain, name
        self._type, self._values = type_, values
        self._objects: list[Any] | None = None

    def of(self, row: int, why: str) -> str:
        """Return the end of a problem: the command that gives the attribute a type that fits."""
        if not why.startswith("holds") or why.endswith(NEEDS_UNIT):
            return ""
        if self._objects is None:
            self._objects = to_objects(self._values)
        target = self._wider(self._objects[row])
        if target is None:
            return ""
        cast = command_in(self._space, "attributes cast", self._domain, self._name, target)
        return f"; correct it, or: {cast}"

    def _wider(self, value: Any) -> str | None:
        try:
            given = type_of(value)
        except Misfit:
            return None
        if pa.types.is_temporal(self._type) and pa.types.is_timestamp(given):
            return type_name(UTC_TIME if given.tz else given)
        merged = widen(self._type, given)
        if merged is None:
            nested = pa.types.is_nested(self._type) or pa.types.is_nested(given)
            return None if nested else "text"
        return type_name(merged) if merged != self._type else None

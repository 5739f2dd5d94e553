"""Kinds of values in filters: text, numbers, times, truth values, lists, structs."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Kind:
    """What a value is: text, number, time, truth, list, struct, null, or other.

    Attributes
    ----------
    name : str
        The kind.
    type : str
        The type as a user knows it.
    element : Kind or None
        Of a list, the kind of its elements.
    fields : tuple of (str, Kind)
        Of a struct, its fields.
    """

    name: str
    type: str
    element: Kind | None = None
    fields: tuple[tuple[str, Kind], ...] = ()

    def fits(self, other: Kind) -> bool:
        """Return whether values of two kinds can meet in a comparison."""
        if "null" in (self.name, other.name):
            return True
        if self.element and other.element:
            return self.element.fits(other.element)
        return self.name == other.name


NULL = Kind("null", "null")
ANY = Kind("null", "a value")
TEXT = Kind("text", "text")
NUMBER = Kind("number", "number")
TIME = Kind("time", "time")
TRUTH = Kind("truth", "truth value")
OTHER = Kind("other", "other")
BY_NAME = {kind.name: kind for kind in (TEXT, NUMBER, TIME, TRUTH, OTHER)} | {"any": ANY}


def kind_of(type_: pa.DataType) -> Kind:
    """Return the kind of the values of an Arrow type."""
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if pa.types.is_null(type_):
        return NULL
    if (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    ):
        return Kind("list", str(type_), kind_of(type_.value_type))
    if pa.types.is_struct(type_):
        fields = tuple((field.name, kind_of(field.type)) for field in type_)
        return Kind("struct", str(type_), fields=fields)
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return Kind("text", str(type_))
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        return Kind("time", str(type_))
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return Kind("number", str(type_))
    return Kind("truth" if pa.types.is_boolean(type_) else "other", str(type_))


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, for messages."""
    return noun if noun == "null" else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

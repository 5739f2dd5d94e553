"""The type of an attribute, from all its values in one input and what the space knows already.

A column of Arrow has its type. Python objects have the type of each. Texts of a CSV have what all
of them are spelled as: whole numbers, fractions, truth values, dates, times, else text. Where the
values of one attribute have types that do not meet, the type of most values holds, of equals the
first, and the other rows are invalid.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import (
    FRACTION,
    GROUPED_COMMA,
    LONG_WHOLE,
    PLAIN_COMMA,
    WHOLE,
    Misfit,
    Values,
    plain,
    type_of,
    with_points,
)
from isthmus.data.times import zone_of
from isthmus.data.types import (
    UTC_TIME,
    is_untyped,
    merge_types,
    storage_type,
    type_name,
    widen,
)
from isthmus.errors import command_in, listed

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_OFFSET = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
# What a text of a CSV can be spelled as, the narrowest first.
_SPELLINGS: tuple[tuple[str, pa.DataType], ...] = (
    (WHOLE, pa.int64()),
    (FRACTION, pa.float64()),
    ("true|false|True|False|TRUE|FALSE", pa.bool_()),
    (_DATE, pa.date32()),
    (_DATE + _CLOCK, pa.timestamp("us")),
    (_DATE + _CLOCK + _OFFSET, UTC_TIME),
)


class TypeInference:
    """Infers the type of an attribute from its values, which it counts by type.

    Parameters
    ----------
    text : bool, default False
        Whether the column is text by its role: texts of a CSV are no numbers then, and any text
        makes the attribute text.
    decimal : str, default "."
        The decimal mark of the texts of a CSV.

    Attributes
    ----------
    values : int
        Values that are not null.
    """

    def __init__(self, *, text: bool = False, decimal: str = ".") -> None:
        self.values = 0
        self._decimal = decimal
        self._with_comma = 0  # texts that a decimal comma would make numbers of
        self._is_text = text
        self._typed: list[tuple[pa.DataType, int]] = []  # types that do not meet, first seen first
        self._spelled: dict[pa.DataType, int] = {}
        self._zones: list[str] = []
        self._example: str | None = None  # a text that is spelled as nothing else

    def add(self, values: Values, *, spelled: bool = False) -> None:
        """Count values; `spelled` texts are those of a CSV, which may be anything."""
        if isinstance(values, list):
            self._add_objects(values)
            return
        array = plain(values)
        present = len(array) - array.null_count
        if not present:
            return
        self.values += present
        if spelled:
            texts = array.drop_null()
            self._add_spelled(with_points(texts) if self._decimal == "," else texts)
            return
        stored = storage_type(array.type)
        if stored is not None and not is_untyped(stored):
            self._count(stored, present)

    def _add_objects(self, values: list[Any]) -> None:
        counts: dict[pa.DataType, int] = {}
        quick: dict[type, pa.DataType] = {str: pa.string(), bool: pa.bool_(), float: pa.float64()}
        for value in values:
            try:
                type_ = quick.get(type(value)) or type_of(value)
            except Misfit:
                continue
            counts[type_] = counts.get(type_, 0) + 1
        for type_, count in counts.items():
            if not pa.types.is_null(type_):
                self.values += count
            if not is_untyped(type_):
                self._count(type_, count)

    def _count(self, type_: pa.DataType, count: int) -> None:
        self._note_zone(type_)
        for at, (known, before) in enumerate(self._typed):
            merged = _merged(known, type_)
            if merged is not None:
                self._typed[at] = merged, before + count
                return
        self._typed.append((type_, count))

    def _add_spelled(self, texts: pa.Array) -> None:
        for pattern, type_ in _SPELLINGS:
            mask = pc.match_substring_regex(texts, f"^(?:{pattern})$")
            if type_ == pa.float64():  # digits that no number holds are a code
                mask = pc.and_not(mask, pc.match_substring_regex(texts, f"^{LONG_WHOLE}$"))
            matching = texts.filter(mask)
            if len(matching) and _casts(matching, type_):
                for found, count in (
                    _zoned(matching) if type_ == UTC_TIME else [(type_, len(matching))]
                ):
                    self._note_zone(found)
                    self._spelled[found] = self._spelled.get(found, 0) + count
                texts = texts.filter(pc.invert(mask))
            if not len(texts):
                return
        self._spelled[pa.string()] = self._spelled.get(pa.string(), 0) + len(texts)
        self._example = self._example or texts[0].as_py()
        if self._is_text:
            return
        commas = pc.match_substring_regex(texts, f"^(?:{PLAIN_COMMA}|{GROUPED_COMMA})$")
        self._with_comma += pc.sum(commas, min_count=0).as_py()

    def _note_zone(self, type_: pa.DataType) -> None:
        if pa.types.is_timestamp(type_) and type_.tz and type_.tz not in self._zones:
            self._zones.append(type_.tz)

    @property
    def is_mixed(self) -> bool:
        """Whether the values have types of their own that do not meet."""
        return len(self._typed) > 1

    def type(self, declared: pa.DataType | None = None) -> pa.DataType | None:
        """Return the type of the attribute; None where there is no value that has one.

        Parameters
        ----------
        declared : pyarrow.DataType, optional
            The type that the attribute has in the space. It holds, unless values of another type
            make it wider.
        """
        if declared is not None:
            return self._widened(declared)
        has_text = bool(self._spelled) or any(type_ == pa.string() for type_, _ in self._typed)
        if self._is_text and has_text:
            return pa.string()
        if self._typed:
            most = max(count for _, count in self._typed)
            type_ = next(type_ for type_, count in self._typed if count == most)
            return self._widened(type_) if self._spelled else type_
        return self._of_spellings()

    def _widened(self, type_: pa.DataType) -> pa.DataType:
        for given in (*(known for known, _ in self._typed), *self._spelled):
            type_ = widen(type_, given) or type_
        return type_

    def _of_spellings(self) -> pa.DataType | None:
        merged: pa.DataType = pa.null()
        for type_ in self._spelled:
            both = _merged(merged, type_)
            if both is None:
                return pa.string()
            merged = both
        return None if is_untyped(merged) else merged

    def note(self, declared: pa.DataType | None = None) -> str | None:
        """Return why a column of a CSV is text although most of its values are not.

        Or else that its times are kept in another zone than they came in.
        """
        kept = declared if declared is not None else self.type()
        if kept is not None and pa.types.is_timestamp(kept) and kept.tz:
            foreign = [zone for zone in self._zones if zone != kept.tz]
            if foreign:
                return (
                    f"has times in {listed(foreign)}; they are kept as the same moments in "
                    f"{kept.tz}, the one zone of the column"
                )
        if declared is not None or self._typed or not self._spelled:
            return None
        spelled = self._of_spellings()
        if self._is_text and spelled is not None and spelled != pa.string():
            return (
                f"is text, since the text or the id is made of it; {type_name(spelled)} it becomes "
                f"with: {command_in(None, 'attributes cast DOMAIN NAME TYPE')}"
            )
        if self._is_text or self._example is None:
            return None
        others = self._spelled[pa.string()]
        if self._with_comma == others and self._decimal == ".":
            return (
                f"is text, since numbers such as {self._example!r} have a comma; give --decimal , "
                "if it is a decimal comma"
            )
        spelled_as_other = self.values - others
        if spelled_as_other <= others:
            return None
        return (
            f"is text, since {others:,} of its {self.values:,} values are spelled as such, for "
            f"example {self._example!r}; if they stand for missing values, name them with "
            "--null-values"
        )


def _merged(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Return the type of values of two types in one input; times of several zones are in UTC."""
    both = merge_types(left, right)
    is_zoned = [pa.types.is_timestamp(t) and t.tz is not None for t in (left, right)]
    return UTC_TIME if all(is_zoned) and left.tz != right.tz else both


def _zoned(texts: pa.Array) -> list[tuple[pa.DataType, int]]:
    """Return the types of times with a zone, one for each offset, and how many have it."""
    offsets = pc.extract_regex(texts, f"(?P<offset>{_OFFSET})$").field("offset")
    counts: dict[pa.DataType, int] = {}
    for pair in pc.value_counts(offsets).to_pylist():
        type_ = pa.timestamp("us", zone_of(pair["values"]))
        counts[type_] = counts.get(type_, 0) + pair["counts"]
    return list(counts.items())


def _casts(texts: pa.Array, type_: pa.DataType) -> bool:
    """Return whether texts of the right spelling are values: 2026-02-30 is none."""
    try:
        texts.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True

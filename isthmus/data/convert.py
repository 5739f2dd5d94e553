"""Values converted to the type of their attribute: exactly, or refused one by one.

A conversion loses nothing: ``1999.0`` is the whole number 1999, and ``"1999"`` too, but 9.99,
``"soon"`` and true are no whole numbers. A text is read as a number, a truth value, a date or a
time if it is spelled as one; ``007`` is a code and no number. A number is no time unless its unit
is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.times import MAX_TIME, MIN_TIME, time_of_number, zone_of_time
from isthmus.data.types import is_list, merge_types, storage_type, type_name
from isthmus.ids import is_whole

Values: TypeAlias = "pa.Array | list[Any]"  # a column of a chunk: of Arrow, or of Python's objects
Misfits = list[tuple[int, str]]  # row, and what is wrong with its value

WHOLE = r"(?:0|-?[1-9][0-9]{0,18})"
LONG_WHOLE = r"-?[1-9][0-9]{15,}"  # a fraction may not hold all its digits
# Without a point, the exponent has a sign in what programs print: 12e4 is rather a code.
FRACTION = (
    r"-?(?:(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][+-]?[0-9]+)?|(?:0|[1-9][0-9]*)(?:[eE][+-][0-9]+)?)"
)
GROUPED_COMMA = r"-?[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:,[0-9]+)?"  # 1.234,5
PLAIN_COMMA = r"-?(?:0|[1-9][0-9]*)?,[0-9]+"
_WHOLE, _FRACTION, _LONG = (re.compile(pattern) for pattern in (WHOLE, FRACTION, LONG_WHOLE))
_DIGITS = Context(prec=76)  # of the widest decimal of Arrow
_COMMA = re.compile(f"{PLAIN_COMMA}|{GROUPED_COMMA}")
_TRUTH = {"true": True, "false": False}
_ARROW_ERRORS = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
    UnicodeEncodeError,
)
_PYTHON_TYPES: dict[pa.DataType, type] = {
    pa.string(): str,
    pa.int64(): int,
    pa.float64(): float,
    pa.bool_(): bool,
}


NEEDS_UNIT = "a number needs a unit: --time-unit s, ms, us, ns or yyyymmdd"


class Misfit(ValueError):
    """A value that a type does not hold; the message follows the value."""


def plain(array: pa.Array) -> pa.Array:
    """Return an array without dictionary, run-end or extension encoding."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array.type, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(array.type):
        return plain(plain(array.dictionary).take(array.indices.cast(pa.int64())))
    if pa.types.is_run_end_encoded(array.type):
        return plain(pc.run_end_decode(array))
    if array.type in (pa.string_view(), pa.binary_view()):
        return array.cast(storage_type(array.type))
    if pa.types.is_nested(array.type):
        return _plain_nested(array)
    return array


def _plain_nested(array: pa.Array) -> pa.Array:
    """Return lists and structs without encodings inside; maps and unions stay as they are."""
    stored = storage_type(array.type)
    if stored is None or pa.types.is_null(stored) or stored == array.type:
        return array
    if not _has_list_views(array.type):  # Arrow casts slices of those to other lists
        try:
            return array.cast(stored)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            pass
    return pa.array(array.to_pylist(), stored)


def _has_list_views(type_: pa.DataType) -> bool:
    is_view = pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_)
    return is_view or any(_has_list_views(type_.field(i).type) for i in range(type_.num_fields))


def convert(
    values: Values,
    type_: pa.DataType,
    *,
    time_unit: str | None = None,
    spell: bool = True,
    decimal: str = ".",
) -> tuple[pa.Array, Misfits]:
    """Return values as an array of a stored type, null where a value does not fit, and why not.

    Parameters
    ----------
    values : pyarrow.Array or list
        Shape (n,).
    type_ : pyarrow.DataType
        A stored type, see `isthmus.data.types.storage_type`.
    time_unit : str, optional
        What numbers count where the type is a date or a time, see `isthmus.data.times`.
    spell : bool, default True
        Whether a whole number fits text, as its decimal text.
    decimal : str, default "."
        The decimal mark of texts that are numbers.

    Examples
    --------
    >>> array, misfits = convert(["1", 2.0, "soon"], pa.int64())
    >>> array.to_pylist(), misfits
    ([1, 2, None], [(2, "holds 'soon', which is no int64")])
    """
    respelled = with_points(values) if decimal == "," and _is_number_type(type_) else values
    fast = _convert_fast(respelled, type_, spell=spell)
    if fast is not None:
        return fast, []
    given = to_objects(values)
    objects = given if respelled is values else to_objects(respelled)
    converted, misfits = [], []
    for row, value in enumerate(objects):
        try:
            converted.append(fit(value, type_, time_unit, spell=spell))
        except Misfit as misfit:
            converted.append(None)
            misfits.append((row, str(misfit).replace(shown(value), shown(given[row]), 1)))
    return pa.array(converted, type_), misfits


def with_points(values: Values) -> Values:
    """Return texts that are numbers with a decimal comma as those with a point; others stay.

    Points group digits then; a number in which they do not becomes what is none.

    Examples
    --------
    >>> with_points(pa.array(["1,5", "-1.234,50", "1.234", "1.5", "a, b"])).to_pylist()
    ['1.5', '-1234.50', '1234', '1..5', 'a, b']
    """
    if isinstance(values, list):
        return values
    array = plain(values)
    if not pa.types.is_string(array.type):
        return values
    is_grouped = pc.match_substring_regex(array, f"^{GROUPED_COMMA}$")
    is_plain = pc.match_substring_regex(array, f"^{PLAIN_COMMA}$")
    is_pointed = pc.match_substring_regex(array, r"^-?[0-9]*\.[0-9.]+$")
    without_groups = pc.if_else(is_grouped, pc.replace_substring(array, ".", ""), array)
    is_comma = pc.or_(is_grouped, is_plain)
    with_point = pc.if_else(
        is_comma, pc.replace_substring(without_groups, ",", "."), without_groups
    )
    is_none = pc.and_not(is_pointed, is_grouped)
    return pc.if_else(is_none, pc.replace_substring(array, ".", ".."), with_point)


def _is_number_type(type_: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_))


def to_objects(values: Values) -> list[Any]:
    """Return values as Python objects; a time that Python cannot hold stays an Arrow scalar."""
    if isinstance(values, list):
        return values
    array = plain(values)
    try:
        objects: list[Any] = array.to_pylist()
    except (ValueError, OverflowError, UnicodeDecodeError):
        objects = [_to_object(scalar) for scalar in array]
    return objects


def _to_object(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, UnicodeDecodeError):
        return scalar


def _convert_fast(values: Values, type_: pa.DataType, *, spell: bool) -> pa.Array | None:
    """Return the whole column in one call of Arrow, where that cannot lose anything."""
    try:
        if isinstance(values, list):
            expected = _PYTHON_TYPES.get(type_)
            if expected is None or {type(value) for value in values} - {expected, type(None)}:
                return None
            array = pa.array(values, type_)
        else:
            array = plain(values)
            if pa.types.is_string(type_) and pa.types.is_integer(array.type) and not spell:
                return None
            array = _cast_fast(array, type_)
    except _ARROW_ERRORS:
        return None
    return array if array is not None and _is_in_range(array) else None


def _cast_fast(array: pa.Array, type_: pa.DataType) -> pa.Array | None:
    given = storage_type(array.type)
    if given is None:
        return None
    types = pa.types
    if given == type_:
        options = pc.CastOptions(type_, allow_time_truncate=types.is_timestamp(type_))
        return array if array.type == type_ else pc.cast(array, options=options)
    if types.is_null(given):
        return pa.nulls(len(array), type_)
    same_kind = (
        (types.is_integer(given) and (types.is_integer(type_) or types.is_floating(type_)))
        or (types.is_timestamp(given) and types.is_timestamp(type_) and given.tz and type_.tz)
        or (types.is_date(given) and types.is_timestamp(type_))
        or (types.is_integer(given) and types.is_string(type_))
        or (given == pa.float32() and type_ == pa.float64())
    )
    if same_kind:
        return pc.cast(array, options=pc.CastOptions(type_, allow_time_truncate=True))
    if types.is_string(given) and types.is_integer(type_) and _all_match(array, WHOLE):
        return array.cast(type_)
    if types.is_string(given) and type_ == pa.float64() and _all_match(array, FRACTION):
        return None if _any_matches(array, LONG_WHOLE) else array.cast(type_)
    return None


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(texts, f"^(?:{pattern})$")).as_py() is not False


def _any_matches(texts: pa.Array, pattern: str) -> bool:
    return pc.any(pc.match_substring_regex(texts, f"^(?:{pattern})$")).as_py() is True


def _is_in_range(array: pa.Array) -> bool:
    """Return whether every number is finite, and every time of the years 1 to 9999."""
    if pa.types.is_floating(array.type):
        return pc.all(pc.is_finite(array)).as_py() is not False
    if pa.types.is_timestamp(array.type):
        ends = pc.min_max(array.cast(pa.int64()))
        low, high = ends["min"].as_py(), ends["max"].as_py()
        return low is None or (low >= MIN_TIME and high < MAX_TIME)
    if pa.types.is_struct(array.type):
        return all(map(_is_in_range, array.flatten()))
    if is_list(array.type):
        return _is_in_range(array.flatten())
    return True


def fit(value: Any, type_: pa.DataType, time_unit: str | None = None, *, spell: bool = True) -> Any:
    """Return a value as Arrow's type takes it.

    Raises
    ------
    Misfit
        If the type does not hold it exactly.
    """
    value = unwrap(value)
    if value is None:
        return None
    types = pa.types
    if types.is_struct(type_):
        return _fit_struct(value, type_, time_unit, spell=spell)
    if is_list(type_):
        return _fit_list(value, type_, time_unit, spell=spell)
    if types.is_string(type_):
        return _fit_text(value, type_, spell=spell)
    if types.is_boolean(type_):
        return _fit_truth(value, type_)
    if types.is_integer(type_):
        return _fit_whole(value, type_)
    if types.is_floating(type_):
        return _fit_fraction(value, type_)
    if types.is_decimal(type_):
        return _fit_decimal(value, type_)
    if types.is_date(type_) or types.is_timestamp(type_):
        return _fit_time(value, type_, time_unit)
    expected = {"time64": time, "duration": timedelta, "binary": bytes}
    expected_type = expected.get(str(type_).partition("[")[0])
    if expected_type is not None and isinstance(value, expected_type):
        return value
    raise _misfit(value, type_)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; a truth value is none."""
    return isinstance(value, Real | Decimal) and not isinstance(value, bool)


def unwrap(value: Any) -> Any:
    """Return NumPy's and pandas' objects as Python's, and their missing values as None."""
    if value is None or isinstance(value, str):
        return value
    kind = type(value)
    if kind.__module__.partition(".")[0] == "numpy":
        if isinstance(value, np.generic):
            return (
                value.astype("datetime64[us]").item() if value.dtype.kind == "M" else value.item()
            )
        return value.tolist() if isinstance(value, np.ndarray) else value
    if kind.__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value


def shown(value: Any) -> str:
    """Return a value for a message, cut to a length that fits."""
    if isinstance(value, pa.Scalar):  # a time that Python does not hold
        return f"{value.cast(pa.int64()).as_py()} {value.type}"
    if isinstance(value, datetime | date | time | Decimal):
        return f"{value} ({type(value).__name__})"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def comma_remedy(value: Any) -> str:
    """Return the end of a problem for a text that a decimal comma would make a number of."""
    is_comma = isinstance(value, str) and _COMMA.fullmatch(value) is not None
    return "; give --decimal , if the comma is decimal" if is_comma else ""


def _misfit(value: Any, type_: pa.DataType, why: str = "") -> Misfit:
    if _is_number_type(type_):
        why += comma_remedy(value)
    return Misfit(f"holds {shown(value)}, which is no {type_name(type_)}{why}")


def _fit_text(value: Any, type_: pa.DataType, *, spell: bool) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Misfit(f"holds {shown(value)}, which is no valid Unicode") from None
        return value
    if spell and is_whole(value):
        return str(int(value))
    raise _misfit(value, type_)


def _fit_truth(value: Any, type_: pa.DataType) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    raise _misfit(value, type_)


def _fit_whole(value: Any, type_: pa.DataType) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit("is NaN or infinite")
    number = _to_whole(value)
    low = -(2 ** (type_.bit_width - 1)) if pa.types.is_signed_integer(type_) else 0
    if number is None or not low <= number < low + 2**type_.bit_width:
        raise _misfit(value, type_)
    return number


def _to_whole(value: Any) -> int | None:
    """Return the whole number that a value is, None where it is none."""
    if is_whole(value):
        return int(value)
    if isinstance(value, float | Decimal):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None


def _fit_fraction(value: Any, type_: pa.DataType) -> float:
    if isinstance(value, str) and _LONG.fullmatch(value):
        number = _exact_fraction(int(value), value, type_)
    elif isinstance(value, str) and _FRACTION.fullmatch(value):
        number = float(value)
    elif isinstance(value, Decimal):
        number = float(value)
        if value.is_finite() and Decimal(repr(number)) != value:
            raise _misfit(value, type_, ", which cannot hold all its digits")
    elif is_whole(value):
        number = _exact_fraction(int(value), value, type_)
    elif is_number(value):
        number = float(value)
    else:
        raise _misfit(value, type_)
    if type_ == pa.float32() and math.isfinite(number):
        with np.errstate(over="ignore"):
            narrow = np.float32(number)
        if float(str(narrow)) != number and float(narrow) != number:
            raise _misfit(value, type_, ", which cannot hold all its digits")
        number = float(narrow)
    if not math.isfinite(number):
        raise Misfit("is NaN or infinite")
    return number


def _exact_fraction(whole: int, value: Any, type_: pa.DataType) -> float:
    try:
        number = float(whole)
    except OverflowError:
        raise _misfit(value, type_) from None
    if int(number) != whole:
        raise _misfit(value, type_, ", which cannot hold all its digits")
    return number


def _fit_decimal(value: Any, type_: pa.DataType) -> Decimal:
    if not (is_number(value) or (isinstance(value, str) and _FRACTION.fullmatch(value))):
        raise _misfit(value, type_)
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    if not exact.is_finite():
        raise Misfit("is NaN or infinite")
    if abs(exact) >= Decimal(10) ** (type_.precision - type_.scale):
        raise _misfit(value, type_)
    rounded = exact.quantize(Decimal(1).scaleb(-type_.scale), context=_DIGITS)
    if rounded != exact:
        raise _misfit(value, type_)
    return rounded


def _fit_time(value: Any, type_: pa.DataType, time_unit: str | None) -> Any:
    if is_number(value):
        moment = time_of_number(value, time_unit)
        if moment is None:
            why = "" if time_unit else f"; {NEEDS_UNIT}"
            raise _misfit(value, type_, why)
        value = moment if pa.types.is_date(type_) or type_.tz else moment.replace(tzinfo=None)
        if pa.types.is_date(type_):
            value = moment.replace(tzinfo=None)
    if isinstance(value, str):
        value = _parse_time(value, type_)
    if pa.types.is_date(type_):
        return _fit_date(value, type_)
    if isinstance(value, datetime):
        if type_.tz is None and value.tzinfo is not None:
            raise _misfit(value, type_, ", since it has a time zone")
        if type_.tz is not None and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC if type_.tz else None)
    raise _misfit(value, type_)


def _fit_date(value: Any, type_: pa.DataType) -> date:
    if isinstance(value, datetime):
        if value.time() != time() or value.tzinfo is not None:
            raise _misfit(value, type_, ", since it has a time of day")
        return value.date()
    if isinstance(value, date):
        return value
    raise _misfit(value, type_)


def _parse_time(text: str, type_: pa.DataType) -> Any:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise _misfit(text, type_)
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        raise _misfit(text, type_) from None


def _fit_list(value: Any, type_: pa.DataType, time_unit: str | None, *, spell: bool) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise _misfit(value, type_)
    return [fit(element, type_.value_type, time_unit, spell=spell) for element in value]


def _fit_struct(
    value: Any, type_: pa.DataType, time_unit: str | None, *, spell: bool
) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(value, type_)
    fields = {field.name: field.type for field in type_}
    unknown = [name for name, inner in value.items() if name not in fields and _holds(inner)]
    if unknown:
        raise _misfit(value, type_)
    return {
        name: fit(value.get(name), inner, time_unit, spell=spell) for name, inner in fields.items()
    }


def _holds(value: Any) -> bool:
    """Return whether a value is more than null, or empty lists and fields that are null."""
    if isinstance(value, Mapping):
        return any(map(_holds, value.values()))
    return value is not None and value != []


def type_of(value: Any) -> pa.DataType:
    """Return the stored type of one Python object; null where it holds nothing.

    Raises
    ------
    Misfit
        If no attribute can hold it; the message says what to do.

    Examples
    --------
    >>> type_of({"w": 1, "tags": ["a"]})
    StructType(struct<w: int64, tags: list<item: string>>)
    """
    value = unwrap(value)
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, Integral):
        return _whole_type(int(value))
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, Mapping):
        return _struct_type(value)
    if isinstance(value, list | tuple):
        return _list_type(value)
    return _other_type(value)


def _whole_type(number: int) -> pa.DataType:
    if -(2**63) <= number < 2**63:
        return pa.int64()
    if 0 <= number < 2**64:
        return pa.uint64()
    raise Misfit(f"holds {shown(number)}, which has more than 64 bits; write it as text")


def _struct_type(value: Mapping[Any, Any]) -> pa.DataType:
    fields = []
    for name, inner in value.items():
        if not isinstance(name, str) or not name:
            raise Misfit(f"holds {shown(value)}, with {name!r} for the name of a field")
        inner_type = type_of(inner)
        if not pa.types.is_null(inner_type):
            fields.append(pa.field(name, inner_type))
    return pa.struct(fields) if fields else pa.null()


def _list_type(value: Sequence[Any]) -> pa.DataType:
    inner: pa.DataType = pa.null()
    for element in value:
        merged = merge_types(inner, type_of(element))
        if merged is None:
            raise Misfit(f"holds {shown(value)}, a list of several types")
        inner = merged
    return pa.list_(inner)


def _other_type(value: Any) -> pa.DataType:
    if isinstance(value, datetime):
        return pa.timestamp("us", zone_of_time(value))
    if isinstance(value, date):
        return pa.date32()
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise Misfit("is NaN or infinite")
        return storage_type(pa.scalar(value).type) or pa.float64()
    kinds = {bytes: pa.binary(), time: pa.time64("us"), timedelta: pa.duration("us")}
    for kind, type_ in kinds.items():
        if isinstance(value, kind):
            return type_
    name = type(value).__name__
    raise Misfit(
        f"holds {shown(value)} ({name}), which no attribute can be; write it as text, as numbers "
        "or as a dict of those"
    )

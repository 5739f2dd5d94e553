"""Columns of interactions parsed as numbers and as times.

A time without a zone is UTC, and a date is its midnight. A bare number counts from 1970. Without a
unit its size implies one (seconds below 1e11, milliseconds below 1e14, microseconds below 1e17,
nanoseconds above), where that leads to a time of the years 1980 to 2100; see
`isthmus.data.times`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import (
    NEEDS_UNIT,
    Values,
    comma_remedy,
    is_number,
    plain,
    shown,
    to_objects,
    unwrap,
    with_points,
)
from isthmus.data.times import MAX_TIME, MICROSECONDS, MIN_TIME, digits_to_time
from isthmus.ids import is_whole

Problems = list[tuple[int, str]]  # row number, and what is wrong with the row

TIME_TYPE = pa.timestamp("us", "UTC")
FIRST_CERTAIN = 315_532_800_000_000  # 1980: what is earlier is rather a date in digits, or a count
LAST_CERTAIN = 4_102_444_800_000_000  # 2100
MAX_SECONDS = 1e11
MAX_MILLISECONDS = 1e14
MAX_MICROSECONDS = 1e17
LARGEST = float(np.finfo(np.float32).max)
NO_TIME = int(np.iinfo(np.int64).min)

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Microseconds = npt.NDArray[np.int64]


def parse_numbers(values: Values, name: str, decimal: str = ".") -> tuple[pa.Array, Problems]:
    """Parse numbers, booleans or texts as finite float32.

    Parameters
    ----------
    values : pyarrow.Array or list
        Shape (n,), of integers, floats, decimals, booleans or text.
    name : str
        Name of the column, for the problems.
    decimal : str, default "."
        The decimal mark of texts.

    Returns
    -------
    pyarrow.Array, list of (int, str)
        float32, shape (n,), null where there is no number, and the problems; rows with a problem
        hold zero.

    Examples
    --------
    >>> numbers, problems = parse_numbers(pa.array(["4.5", "four", None]), "rating")
    >>> numbers.to_pylist()
    [4.5, 0.0, None]
    >>> problems
    [(1, "column 'rating' holds 'four', which is no finite number")]
    """
    with np.errstate(over="ignore"):
        points = with_points(values) if decimal == "," else values
        numbers = _to_floats(points).astype(np.float32)
    finite = np.isfinite(numbers)
    given = {row: _value(values, row) for row in np.flatnonzero(~finite).tolist()}
    missing = np.zeros(len(numbers), bool)
    missing[[row for row, value in given.items() if value is None or value == ""]] = True
    problems = [
        (row, _number_problem(value, name)) for row, value in given.items() if not missing[row]
    ]
    return pa.array(np.where(finite, numbers, np.float32(0)), mask=missing), problems


def _to_floats(values: Values) -> npt.NDArray[np.float64]:
    """Return float64 values, NaN where there is no number, shape (n,)."""
    if not isinstance(values, list):
        array = plain(values)
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            wide = pc.cast(array, pa.float64(), safe=False).fill_null(float("nan"))
            return np.asarray(wide.to_numpy(zero_copy_only=False), np.float64)
        try:
            wide = array.cast(pa.float64()).fill_null(float("nan"))
            return np.asarray(wide.to_numpy(zero_copy_only=False), np.float64)
        except pa.ArrowInvalid:
            values = array.to_pylist()
    return np.array([_to_float(unwrap(value)) for value in values], np.float64)


def _to_float(value: Any) -> float:
    try:
        return float(value or ("nan" if value is None or value == "" else 0))
    except (ValueError, TypeError, OverflowError):
        return float("nan")


def _value(values: Values, row: int) -> Any:
    """Return one value as a Python object, or as Arrow's where Python has none."""
    return to_objects(values[row : row + 1])[0]


def _number_problem(value: Any, name: str) -> str:
    shown_value = repr(value) if isinstance(value, float | str) else shown(value)
    if math.isfinite(_to_float(value)):
        return (
            f"column {name!r} holds {shown_value}, which is over the largest number, {LARGEST:.2g}"
        )
    remedy = comma_remedy(value)
    return f"column {name!r} holds {shown_value}, which is no finite number{remedy}"


def parse_times(values: Values, name: str, unit: str | None = None) -> tuple[pa.Array, Problems]:
    """Parse timestamps, dates, ISO 8601 texts or numbers; see the module for numbers.

    Parameters
    ----------
    values : pyarrow.Array or list
        Shape (n,); null and blank text mean no time, and are no problem.
    name : str
        Name of the column, for the problems.
    unit : str, optional
        What numbers count, see `isthmus.data.times`.

    Returns
    -------
    pyarrow.Array, list of (int, str)
        Timestamps in microseconds, UTC, shape (n,), and the problems; rows with a problem hold
        null.

    Examples
    --------
    >>> times, problems = parse_times(pa.array([1_000_000_000, 1_000_000_000_000]), "timestamp")
    >>> print(*times)
    2001-09-09 01:46:40+00:00 2001-09-09 01:46:40+00:00
    >>> parse_times(pa.array([20200131]), "timestamp", "yyyymmdd")[0][0].as_py().date().isoformat()
    '2020-01-31'
    """
    micros, empty = _to_microseconds(values, unit)
    valid = (micros >= MIN_TIME) & (micros < MAX_TIME)
    problems = [
        (row, _time_problem(_value(values, row), name, unit))
        for row in np.flatnonzero(~valid & ~empty).tolist()
    ]
    return pa.array(micros, pa.int64(), mask=~valid).cast(TIME_TYPE), problems


def _time_problem(value: Any, name: str, unit: str | None) -> str:
    number = _number_of(value)
    problem = f"column {name!r} holds {_shown(value)}, which is no time"
    if unit is None and number is not None and math.isfinite(number):
        return f"{problem} without a unit; {NEEDS_UNIT}"
    return problem


def _to_microseconds(
    values: Values, unit: str | None
) -> tuple[Microseconds, npt.NDArray[np.bool_]]:
    """Return microseconds, `NO_TIME` where there is none, and a mask of the empty values."""
    if isinstance(values, list):
        return _from_objects(values, unit)
    column = plain(values)
    if pa.types.is_null(column.type):
        return np.full(len(column), NO_TIME), np.ones(len(column), bool)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text:
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    empty = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), bool)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _from_timestamps(column), empty
    if is_text:
        return _from_texts(column, unit), empty
    return _from_numbers(column, unit), empty


def _from_objects(values: Sequence[Any], unit: str | None) -> tuple[Microseconds, Any]:
    """Return the times of Python objects, each by its own type."""
    objects = [unwrap(value) for value in values]
    blank = [value is None or (isinstance(value, str) and not value.strip()) for value in objects]
    micros = [
        NO_TIME if empty else _from_object(value, unit)
        for value, empty in zip(objects, blank, strict=True)
    ]
    return np.array(micros, np.int64), np.array(blank, bool)


def _from_object(value: Any, unit: str | None) -> int:
    if isinstance(value, str):
        return _from_text(value.strip(), unit)
    if isinstance(value, datetime):
        return _micros_of(value)
    if isinstance(value, date):
        return _micros_of(datetime(value.year, value.month, value.day, tzinfo=UTC))
    number = _number_of(value)
    return NO_TIME if number is None else int(_scale(np.array([number]), unit)[0])


def _number_of(value: Any) -> float | int | None:
    if not (is_number(value) or isinstance(value, str)):
        return None
    try:
        return int(value) if is_whole(value) and abs(value) < 2**63 else float(value)
    except (ValueError, OverflowError):
        return None


def _from_timestamps(column: pa.Array) -> Microseconds:
    options = pc.CastOptions(TIME_TYPE, allow_time_truncate=True)
    try:
        return _to_integers(pc.cast(column, options=options))
    except pa.ArrowInvalid:  # some value is out of the range of microseconds: cast one by one
        return np.concatenate(
            [_from_timestamp(column[row : row + 1]) for row in range(len(column))]
        )


def _from_timestamp(value: pa.Array) -> Microseconds:
    try:
        return _to_integers(
            pc.cast(value, options=pc.CastOptions(TIME_TYPE, allow_time_truncate=True))
        )
    except pa.ArrowInvalid:
        return np.array([NO_TIME])


def _from_texts(column: pa.Array, unit: str | None) -> Microseconds:
    if pc.all(pc.match_substring_regex(column, "^-?[0-9]{1,18}$")).as_py() is not False:
        return _from_numbers(column.cast(pa.int64()), unit)
    for type_ in (TIME_TYPE, pa.timestamp("us")):  # all with a zone, or all without
        try:
            return _to_integers(column.cast(type_))
        except pa.ArrowInvalid:
            continue
    texts = column.to_pylist()
    return np.array([NO_TIME if t is None else _from_text(t, unit) for t in texts], np.int64)


def _from_text(text: str, unit: str | None) -> int:
    number = _number_of(text)
    if number is not None:
        whole = int(text) if text.lstrip("-").isdecimal() and abs(int(text)) < 2**63 else number
        return int(_scale(np.array([whole]), unit)[0])
    try:
        return _micros_of(datetime.fromisoformat(text))
    except ValueError:
        return NO_TIME


def _micros_of(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _from_numbers(column: pa.Array, unit: str | None) -> Microseconds:
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        integers = _to_integers(column.cast(pa.int64()))
        empty = integers == NO_TIME
        return np.where(empty, NO_TIME, _scale(np.where(empty, 0, integers), unit))
    floats = pc.cast(column, pa.float64(), safe=False).fill_null(float("nan"))
    return _scale(np.asarray(floats.to_numpy(zero_copy_only=False), np.float64), unit)


def _scale(numbers: Numbers, unit: str | None) -> Microseconds:
    """Return numbers as microseconds since 1970, by their unit or, without one, by their size."""
    if unit == "yyyymmdd":
        return np.array([_from_digits(number) for number in numbers.tolist()], np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        if unit is not None:
            return _scale_by_unit(numbers, unit)
        micros = _scale_by_size(numbers)
        # Dates in digits fall outside: 20200131 in 1970, with hours in 1976, with seconds in 2610.
        certain = (micros >= FIRST_CERTAIN) & (micros < LAST_CERTAIN)
        return np.where(certain, micros, NO_TIME)


def _scale_by_unit(numbers: Numbers, unit: str) -> Microseconds:
    if unit == "ns":
        return _rounded(numbers // 1_000)
    factor = MICROSECONDS[unit]
    fits = np.abs(numbers.astype(np.float64)) * factor < -float(NO_TIME)
    return np.where(fits, _rounded(np.where(fits, numbers, 0) * factor), NO_TIME)


def _from_digits(number: float) -> int:
    moment = digits_to_time(str(int(number))) if math.isfinite(number) and number > 0 else None
    return NO_TIME if moment is None or number != int(number) else _micros_of(moment)


def _scale_by_size(since_1970: Numbers) -> Microseconds:
    """Return numbers since 1970 as microseconds; the size of each implies its unit."""
    size = np.abs(since_1970)
    micros = np.select(
        [size < MAX_SECONDS, size < MAX_MILLISECONDS, size < MAX_MICROSECONDS],
        [since_1970 * 1_000_000, since_1970 * 1_000, since_1970],
        since_1970 // 1_000,
    )
    return _rounded(micros)


def _rounded(micros: Numbers) -> Microseconds:
    """Return whole microseconds, `NO_TIME` where they exceed 64 bits."""
    in_range = np.isfinite(micros) & (np.abs(micros) < -float(NO_TIME))
    return np.where(in_range, np.rint(micros), NO_TIME).astype(np.int64)


def _to_integers(column: pa.Array) -> Microseconds:
    integers = column.cast(pa.int64()).fill_null(NO_TIME)
    return np.asarray(integers.to_numpy(zero_copy_only=False), np.int64)


def _shown(value: Any) -> str:
    return (
        shown(value) if isinstance(value, pa.Scalar) or not hasattr(value, "year") else str(value)
    )

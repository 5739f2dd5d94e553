"""Columns of a table: their types, and their values parsed as numbers and times.

A time without a zone is UTC, and a date is its midnight. A bare number counts from 1970, in the
unit that its size implies: seconds below 1e11 (the year 5138), milliseconds below 1e14,
microseconds below 1e17, nanoseconds above. So milliseconds are recognized from March 1973 on,
where they reach 1e11.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Problems = list[tuple[int, str]]  # row number, and what is wrong with the row

TIME_TYPE = pa.timestamp("us", "UTC")
MIN_TIME_US = -62_135_596_800_000_000  # the year 1
END_TIME_US = 253_402_300_800_000_000  # the year 10000
MAX_SECONDS = 1e11
MAX_MILLISECONDS = 1e14
MAX_MICROSECONDS = 1e17
NO_TIME = int(np.iinfo(np.int64).min)

Microseconds = npt.NDArray[np.int64]


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Return the type that an attribute is stored as: one type for each kind of value.

    Examples
    --------
    >>> plain_type(pa.dictionary(pa.int32(), pa.large_string()))
    DataType(string)
    >>> plain_type(pa.large_list(pa.int64()))
    ListType(list<item: int64>)
    """
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or type_ == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(type_) or type_ == pa.binary_view():
        return pa.binary()
    if pa.types.is_large_list(type_) or pa.types.is_list(type_):
        return pa.list_(plain_type(type_.value_type))
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", type_.tz)
    return pa.date32() if pa.types.is_date(type_) else type_


def is_untyped(type_: pa.DataType) -> bool:
    """Return whether a column holds only nulls, or only empty lists and nulls."""
    return bool(pa.types.is_null(type_) or type_ == pa.list_(pa.null()))


def is_storable(type_: pa.DataType) -> bool:
    """Return whether an attribute can have this type."""
    if pa.types.is_map(type_) or pa.types.is_union(type_) or pa.types.is_interval(type_):
        return False
    nested = range(type_.num_fields)
    return all(is_storable(type_.field(i).type) for i in nested)


def is_text(type_: pa.DataType) -> bool:
    """Return whether a column is text of any encoding, or null."""
    return bool(plain_type(type_) == pa.string() or pa.types.is_null(type_))


def is_bytes(type_: pa.DataType) -> bool:
    """Return whether a column holds bytes of any encoding."""
    return bool(plain_type(type_) == pa.binary() or pa.types.is_fixed_size_binary(type_))


def is_file_struct(type_: pa.DataType) -> bool:
    """Return whether a column is the ``{bytes, path}`` of Hugging Face data sets."""
    return bool(pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0)


def cast(column: Any, type_: pa.DataType) -> Any:
    """Cast a column without loss, except that times are cut to microseconds."""
    return pc.cast(column, options=pc.CastOptions(type_, allow_time_truncate=True))


def can_cast(column: Any, type_: pa.DataType) -> bool:
    """Return whether `cast` succeeds for every value of a column."""
    try:
        cast(column, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column as text."""
    return column.cast(pa.string())


def is_blank(text: Any) -> Any:
    """Return a mask of the texts that are null or only white space."""
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True)


def parse_numbers(column: pa.Array, name: str) -> tuple[pa.Array, Problems]:
    """Parse numbers, booleans or texts as finite float32.

    Parameters
    ----------
    column : pyarrow.Array
        Shape (n,), of integers, floats, decimals, booleans or text.
    name : str
        Name of the column, for the problems.

    Returns
    -------
    pyarrow.Array, list of (int, str)
        float32 without nulls, shape (n,), and the problems; rows with a problem hold zero.

    Examples
    --------
    >>> numbers, problems = parse_numbers(pa.array(["4.5", "four", None]), "rating")
    >>> numbers.to_pylist()
    [4.5, 0.0, 0.0]
    >>> problems
    [(1, "column 'rating' holds 'four', which is no finite number"), (2, "no number in 'rating'")]
    """
    with np.errstate(over="ignore"):
        numbers = _to_floats(column).astype(np.float32)
    finite = np.isfinite(numbers)
    problems = [
        (row, _number_problem(column[row], name)) for row in np.flatnonzero(~finite).tolist()
    ]
    return pa.array(np.where(finite, numbers, np.float32(0))), problems


def _to_floats(column: pa.Array) -> npt.NDArray[np.float64]:
    """Return float64 values, NaN where there is no number, shape (n,)."""
    if pa.types.is_string(column.type):
        return np.array([_to_float(text) for text in column.to_pylist()], np.float64)
    wide = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(wide.fill_null(float("nan")).to_numpy(zero_copy_only=False), np.float64)


def _to_float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _number_problem(value: pa.Scalar, name: str) -> str:
    if not value.is_valid or value.as_py() == "":
        return f"no number in {name!r}"
    return f"column {name!r} holds {value.as_py()!r}, which is no finite number"


def parse_times(column: pa.Array, name: str) -> tuple[pa.Array, Problems]:
    """Parse timestamps, dates, ISO 8601 texts or numbers since 1970; see the module for units.

    Parameters
    ----------
    column : pyarrow.Array
        Shape (n,); null and blank text mean no time, and are no problem.
    name : str
        Name of the column, for the problems.

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
    """
    micros, empty = _to_microseconds(column)
    valid = (micros >= MIN_TIME_US) & (micros < END_TIME_US)
    problems = [
        (row, f"column {name!r} holds {_shown(column[row])}, which is no time")
        for row in np.flatnonzero(~valid & ~empty).tolist()
    ]
    return pa.array(micros, pa.int64(), mask=~valid).cast(TIME_TYPE), problems


def _to_microseconds(column: pa.Array) -> tuple[Microseconds, npt.NDArray[np.bool_]]:
    """Return microseconds, `NO_TIME` where there is none, and a mask of the empty values."""
    type_ = column.type
    if pa.types.is_string(type_):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    empty = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), bool)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return _from_timestamps(column), empty
    if pa.types.is_string(type_):
        return _from_texts(column), empty
    return _from_numbers(column), empty


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


def _from_texts(column: pa.Array) -> Microseconds:
    for type_ in (TIME_TYPE, pa.timestamp("us")):  # all with a zone, or all without
        try:
            return _to_integers(column.cast(type_))
        except pa.ArrowInvalid:
            continue
    return np.array([_from_text(text) for text in column.to_pylist()], np.int64)


def _from_text(text: str | None) -> int:
    if text is None:
        return NO_TIME
    try:
        return int(_scale_by_size(np.array([float(text)]))[0])
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return NO_TIME
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _from_numbers(column: pa.Array) -> Microseconds:
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        integers = _to_integers(column.cast(pa.int64()))
        empty = integers == NO_TIME
        return np.where(empty, NO_TIME, _scale_by_size(np.where(empty, 0, integers)))
    floats = pc.cast(column, pa.float64(), safe=False).fill_null(float("nan"))
    return _scale_by_size(np.asarray(floats.to_numpy(zero_copy_only=False), np.float64))


def _scale_by_size(since_1970: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Microseconds:
    """Return numbers since 1970 as microseconds; the size of each implies its unit."""
    size = np.abs(since_1970)
    with np.errstate(invalid="ignore", over="ignore"):
        micros = np.select(
            [size < MAX_SECONDS, size < MAX_MILLISECONDS, size < MAX_MICROSECONDS],
            [since_1970 * 1_000_000, since_1970 * 1_000, since_1970],
            since_1970 // 1_000,
        )
        in_range = np.isfinite(micros) & (np.abs(micros) < -float(NO_TIME))
        return np.where(in_range, np.rint(micros), NO_TIME).astype(np.int64)


def _to_integers(column: pa.Array) -> Microseconds:
    integers = column.cast(pa.int64()).fill_null(NO_TIME)
    return np.asarray(integers.to_numpy(zero_copy_only=False), np.int64)


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py()) if not pa.types.is_timestamp(value.type) else str(value.as_py())
    except (OverflowError, ValueError):
        return f"{value.cast(pa.int64()).as_py()} {value.type}"

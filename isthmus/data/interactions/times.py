"""Times as they come, as microseconds since 1970 in UTC, with the rows that hold none.

A time without a zone is taken as UTC, and a date as its midnight. A bare number counts from
1970, in a unit told by its size: seconds up to 1e11 (the year 5138), milliseconds up to 1e14,
microseconds up to 1e17, and nanoseconds above. So milliseconds, which are 1e11 in March 1973, are
understood from then on.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.values import Problems

TIMES = pa.timestamp("us", "UTC")
FIRST_US = -62_135_596_800_000_000  # the year 1
LAST_US = 253_402_300_800_000_000  # the year 10000
MOST_SECONDS = 1e11
MOST_MILLISECONDS = 1e14
MOST_MICROSECONDS = 1e17
NO_TIME = int(np.iinfo(np.int64).min)

Microseconds = npt.NDArray[np.int64]


def read_times(column: pa.Array, name: str) -> tuple[pa.Array, Problems]:
    """Read timestamps, dates, ISO 8601 texts or numbers since 1970; see the module for units.

    Parameters
    ----------
    column : pyarrow.Array
        Shape (n,); null and blank text are no time, and no problem.
    name : str
        What messages call it.

    Returns
    -------
    pyarrow.Array, list of (int, str)
        Timestamps in microseconds, UTC, shape (n,), and what is wrong with some rows; these hold
        null.

    Examples
    --------
    >>> times, problems = read_times(pa.array([1_000_000_000, 1_000_000_000_000]), "timestamp")
    >>> print(*times)
    2001-09-09 01:46:40+00:00 2001-09-09 01:46:40+00:00
    """
    micros, empty = _microseconds(column)
    there = (micros >= FIRST_US) & (micros < LAST_US)
    problems = [
        (row, f"column {name!r} holds {_shown(column[row])}, which is no time")
        for row in np.flatnonzero(~there & ~empty).tolist()
    ]
    return pa.array(micros, pa.int64(), mask=~there).cast(TIMES), problems


def _microseconds(column: pa.Array) -> tuple[Microseconds, npt.NDArray[np.bool_]]:
    """Give microseconds, `NO_TIME` where there is none, and where there is meant to be none."""
    type_ = column.type
    if pa.types.is_string(type_):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    empty = np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), bool)
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return _of_timestamps(column), empty
    if pa.types.is_string(type_):
        return _of_texts(column), empty
    return _of_numbers(column), empty


def _of_timestamps(column: pa.Array) -> Microseconds:
    options = pc.CastOptions(TIMES, allow_time_truncate=True)
    try:
        return _numbers(pc.cast(column, options=options))
    except pa.ArrowInvalid:  # beyond what microseconds can count; there is such a row
        return np.concatenate([_of_timestamp(column[row : row + 1]) for row in range(len(column))])


def _of_timestamp(one: pa.Array) -> Microseconds:
    try:
        return _numbers(pc.cast(one, options=pc.CastOptions(TIMES, allow_time_truncate=True)))
    except pa.ArrowInvalid:
        return np.array([NO_TIME])


def _of_texts(column: pa.Array) -> Microseconds:
    for type_ in (TIMES, pa.timestamp("us")):  # all with a zone, or all without
        try:
            return _numbers(column.cast(type_))
        except pa.ArrowInvalid:
            continue
    return np.array([_of_text(text) for text in column.to_pylist()], np.int64)


def _of_text(text: str | None) -> int:
    if text is None:
        return NO_TIME
    try:
        return int(_scaled(np.array([float(text)]))[0])
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return NO_TIME
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _of_numbers(column: pa.Array) -> Microseconds:
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        whole = _numbers(column.cast(pa.int64()))
        empty = whole == NO_TIME
        scaled = _scaled(np.where(empty, 0, whole))
        return np.where(empty, NO_TIME, scaled)
    floats = pc.cast(column, pa.float64(), safe=False).fill_null(float("nan"))
    return _scaled(np.asarray(floats.to_numpy(zero_copy_only=False), np.float64))


def _scaled(since: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Microseconds:
    """Bring numbers since 1970 to microseconds, each by its size."""
    size = np.abs(since)
    with np.errstate(invalid="ignore", over="ignore"):
        chosen = np.select(
            [size < MOST_SECONDS, size < MOST_MILLISECONDS, size < MOST_MICROSECONDS],
            [since * 1_000_000, since * 1_000, since],
            since // 1_000,
        )
        countable = np.isfinite(chosen) & (np.abs(chosen) < -float(NO_TIME))
        return np.where(countable, np.rint(chosen), NO_TIME).astype(np.int64)


def _numbers(column: pa.Array) -> Microseconds:
    numbers = column.cast(pa.int64()).fill_null(NO_TIME)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.int64)


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py()) if not pa.types.is_timestamp(value.type) else str(value.as_py())
    except (OverflowError, ValueError):
        return f"{value.cast(pa.int64()).as_py()} {value.type}"

"""Times: their zones, and numbers that stand for them.

A number is a time only with a unit, or where it cannot be anything else.

A number since 1970 is in seconds, milliseconds, microseconds or nanoseconds; ``yyyymmdd`` is a
date written as digits, such as 20200131. Where no unit is given, the size of a number implies it,
but only if that leads to a time between 1980 and 2100 and the digits are no date: 20200131 would
be a day of August 1970 otherwise.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

TimeUnit = Literal["s", "ms", "us", "ns", "yyyymmdd"]

MIN_TIME: Final = -62_135_596_800_000_000  # the year 1, in microseconds
MAX_TIME: Final = 253_402_300_800_000_000  # the year 10000
MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
ZERO_OFFSETS: Final = ("+00:00", "-00:00", "Z", "z")
MAX_OFFSET_HOURS: Final = 24
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of_number(value: object, unit: str | None) -> datetime | None:
    """Return the time of a number; None where it is none, or where it needs a unit.

    Examples
    --------
    >>> print(time_of_number(1_000_000_000, "s"), time_of_number(20200131, "yyyymmdd"))
    2001-09-09 01:46:40+00:00 2020-01-31 00:00:00+00:00
    >>> time_of_number(20200131, None) is None
    True
    """
    if unit is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)  # type: ignore[arg-type]
        if unit == "yyyymmdd":
            return digits_to_time(str(int(number))) if number == int(number) else None
        micros = number / 1_000 if unit == "ns" else number * MICROSECONDS[unit]
        return _EPOCH + timedelta(microseconds=int(micros // 1))
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        return None


def digits_to_time(digits: str) -> datetime | None:
    """Return the time that digits spell as ``yyyymmdd``, with or without hours; None for others.

    Examples
    --------
    >>> print(digits_to_time("20200131"), digits_to_time("20200131235959"), digits_to_time("1999"))
    2020-01-31 00:00:00+00:00 2020-01-31 23:59:59+00:00 None
    """
    pattern = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    if pattern is None or not digits.isdecimal():
        return None
    try:
        return datetime.strptime(digits, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None


def zone_of(name: str) -> str | None:
    """Return the name of a time zone or an offset as it is stored; None where there is none.

    Examples
    --------
    >>> zone_of("+0200"), zone_of("Z"), zone_of("Europe/Berlin"), zone_of("Mars/Base")
    ('+02:00', 'UTC', 'Europe/Berlin', None)
    """
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        sign, hours, minutes = offset.groups()
        if int(hours) >= MAX_OFFSET_HOURS or int(minutes) >= 60:
            return None
        name = f"{sign}{hours}:{minutes}"
    if name in ZERO_OFFSETS or name.upper() == "UTC":
        return "UTC"
    if offset is not None:
        return name
    try:
        return ZoneInfo(name).key
    except (OSError, ValueError, KeyError):  # a folder of zones, no name, an unknown zone
        return None


def zone_of_time(moment: datetime) -> str | None:
    """Return the zone of a time, or else its offset; None where it has neither.

    Examples
    --------
    >>> zone_of_time(datetime.fromisoformat("2026-01-31T12:00:00-05:30"))
    '-05:30'
    """
    if moment.tzinfo is None:
        return None
    for name in _names(moment.tzinfo):
        if name and (zone := zone_of(name)) is not None:
            return zone
    return zone_of(moment.strftime("%z")) or "UTC"  # an offset with seconds has no name


def _names(zone: tzinfo) -> list[str]:
    """Return the names that a zone of Python's zoneinfo or of pytz has."""
    return [str(getattr(zone, name)) for name in ("key", "zone") if getattr(zone, name, None)]

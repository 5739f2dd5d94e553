"""Values that a type does not hold exactly, as the nearest value that it holds.

Conversions refuse to lose anything (`isthmus.data.convert`). A cast with `allow_lossy` may: a
fraction becomes the nearest whole number (of two, the even one) or has fewer digits, a time becomes
its day or loses its zone, both as the clock of its zone shows them. What no number or time stands
for is refused still.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from isthmus.data.convert import Misfit, fit, is_number, shown, unwrap
from isthmus.data.types import is_list, type_name


def approximate(value: Any, type_: pa.DataType) -> Any:
    """Return the value of a type that is nearest to a value which it does not hold exactly.

    Raises
    ------
    Misfit
        If there is none.

    Examples
    --------
    >>> approximate(9.99, pa.int64()), approximate(datetime(2026, 1, 31, 23, 59), pa.date32())
    (10, datetime.date(2026, 1, 31))
    >>> approximate("2.5", pa.int64())
    2
    """
    value = _read(unwrap(value))
    types = pa.types
    if is_list(type_) and isinstance(value, list | tuple):
        return [_element(element, type_.value_type) for element in value]
    if types.is_date(type_) and isinstance(value, datetime):
        return value.date()
    if types.is_timestamp(type_) and isinstance(value, datetime) and type_.tz is None:
        return value.replace(tzinfo=None)
    if is_number(value) and math.isfinite(value):
        if types.is_integer(type_):
            return fit(round(value), type_)
        if types.is_floating(type_):
            return float(pa.scalar(float(value), pa.float64()).cast(type_, safe=False).as_py())
        if types.is_decimal(type_):
            return fit(round(Decimal(str(value)), type_.scale), type_)
    raise Misfit(f"holds {shown(value)}, which is no {type_name(type_)}")


def _element(value: Any, type_: pa.DataType) -> Any:
    try:
        return fit(value, type_)
    except Misfit:
        return approximate(value, type_)


def _read(value: Any) -> Any:
    """Return what a text is spelled as, if that is a number or a time."""
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value) if Decimal(value).is_finite() else value
    except InvalidOperation:
        pass
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value

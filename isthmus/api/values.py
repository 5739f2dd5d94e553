"""Values as JSON and back.

A plain client gets times as ISO 8601 texts. The clients of this package ask for typed values
(`TYPED`): what JSON lacks comes as an object with one member, ``{"$date": "2024-05-03"}``, and
becomes what it was.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

import orjson

from isthmus.terminal import as_json

MEDIA_TYPE: Final = "application/json"
TYPED: Final = "application/vnd.isthmus.typed+json"  # in Accept

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_TYPED_OPTIONS: Final = _OPTIONS | orjson.OPT_PASSTHROUGH_DATETIME
_READ: Final[dict[str, Callable[[str], Any]]] = {
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$decimal": Decimal,
    "$bytes": base64.b64decode,
}


def dump(value: Any, *, typed: bool = False) -> bytes:
    """Return a value as JSON; NaN and the infinities are null.

    Examples
    --------
    >>> dump({"on": date(2024, 5, 3)}), dump({"on": date(2024, 5, 3)}, typed=True)
    (b'{"on":"2024-05-03"}', b'{"on":{"$date":"2024-05-03"}}')
    """
    try:
        if typed:
            return orjson.dumps(value, _typed, _TYPED_OPTIONS)
        return orjson.dumps(value, _plain, _OPTIONS)
    except TypeError:  # numbers beyond 64 bits, or half a surrogate pair
        return json.dumps(as_json(value)).encode()


def load(text: bytes) -> Any:
    """Return the value of JSON, typed values as they were.

    Examples
    --------
    >>> load(dump([date(2024, 5, 3), Decimal("1.50"), b"x"], typed=True))
    [datetime.date(2024, 5, 3), Decimal('1.50'), b'x']
    """
    return _read(orjson.loads(text))


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1:
            (name, one), *_ = value.items()
            if name in _READ and isinstance(one, str):
                return _READ[name](one)
        return {name: _read(one) for name, one in value.items()}
    if isinstance(value, list):
        # Vectors and scores are long, and hold nothing but numbers.
        if value and isinstance(value[0], int | float):
            return value
        return [_read(one) for one in value]
    return value


def _typed(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    return as_json(value)


def _plain(value: Any) -> Any:
    return as_json(value)

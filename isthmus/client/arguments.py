"""Arguments of verbs as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from isthmus.data.media import to_data_uri
from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.operations.events import Event
from isthmus.retrieval.recommend.users import User

MEDIA: Final = ("image", "audio")
TABLES: Final = ("items", "source")
WRITING: Final = ("upsert", "update")


def encode_argument(verb: str, name: str, value: Any) -> Any:
    """Return an argument as JSON has it.

    Raises
    ------
    InvalidInput
        If a file is not there.
    UnsupportedOperation
        If JSON has no form of it.
    """
    if name in TABLES:
        return encode_rows(value)
    if name == "events":
        return [_event(one) for one in value]
    if name in MEDIA and verb not in WRITING:
        return _media(name, value)
    if name in ("vector", "vectors"):
        return _vectors(verb, name, value)
    if name == "user":
        return encode_user(value)
    if name == "users":
        return [_named_user(one) for one in value]
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def encode_user(user: User) -> dict[str, Any]:
    """Return a user as JSON has one."""
    if not isinstance(user, User):
        raise InvalidInput(f"user is {user!r}; give an isthmus.User")
    rated = len(user.ratings)
    history = [
        {"item_id": entry.item_id, "value": float(entry.value), "time": _seconds(entry.time)}
        for entry in user.history[rated:]
    ]
    values = {
        "id": user.id,
        "history": history,
        "ratings": {item_id: float(value) for item_id, value in user.ratings.items()},
        "text": user.text,
        "attributes": user.attributes,
    }
    return {name: value for name, value in values.items() if value}


def _named_user(one: Any) -> dict[str, Any]:
    if isinstance(one, tuple) and len(one) == 2:
        return {"name": one[0], "user": encode_user(one[1])}
    return encode_user(one)


def _seconds(moment: datetime | float | None) -> float | None:
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None if moment is None else float(moment)


def encode_rows(given: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, a frame or mappings; bytes become data URIs.

    Files of rows are sent as they are, see `isthmus.client.files`.

    Raises
    ------
    InvalidInput
        If they are none.
    """
    if isinstance(given, Mapping):
        given = [given]
    elif hasattr(given, "to_pylist"):  # Arrow
        given = given.to_pylist()
    elif hasattr(given, "to_dicts"):  # polars
        given = given.to_dicts()
    elif hasattr(given, "to_dict") and hasattr(given, "columns"):  # pandas
        given = pa.Table.from_pandas(given, preserve_index=False).to_pylist()
    if not isinstance(given, Iterable):
        raise InvalidInput(f"{type(given).__name__} is no table; give mappings, or a table")
    return [_row(one) for one in given]


def _row(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise InvalidInput(f"a row is {row!r}; give a mapping")
    return {str(name): _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return to_data_uri(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _event(event: Any) -> Any:
    if isinstance(event, Event):
        return event.model_dump(mode="json", exclude_unset=True)
    if isinstance(event, Mapping):
        moment = event.get("time")
        if isinstance(moment, datetime):
            return {**event, "time": moment.isoformat()}
        return dict(event)
    return event


def _media(name: str, value: Any) -> str:
    if isinstance(value, str | Path):
        if not Path(value).is_file():
            raise InvalidInput(f"no {name} file {value}")
        value = Path(value).read_bytes()
    elif hasattr(value, "save"):  # a picture of PIL
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        value = buffer.getvalue()
    if not isinstance(value, bytes):
        raise UnsupportedOperation(
            f"{name} is a {type(value).__name__}; over HTTP give a path, or the bytes of a file"
        )
    return base64.b64encode(value).decode()


def _vectors(verb: str, name: str, value: Any) -> Any:
    if verb in WRITING:
        if isinstance(value, str) or (
            isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())
        ):
            return value
        raise UnsupportedOperation(
            f"over HTTP, {name} names columns of the items; put arrays there"
        )
    if isinstance(value, Mapping):
        return {key: np.asarray(one, np.float32).tolist() for key, one in value.items()}
    try:
        return np.asarray(value, np.float32).tolist()
    except (TypeError, ValueError):
        return value  # refused by the service, in the words of the verb

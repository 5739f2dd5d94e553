"""Read the users of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isthmus.data.sources import open_sources
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.users import User
from isthmus.schema import CLICKS, HISTORY, RATINGS, TEXT, USER_ID


def read_users(path: Path) -> Iterator[tuple[str, User]]:
    """Return the users of a file with their ids as text.

    Parameters
    ----------
    path : Path
        Parquet, JSON lines or CSV with user_id and, optionally, history and clicks (lists of item
        ids), ratings (lists of item_id and value) and text, see `User`.

    Raises
    ------
    InvalidInput
        If the file cannot be read, has no user_id, names a user twice or not at all, or tells
        something of one that cannot be understood.
    """
    known: set[str] = set()
    for place, row in enumerate(_rows(path)):
        user_id = "" if row[USER_ID] is None else str(row[USER_ID])
        if not user_id or user_id in known:
            raise InvalidInput(f"{path} row {place}: user id {row[USER_ID]!r} is missing or double")
        known.add(user_id)
        try:
            yield user_id, _user(user_id, row)
        except InvalidInput as error:
            raise InvalidInput(f"{path} row {place}: {error}") from error


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for source in open_sources(path, verbatim=(USER_ID, TEXT)):
        names = source.schema.names
        if USER_ID not in names:
            listed = ", ".join(names)
            raise InvalidInput(
                f"{source.name} has no column {USER_ID!r}; its columns are: {listed}"
            )
        columns = [name for name in (USER_ID, HISTORY, CLICKS, RATINGS, TEXT) if name in names]
        for batch in source.batches():
            yield from batch.select(columns).to_pylist()


def _user(user_id: str, row: Mapping[str, Any]) -> User:
    ratings = row.get(RATINGS)
    if isinstance(ratings, Mapping):  # as JSON has them; what others rated is empty
        ratings = {item_id: value for item_id, value in ratings.items() if value is not None}
    return User(
        row.get(HISTORY), row.get(TEXT), id=user_id, clicks=row.get(CLICKS), ratings=ratings
    )

"""All that a space stores of one user, as plain values that a program can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import pyarrow as pa

from isthmus.data.lance_tables import any_of
from isthmus.data.recommendations import RecommendationStore
from isthmus.index.open_space import OpenSpace
from isthmus.schema import USER_ID

NOT_INCLUDED: Final = (
    "the audit log of a service, which has users under a hash whose key is deleted with the user",
    "backups, which hold what was stored when they were made",
    "a trained recommender, which holds sums over all users and no row of one",
)


def export_user(space: OpenSpace, user_id: str) -> dict[str, Any]:
    """Return all that is stored of a user, see `Space.export_user`."""
    former = space.interactions.merged.formers(user_id)
    names = [user_id, *former]
    attributes = {
        row[USER_ID]: {name: value for name, value in row.items() if name != USER_ID}
        for row in plain_rows(space.users.of_users(names))
    }
    lists = RecommendationStore(space.path).table(any_of(USER_ID, names))
    return {
        USER_ID: user_id,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "former_ids": former,
        "attributes": attributes.get(user_id, {}),
        "interactions": _without_user(space.interactions.of_users(names)),
        "recommendations": _without_user(lists),
        "not_included": list(NOT_INCLUDED),
    }


def _without_user(rows: pa.Table) -> list[dict[str, Any]]:
    return plain_rows(rows.drop_columns(USER_ID))


def plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows with values that JSON has; times are in ISO 8601, bytes in hexadecimal."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else str(value)

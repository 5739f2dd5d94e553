"""All that a space stores of one user, as plain values that a program can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from isthmus.data.lance_tables import any_of
from isthmus.data.recommendations import RecommendationStore
from isthmus.index.open_space import OpenSpace
from isthmus.schema import USER_ID
from isthmus.terminal import as_json

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
        for row in as_json(space.users.of_users(names).to_pylist())
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


def _without_user(rows: pa.Table) -> Any:
    return as_json(rows.drop_columns(USER_ID).to_pylist())

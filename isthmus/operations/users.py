"""Add, read, list and delete users with their attributes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from isthmus.data.recommendations import RecommendationStore
from isthmus.data.types import type_name
from isthmus.data.users.reader import UserReader
from isthmus.errors import InvalidInput, command_in
from isthmus.index.catalog.lock import write_lock
from isthmus.index.open_space import OpenSpace
from isthmus.operations.request import MergeUsersRequest, UsersRequest
from isthmus.progress import progress_bar
from isthmus.schema import USER_ID

BATCH_ROWS = 100_000
MAX_EXAMPLES = 3


@dataclass
class UserReport:
    """The result of adding users.

    Attributes
    ----------
    rows_read : int
        Rows of the input; the sum of the four counts below.
    added, changed, unchanged : int
        Users that were new, that got another value, and that were the same already.
    invalid : int
        Rows left out because they are invalid.
    attributes : dict of str to str
        The type of each attribute of the input.
    seconds : float
        Duration.
    problems : list of str
        What is wrong with each invalid row, and where it stands.
    notes : list of str
        What was found out about the input.
    """

    rows_read: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    invalid: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def add_users(space: OpenSpace, request: UsersRequest, *, progress: bool = False) -> UserReport:
    """Add users, or change those that are there; all of them at once, or none.

    Raises
    ------
    InvalidUsers
        If rows are invalid and are not to be left out; nothing is stored then.
    """
    start = time.perf_counter()
    reader = UserReader(request.source, request, request, request.time_unit)
    with write_lock(space.path, "interactions", space.wait_s):
        with progress_bar("checking", reader.rows, show=progress) as advance:
            rows = reader.check(space.users.types, advance)
        if not request.skip_invalid:
            reader.raise_if_invalid()
        tables = list(reader.batches(BATCH_ROWS))
        added = changed = 0
        if tables:
            users = pa.concat_tables(tables, promote_options="default")
            added, changed = space.users.put(users)
    invalid = len(reader.problems)
    return UserReport(
        rows_read=rows,
        added=added,
        changed=changed,
        unchanged=rows - added - changed - invalid,
        invalid=invalid,
        attributes={name: type_name(type_) for name, type_ in reader.types.items()},
        seconds=round(time.perf_counter() - start, 3),
        problems=reader.listed_problems(),
        notes=reader.notes,
    )


def list_user_attributes(space: OpenSpace) -> list[dict[str, Any]]:
    """Return name, type, share of users with a value, and examples of each attribute."""
    users = space.users.table()
    out = []
    for name, type_ in space.users.types.items():
        present = users.column(name).drop_null()
        examples = list(dict.fromkeys(map(str, present.slice(0, 100).to_pylist())))
        out.append(
            {
                "attribute": name,
                "type": type_name(type_),
                "filled": len(present) / max(len(users), 1),
                "examples": examples[:MAX_EXAMPLES],
            }
        )
    return out


def read_users(space: OpenSpace, user_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return users with their attributes, in the order of the ids.

    Raises
    ------
    InvalidInput
        If a user has no attributes in the space.
    """
    found: list[dict[str, Any]] = space.users.of_users(user_ids).to_pylist()
    missing = sorted(set(user_ids) - {row[USER_ID] for row in found})
    if missing:
        raise InvalidInput(
            f"the space has no attributes of user {missing[0]!r}; it has those of "
            f"{len(space.users):,} users, add some with: "
            f"{command_in(space.path, 'users add FILES')}"
        )
    return found


def merge_users(space: OpenSpace, request: MergeUsersRequest) -> int:
    """Make one user of two, see `Space.merge_users`."""
    former, user_id = request.user_id, request.into
    with write_lock(space.path, "interactions", space.wait_s):
        (known, *_), (given, *_) = (
            space.users.of_users([name]).to_pylist() or [{}] for name in (user_id, former)
        )
        lacking = {
            name: value
            for name, value in given.items()
            if name != USER_ID and value is not None and known.get(name) is None
        }
        if given:
            schema = space.users.table().schema
            row = {**known, **lacking, USER_ID: user_id}
            space.users.put(pa.Table.from_pylist([row], schema))
        space.interactions.merged.add(former, user_id)
        RecommendationStore(space.path).rename_user(former, user_id)
        moved = space.interactions.rename_user(former, user_id)
        space.users.delete([former])
    return moved


def delete_users(space: OpenSpace, user_ids: Sequence[str]) -> int:
    """Delete the attributes of users, and return of how many there were some."""
    with write_lock(space.path, "interactions", space.wait_s):
        return space.users.delete(user_ids)

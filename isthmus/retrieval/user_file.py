"""A file of users in, a file of recommendations out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from isthmus.columns import HISTORY, TEXT, USER_ID
from isthmus.errors import InvalidInput
from isthmus.retrieval.parquet_file import write_parquet
from isthmus.retrieval.quotas import Quotas
from isthmus.retrieval.users import User

if TYPE_CHECKING:
    from isthmus.retrieval.space import Space


def recommend_file(
    space: Space,
    users: Path,
    out: Path,
    *,
    k: int,
    domain: str | Sequence[str] | None = None,
    where: str | None = None,
    diversity: float = 0.0,
    candidates: int | None = None,
    quotas: Quotas | None = None,
    processes: int = 1,
) -> dict[str, int]:
    """Recommend to every user of a Parquet file.

    Parameters
    ----------
    space : Space
        Where the items are.
    users : Path
        Parquet with user_id and, optionally, history (list of item ids) and text. A user's stored
        interactions come before the history.
    out : Path
        Parquet to write: user_id, item_id, rank, score.
    k, domain, where, diversity, candidates, quotas, processes
        As in `Space.recommend_batch`.

    Returns
    -------
    dict of str to int
        Users read, and rows written.

    Raises
    ------
    InvalidInput
        If the file cannot be read, has no user_id, or names a user twice or not at all.
    """
    table = space.recommend_batch(
        read_users(users),
        k=k,
        domain=domain,
        where=where,
        diversity=diversity,
        candidates=candidates,
        quotas=quotas,
        processes=processes,
        progress=True,
    )
    write_parquet(table, out)
    return {"users": pq.read_metadata(users).num_rows, "rows": len(table)}


def read_users(path: Path) -> Iterator[tuple[str, User]]:
    """Give the users of a Parquet file, with their ids as text."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"cannot read users from {path}: {error}") from error
    if USER_ID not in table.column_names:
        listed = ", ".join(table.column_names)
        raise InvalidInput(f"{path} has no column {USER_ID!r}; its columns are: {listed}")
    known: set[str] = set()
    columns = [name for name in (USER_ID, HISTORY, TEXT) if name in table.column_names]
    for place, row in enumerate(table.select(columns).to_pylist()):
        if row[USER_ID] is None or str(row[USER_ID]) in known:
            raise InvalidInput(f"{path} row {place}: user id {row[USER_ID]!r} is missing or double")
        known.add(str(row[USER_ID]))
        user_id = str(row[USER_ID])
        yield user_id, User(row.get(HISTORY) or (), row.get(TEXT), id=user_id)

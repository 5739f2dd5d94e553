"""A file of users in, a file of recommendations out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.data.files import writing_parquet
from isthmus.data.table_reader import open_sources
from isthmus.errors import InvalidInput
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.quotas import Quotas
from isthmus.retrieval.search.results import list_schema
from isthmus.schema import CLICKS, HISTORY, RATINGS, TEXT, USER_ID

if TYPE_CHECKING:
    from isthmus.space import Space


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
    """Recommend to every user of a file.

    Parameters
    ----------
    space : Space
        Where the items are.
    users : Path
        Parquet, JSON lines or CSV with user_id and, optionally, history and clicks (lists of item
        ids), ratings (lists of item_id and value) and text, see `User`. A user's stored
        interactions come before these.
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
        If the file cannot be read, has no user_id, names a user twice or not at all, or tells
        something of one that cannot be understood, or `out` cannot be written. Nothing has been
        answered then.
    """
    known = list(read_users(users))
    with writing_parquet(out, list_schema()) as writer:
        table = space.recommend_batch(
            known,
            k=k,
            domain=domain,
            where=where,
            diversity=diversity,
            candidates=candidates,
            quotas=quotas,
            processes=processes,
            progress=True,
        )
        writer.write_table(table)
    return {"users": len(known), "rows": len(table)}


def read_users(path: Path) -> Iterator[tuple[str, User]]:
    """Give the users of a file, with their ids as text."""
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
    for source in open_sources(path, text_columns=(USER_ID, TEXT)):
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

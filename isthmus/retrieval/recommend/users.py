"""Users: a history in any domains, clicks, ratings and a text; and files of users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.data.columns import LARGEST
from isthmus.data.files import writing_parquet
from isthmus.data.inputs import open_typed
from isthmus.data.interactions.feedback import Feedback
from isthmus.errors import InvalidInput, listed
from isthmus.ids import id_problem, to_id
from isthmus.retrieval.search.results import list_schema
from isthmus.schema import CLICKS, EVENT, HISTORY, ITEM_ID, RATINGS, TEXT, TIME, USER_ID, VALUE

HALF_LIFE = 20.0


@dataclass(frozen=True)
class Interaction:
    """An interaction of a user with an item.

    Attributes
    ----------
    item_id : str
        The item.
    value : float
        Its strength (a rating, a weight); zero counts as seen, not as liked, and less as disliked:
        the item is left out of lists, and what is like it comes later.
    time : datetime or float or None
        When it happened, on the same scale for all interactions of a user. A datetime without a
        time zone is taken as UTC.
    event : str or None
        The kind of event, such as purchase, of the strongest where there were several.
    happened : datetime or None
        When that event happened.
    """

    item_id: str
    value: float = 1.0
    time: datetime | float | None = None
    event: str | None = field(default=None, kw_only=True)
    happened: datetime | None = field(default=None, kw_only=True)


class User:
    """A user: an id, a history in any domains, clicks, ratings, a sentence of text, or nothing.

    Parameters
    ----------
    history : iterable, optional
        Oldest first: item ids, ``(item_id, value)``, ``(item_id, value, time)``, mappings with
        these keys, or `Interaction`. Where every one has a time, they are sorted by it.
    text : str, optional
        What the user says or is said to like.
    id : str, optional
        The id of the user in the space; the stored interactions precede the given history.
    clicks : iterable of str, optional
        Items just looked at, oldest first; newer than everything else.
    ratings : mapping or iterable of (str, float), optional
        Items and their ratings, in no order. Items rated no more than half as high as the best
        count as seen, not as liked.
    attributes : mapping of str to value, optional
        What is known of the user besides: age, country, segment. They take the place of stored
        attributes of the same name; None is unknown.

    Raises
    ------
    InvalidInput
        If an interaction cannot be parsed, or an argument has the wrong type; the message names
        the position.

    Examples
    --------
    >>> User(history=["film-1", ("book-7", 5.0)]).history[1]
    Interaction(item_id='book-7', value=5.0, time=None, event=None, happened=None)
    >>> [entry.value for entry in User(ratings={"film-1": 5, "film-2": 1}).history]
    [1.0, 0.0]
    """

    def __init__(
        self,
        history: Iterable[Any] | None = (),
        text: str | None = None,
        *,
        id: str | int | None = None,
        clicks: Iterable[str | int] | None = (),
        ratings: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        entries = _interactions("history", history)
        if entries and all(entry.time is not None for entry in entries):
            entries.sort(key=lambda entry: _seconds(entry.time))
        strongest = max((entry.value for entry in entries), default=1.0)
        latest = [replace(entry, value=strongest) for entry in _interactions("clicks", clicks)]
        rated = _interactions("ratings", _pairs(ratings))
        self.history: tuple[Interaction, ...] = (*_shares(rated, strongest), *entries, *latest)
        self.text = (_text("text", text) or "").strip() or None
        self.id = None if id is None else to_id(id, "the id of a user")
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.ratings: dict[str, float] = {entry.item_id: entry.value for entry in rated}
        self._unordered = range(len(rated))

    def after(self, stored: Sequence[Interaction], ordered: bool) -> User:
        """Return the same user with an earlier history.

        Parameters
        ----------
        stored : sequence of Interaction
            Earlier interactions, oldest first if they are ordered.
        ordered : bool
            Whether their order is that of time.
        """
        user = User(text=self.text, id=self.id, attributes=self.attributes)
        strongest = max((entry.value for entry in stored), default=0.0)
        given = max((entry.value for entry in self.history), default=0.0)
        scale = strongest / given if strongest > 0 and given > 0 else 1.0
        latest = (replace(entry, value=entry.value * scale) for entry in self.history)
        user.history, user.ratings = (*stored, *latest), self.ratings
        first = len(stored) if ordered else 0
        user._unordered = range(first, len(stored) + len(self._unordered))
        return user

    def known_by(self, stored: Mapping[str, Any]) -> User:
        """Return the same user with stored attributes, where none of the name was given."""
        user = copy(self)
        user.attributes = {**stored, **self.attributes}
        return user

    def __repr__(self) -> str:
        return f"User({len(self.history)} interactions, text={self.text!r}, id={self.id!r})"

    def importance(self) -> npt.NDArray[np.float64]:
        """Return the weight of each interaction, shape (len(history),).

        Strength (value over the strongest value, zero if not positive) times recency, which
        halves every 20 interactions.
        """
        values = np.array([max(entry.value, 0.0) for entry in self.history])
        strength = values / max(values.max(initial=0.0), 1e-12)
        return np.asarray(strength * 0.5 ** (self.ages() / HALF_LIFE))

    def ages(self) -> npt.NDArray[np.float64]:
        """Return the position of each interaction from the newest, 0, shape (len(history),).

        Interactions without an order, such as ratings, all have the age of the newest of them.
        """
        ages = np.arange(len(self.history), dtype=np.float64)[::-1].copy()
        if self._unordered:
            ages[self._unordered] = ages[self._unordered[-1]]
        return ages


def stored_histories(
    interactions: pa.Table, feedback: Feedback | None = None
) -> dict[str, tuple[list[Interaction], bool]]:
    """Return the history of each user of a table, and whether its order is that of time.

    Parameters
    ----------
    interactions : pyarrow.Table
        With the schema of interactions, by user, oldest first for each. The events of one item
        become one interaction, as strong as the strongest and as new as the newest; a dislike
        that no positive event follows stays one.
    feedback : Feedback, optional
        How events count; by default as the events of each user alone say.
    """
    histories = {}
    users = interactions.column(USER_ID).to_pylist()
    starts = [at for at, user in enumerate(users) if at == 0 or user != users[at - 1]]
    for start, end in pairwise([*starts, len(users)]):
        events = interactions.slice(start, end - start)
        histories[users[start]] = _history(events, feedback or Feedback.of(events))
    return histories


def _history(events: pa.Table, feedback: Feedback) -> tuple[list[Interaction], bool]:
    """Return the history that the events of one user come to."""
    labels = feedback.label(events)
    history: dict[str, Interaction] = {}
    columns = (events.column(name).to_pylist() for name in (ITEM_ID, EVENT, TIME))
    for at, (item, event, time) in enumerate(zip(*columns, strict=True)):
        if not labels.used[at]:
            continue
        before = history.pop(item, Interaction(item, 0.0, event=event, happened=time))
        strength = float(labels.strengths[at])
        if labels.disliked[at]:
            history[item] = Interaction(item, -abs(strength), time, event=event, happened=time)
        elif labels.liked[at] and strength >= before.value:
            history[item] = Interaction(item, strength, time, event=event, happened=time)
        else:
            history[item] = replace(before, time=time)
    entries = list(history.values())
    return entries, all(entry.time is not None for entry in entries)


def _interactions(what: str, given: Iterable[Any] | None) -> list[Interaction]:
    if isinstance(given, str | bytes | Mapping):
        raise InvalidInput(f"{what} is {given!r}; give a list, such as ['film-1', 'book-7']")
    entries = () if given is None else given
    return [_interaction(f"{what} entry {at}", one) for at, one in enumerate(entries)]


def _interaction(what: str, entry: Any) -> Interaction:
    try:
        made = _read(entry)
    except TypeError as error:
        raise InvalidInput(
            f"{what} is {entry!r}; give an item id, (item_id, value), (item_id, value, time), or a "
            "mapping with these keys"
        ) from error
    if not _is_number(made.value):
        raise InvalidInput(f"{what} is {entry!r}; its value is no finite number")
    if abs(made.value) > LARGEST:
        raise InvalidInput(
            f"{what} is {entry!r}; its value is over the largest number, {LARGEST:.2g}"
        )
    if not isinstance(made.item_id, str) or id_problem(made.item_id):
        made = replace(made, item_id=to_id(made.item_id, f"{what}: its item id"))
    if not (made.time is None or isinstance(made.time, datetime) or _is_number(made.time)):
        raise InvalidInput(f"{what} is {entry!r}; a time is a datetime or a number")
    return made


def _read(entry: Any) -> Interaction:
    if isinstance(entry, Interaction):
        return entry
    if isinstance(entry, Mapping):
        return Interaction(**entry)
    if isinstance(entry, Sequence) and not isinstance(entry, str | bytes):
        return Interaction(*entry)
    return Interaction(entry)


def _pairs(ratings: Mapping[str, float] | Iterable[tuple[str, float]] | None) -> list[Any]:
    given = ratings.items() if isinstance(ratings, Mapping) else ratings
    pairs = [] if given is None else list(given)
    for at, pair in enumerate(pairs):
        if not _is_pair(pair):
            raise InvalidInput(f"ratings entry {at} is {pair!r}; give (item_id, value)")
    return pairs


def _is_pair(entry: Any) -> bool:
    if isinstance(entry, Mapping):
        return entry.keys() == {ITEM_ID, VALUE}
    is_sequence = isinstance(entry, Sequence) and not isinstance(entry, str | bytes)
    return is_sequence and len(entry) == 2


def _shares(rated: Sequence[Interaction], strongest: float) -> list[Interaction]:
    """Return ratings as shares of the best; 0 for those no more than half of it."""
    best = max((entry.value for entry in rated), default=0.0)
    good = [e.value / best if best > 0 and e.value > best / 2 else 0.0 for e in rated]
    return [replace(e, value=share * strongest) for e, share in zip(rated, good, strict=True)]


def _text(what: str, given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    raise InvalidInput(f"{what} is {given!r}; give a text, such as {str(given)!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and bool(np.isfinite(float(value)))


def _seconds(time: datetime | float | None) -> float:
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return float(time or 0.0)


def recommend_file(
    recommend: Callable[[Sequence[tuple[str, User]]], tuple[pa.Table, int]],
    users: Path,
    out: Path,
) -> dict[str, int]:
    """Recommend to every user of a file.

    Parameters
    ----------
    recommend : callable
        Returns the lists of named users as a table, as `Space.recommend_batch` does, and how many
        of the users are unknown.
    users : Path
        Parquet, JSON lines or CSV with user_id and, optionally, history and clicks (lists of item
        ids), ratings (lists of item_id and value) and text, see `User`. The stored interactions
        of a user precede these.
    out : Path
        Parquet to write: user_id, item_id, rank, score.

    Returns
    -------
    dict of str to int
        Number of users read, of rows written, and of users of whom no item of the space is known.

    Raises
    ------
    InvalidInput
        If the file cannot be read, lacks user_id, has a missing or repeated user id or a value
        that cannot be parsed, or `out` cannot be written. No user is answered in this case.
    """
    named_users = list(read_users(users))
    with writing_parquet(out, list_schema()) as writer:
        table, unknown = recommend(named_users)
        writer.write_table(table)
    return {"users": len(named_users), "rows": len(table), "unknown_users": unknown}


def read_users(path: Path) -> Iterator[tuple[str, User]]:
    """Return the users of a file with their ids."""
    known: set[str] = set()
    for place, row in enumerate(_rows(path)):
        user_id = to_id(row[USER_ID], f"{path} row {place}: the user id")
        if user_id in known:
            raise InvalidInput(f"{path} row {place}: user id {user_id!r} is there twice")
        known.add(user_id)
        try:
            yield user_id, _user(user_id, row)
        except InvalidInput as error:
            raise InvalidInput(f"{path} row {place}: {error}") from error


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for source in open_typed(path, text_columns=(USER_ID, TEXT)):
        names = source.schema.names
        if USER_ID not in names:
            raise InvalidInput(
                f"{source.name} has no column {USER_ID!r}; its columns are: {listed(names)}"
            )
        columns = [name for name in (USER_ID, HISTORY, CLICKS, RATINGS, TEXT) if name in names]
        for batch in source.batches():
            yield from batch.select(columns).to_pylist()


def _user(user_id: str, row: Mapping[str, Any]) -> User:
    ratings = row.get(RATINGS)
    if isinstance(ratings, Mapping):  # from JSON; items that other users rated are null
        ratings = {item_id: value for item_id, value in ratings.items() if value is not None}
    return User(
        row.get(HISTORY), row.get(TEXT), id=user_id, clicks=row.get(CLICKS), ratings=ratings
    )

"""Users: whatever is known of somebody, in any domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.columns import ITEM_ID, TIME, USER_ID, VALUE, WEIGHT
from isthmus.errors import InvalidInput

HALF_LIFE = 20.0


@dataclass(frozen=True)
class Interaction:
    """One thing a user did with an item.

    Attributes
    ----------
    item_id : str
        The item.
    value : float
        How strong it was (a rating, a weight); zero or less counts as seen and no more.
    time : datetime or float or None
        When; any scale, as long as it is the same for all of a user's interactions.
    """

    item_id: str
    value: float = 1.0
    time: datetime | float | None = None


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
        Whose interactions the space holds; they come before the history given here.
    clicks : iterable of str, optional
        Items just looked at, oldest first; newer than everything else.
    ratings : mapping or iterable of (str, float), optional
        Items and what they were given, in no order. What got no more than half of the best
        counts as seen and no more.

    Raises
    ------
    InvalidInput
        If an interaction cannot be understood, with its place.

    Examples
    --------
    >>> User(history=["film-1", ("book-7", 5.0)]).history[1]
    Interaction(item_id='book-7', value=5.0, time=None)
    >>> [entry.value for entry in User(ratings={"film-1": 5, "film-2": 1}).history]
    [1.0, 0.0]
    """

    def __init__(
        self,
        history: Iterable[Any] = (),
        text: str | None = None,
        *,
        id: str | None = None,
        clicks: Iterable[str] = (),
        ratings: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
    ) -> None:
        entries = [_interaction(place, entry) for place, entry in enumerate(history)]
        if entries and all(entry.time is not None for entry in entries):
            entries.sort(key=lambda entry: _seconds(entry.time))
        strongest = max((entry.value for entry in entries), default=1.0)
        clicked = [_interaction(place, entry) for place, entry in enumerate(clicks)]
        pairs = list(ratings.items() if isinstance(ratings, Mapping) else ratings or ())
        rated = _rated(pairs, strongest)
        latest = [replace(entry, value=strongest) for entry in clicked]
        self.history: tuple[Interaction, ...] = (*rated, *entries, *latest)
        self.text = text.strip() if text and text.strip() else None
        self.id = id
        self.ordered = True
        self.ratings: dict[str, float] = dict(pairs)
        self._rated = range(len(rated))

    def after(self, stored: Sequence[Interaction], ordered: bool) -> User:
        """Give the same user with an earlier history.

        Parameters
        ----------
        stored : sequence of Interaction
            What is known from before, oldest first where it is ordered.
        ordered : bool
            Whether the order says anything of when.
        """
        whole = User(text=self.text, id=self.id)
        strongest = max((entry.value for entry in stored), default=0.0)
        own = max((entry.value for entry in self.history), default=0.0)
        scale = strongest / own if strongest > 0 and own > 0 else 1.0
        latest = (replace(entry, value=entry.value * scale) for entry in self.history)
        whole.history = (*stored, *latest)
        whole.ordered, whole.ratings = ordered, self.ratings
        whole._rated = range(len(stored) + self._rated.start, len(stored) + self._rated.stop)
        return whole

    def __repr__(self) -> str:
        return f"User({len(self.history)} interactions, text={self.text!r}, id={self.id!r})"

    def importance(self) -> npt.NDArray[np.float64]:
        """Weigh each interaction, shape (len(history),).

        Strength (value over the strongest value, zero if not positive) times recency, which
        halves every 20 interactions.
        """
        values = np.array([max(entry.value, 0.0) for entry in self.history])
        strength = values / max(values.max(initial=0.0), 1e-12)
        return np.asarray(strength * 0.5 ** (self.ages() / HALF_LIFE))

    def ages(self) -> npt.NDArray[np.float64]:
        """Give the place of each interaction counted from the newest, shape (len(history),).

        Ratings have no order, so all have the age of the last; where nothing has one, it is 0.
        """
        ages = np.arange(len(self.history), dtype=np.float64)[::-1].copy()
        if self._rated:
            ages[self._rated] = ages[self._rated[-1]]
        return ages * self.ordered


def stored_histories(
    interactions: pa.Table, positive_from: Mapping[str, float | None] | float | None
) -> dict[str, tuple[list[Interaction], bool]]:
    """Give the history of each user of a table, and whether its order is that of time.

    Parameters
    ----------
    interactions : pyarrow.Table
        user_id, item_id, value, weight and time, each user's oldest first. Of several with one
        item the latest counts.
    positive_from : float or mapping of str to float, optional
        What has a smaller value counts as seen and no more; for all users, or each.
    """
    found: dict[str, dict[str, Interaction]] = {}
    names = (USER_ID, ITEM_ID, VALUE, WEIGHT, TIME)
    columns = (interactions.column(name).to_pylist() for name in names)
    for user, item, value, weight, time in zip(*columns, strict=True):
        own = found.setdefault(user, {})
        own.pop(item, None)
        told = positive_from.get(user) if isinstance(positive_from, Mapping) else positive_from
        least = np.float32(told or 0.0)  # as values are stored
        liked = value > 0 and value >= least
        own[item] = Interaction(item, value * weight if liked else 0.0, time)
    return {
        user: (list(own.values()), all(entry.time is not None for entry in own.values()))
        for user, own in found.items()
    }


def _interaction(place: int, entry: Any) -> Interaction:
    if isinstance(entry, Interaction):
        made = entry
    elif isinstance(entry, str):
        made = Interaction(entry)
    elif isinstance(entry, Mapping):
        made = Interaction(**entry)
    elif isinstance(entry, Sequence) and 1 <= len(entry) <= 3:
        made = Interaction(*entry)
    else:
        raise InvalidInput(
            f"history entry {place} is {entry!r}; give an item id, (item_id, value) or "
            "(item_id, value, time)"
        )
    if not isinstance(made.item_id, str) or not np.isfinite(made.value):
        raise InvalidInput(f"history entry {place} is {entry!r}; its id or its value is no good")
    return made


def _rated(pairs: Sequence[tuple[str, float]], strongest: float) -> list[Interaction]:
    entries = [_interaction(place, pair) for place, pair in enumerate(pairs)]
    best = max((entry.value for entry in entries), default=0.0)
    good = [(entry.value / best if entry.value > best / 2 else 0.0) if best > 0 else 0.0
            for entry in entries]  # fmt: skip
    return [replace(e, value=share * strongest) for e, share in zip(entries, good, strict=True)]


def _seconds(time: datetime | float | None) -> float:
    return time.timestamp() if isinstance(time, datetime) else float(time or 0.0)

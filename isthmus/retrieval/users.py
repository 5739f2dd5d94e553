"""Users: whatever is known of somebody, in any domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """A user: a history in any domains, a sentence of text, both, or nothing.

    Parameters
    ----------
    history : iterable, optional
        Oldest first: item ids, ``(item_id, value)``, ``(item_id, value, time)``, mappings with
        these keys, or `Interaction`. Where every one has a time, they are sorted by it.
    text : str, optional
        What the user says or is said to like.

    Raises
    ------
    InvalidInput
        If an interaction cannot be understood, with its place.

    Examples
    --------
    >>> User(history=["film-1", ("book-7", 5.0)]).history[1]
    Interaction(item_id='book-7', value=5.0, time=None)
    """

    def __init__(self, history: Iterable[Any] = (), text: str | None = None) -> None:
        entries = [_interaction(place, entry) for place, entry in enumerate(history)]
        if entries and all(entry.time is not None for entry in entries):
            entries.sort(key=lambda entry: _seconds(entry.time))
        self.history: tuple[Interaction, ...] = tuple(entries)
        self.text = text.strip() if text and text.strip() else None

    def __repr__(self) -> str:
        return f"User({len(self.history)} interactions, text={self.text!r})"

    def importance(self) -> npt.NDArray[np.float64]:
        """Weigh each interaction, shape (len(history),).

        Strength (value over the strongest value, zero if not positive) times recency, which
        halves every 20 interactions.
        """
        values = np.array([max(entry.value, 0.0) for entry in self.history])
        strength = values / max(values.max(initial=0.0), 1e-12)
        age = np.arange(len(self.history))[::-1]
        return np.asarray(strength * 0.5 ** (age / HALF_LIFE))


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


def _seconds(time: datetime | float | None) -> float:
    return time.timestamp() if isinstance(time, datetime) else float(time or 0.0)

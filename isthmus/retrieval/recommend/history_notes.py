"""Notes on histories: what of them is not in the space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.errors import listed
from isthmus.index.releases.view import View
from isthmus.retrieval.recommend.users import User


def history_notes(view: View, requested: User, user: User) -> list[str]:
    """Return a note where items of the given history, or all of a user's, are not in the space.

    Parameters
    ----------
    view : View
        The items of the moment.
    requested : User
        The user as given.
    user : User
        The same, with the stored interactions.
    """
    given = list(dict.fromkeys(entry.item_id for entry in requested.history))
    everything = [entry.item_id for entry in user.history]
    known = bool(everything) and bool((view.find(everything) >= 0).any())
    unknown = [given[at] for at in np.flatnonzero(view.find(given) < 0)] if given else []
    if not known and requested.id is not None and not given:
        return [unknown_user(requested.id)]
    if not unknown:
        return []
    of = f"{len(unknown)} of the {len(given)} items" if len(unknown) < len(given) else "no item"
    verb = "are not" if len(unknown) < len(given) else "is"
    rest = "" if known or user.text else "; the list is that of an unknown user"
    return [f"{of} of the history {verb} in this space ({listed(unknown)}){rest}"]


def unknown_user(user_id: str) -> str:
    """Return the note that nothing is known of a user: the id may be misspelt."""
    return f"no interactions of user {user_id!r} with items of this space are stored"


def unknown_users(n: int, total: int) -> str:
    """Return the note that many users of a batch are unknown."""
    return (
        f"of {n:,} of the {total:,} users no item of the history is in this space; their lists "
        "are those of unknown users"
    )


def count_unknown(view: View, requested: Sequence[User], users: Sequence[User]) -> int:
    """Count the users with an id or a history of whom no item is in the space, and no text."""
    named = [
        user
        for given, user in zip(requested, users, strict=True)
        if (given.id is not None or given.history) and not user.text
    ]
    rows = view.find([entry.item_id for user in named for entry in user.history])
    ends = np.cumsum([len(user.history) for user in named])[:-1]
    parts = np.split(rows, ends) if named else []
    return sum(not (part >= 0).any() for part in parts)

"""A word about users of whom nothing is stored, whose id may be misspelt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from isthmus.space import Space


def tell_of_stranger(space: Space, user: str | None) -> None:
    """Say on standard error that nothing a user did is known; they are answered all the same."""
    if user is not None and not len(space.interactions(user)):
        message = f"no interactions of user {user!r} with items of this space are stored"
        typer.secho(message, err=True, fg="yellow")

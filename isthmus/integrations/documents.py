"""What the adapters of document frameworks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from isthmus.client.remote import RemoteSpace
from isthmus.errors import InvalidInput
from isthmus.space import Space

Answer = TypeVar("Answer")


def unless_new(
    space: Space | RemoteSpace, domain: str, ask: Callable[[], Answer], otherwise: Answer
) -> Answer:
    """Return an answer; `otherwise` where no document has come yet, so there is no domain."""
    try:
        return ask()
    except InvalidInput:
        if domain in space.status()["domains"]:
            raise
        return otherwise

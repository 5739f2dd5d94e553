"""Chat models beside a search: a profile of a user's words, and an order of the first hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from isthmus.data.api_client import Malformed
from isthmus.errors import MalformedAnswer
from isthmus.integrations.chat import MAX_TEXT, ChatModel
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.results import Hit

PROFILE_PROMPT: Final = (
    "Somebody says what they like. Write a short profile of their taste: themes, styles and moods, "
    "in the words in which items are described. Name no items."
)
RERANK_PROMPT: Final = (
    "Order the items by how well they fit the query, best first, and give a short reason for each. "
    "Name each item by its number, every number once."
)
MAX_REASON: Final = 300


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    profile: str = Field(min_length=1, max_length=MAX_TEXT)


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    item: int
    reason: str = Field(max_length=MAX_REASON)


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    order: list[_Place]


@dataclass(frozen=True)
class RankedHit:
    """A hit in the order of a chat model.

    Attributes
    ----------
    hit : Hit
        The hit, with the rank and the score that the search gave it.
    reason : str
        Why it stands there; empty behind the first N, and where the model gave no proper answer.
    """

    hit: Hit
    reason: str


def profile(model: ChatModel, text: str, prompt: str = PROFILE_PROMPT) -> User:
    """Return a user known by a profile that a model wrote of their words.

    Raises
    ------
    ServiceError
        If the server does not answer, or not with a profile.
    """
    return User(text=model.ask(prompt, {"words": text}, _Profile).profile)


def rerank(
    model: ChatModel,
    query: str,
    hits: Sequence[Hit],
    first: int = 20,
    prompt: str = RERANK_PROMPT,
) -> list[RankedHit]:
    """Return hits with the first N in the order of a model, which gives reasons.

    The order is a permutation of these hits, whatever the model answers: one that leaves an item
    out, or adds one, is asked for again, and after all retries the order of the search stays.

    Raises
    ------
    ServiceError
        If the server does not answer at all.
    """
    top = list(hits[:first])
    if not top:
        return []
    items = [{"item": at, **_described(hit)} for at, hit in enumerate(top)]

    def check(order: _Order) -> None:
        if sorted(place.item for place in order.order) != list(range(len(top))):
            raise Malformed("answered an order that has not every item once")

    try:
        places = model.ask(prompt, {"query": query, "items": items}, _Order, check).order
    except MalformedAnswer:
        return [RankedHit(hit, "") for hit in hits]
    ranked = [RankedHit(top[place.item], place.reason) for place in places]
    return ranked + [RankedHit(hit, "") for hit in hits[first:]]


def _described(hit: Hit) -> dict[str, Any]:
    return {"domain": hit.domain, "title": hit.title, "text": (hit.text or "")[:MAX_TEXT]}

"""Chat models as rerankers: an order of items for a query, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from isthmus.data.api_client import Malformed
from isthmus.encoders.models.chat import MAX_TEXT, ChatModel
from isthmus.errors import MalformedAnswer

PROMPT: Final = (
    "Order the items by how well they fit the query, best first, and give a short reason for each. "
    "Name each item by its number, every number once."
)
MAX_REASON: Final = 300


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    item: int
    reason: str = Field(max_length=MAX_REASON)


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    order: list[_Place]


class ChatReranker:
    """Has a chat model order items.

    Parameters
    ----------
    model : ChatModel
        The model.

    Attributes
    ----------
    spec : str
        The spec that loads it again.
    """

    spec: str

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def order(self, query: str, items: Sequence[Mapping[str, str]]) -> list[tuple[int, str]]:
        """Return the positions of items, best first, each with a reason.

        The order is a permutation of the items, whatever the model answers: one that leaves an
        item out, or adds one, is asked for again. After all retries there is none.

        Parameters
        ----------
        query : str
            What is looked for, in words.
        items : sequence of mapping
            What there is to know of each item, by name.

        Raises
        ------
        ServiceError
            If the server does not answer at all.
        """
        numbered = [
            {"item": at, **{name: text[:MAX_TEXT] for name, text in item.items()}}
            for at, item in enumerate(items)
        ]

        def check(order: _Order) -> None:
            if sorted(place.item for place in order.order) != list(range(len(items))):
                raise Malformed("answered an order that has not every item once")

        try:
            answer = self._model.ask(PROMPT, {"query": query, "items": numbered}, _Order, check)
        except MalformedAnswer:
            return []
        return [(place.item, place.reason) for place in answer.order]


def load_chat_reranker(
    name: str, *, device: str = "auto", precision: str = "auto", **options: str
) -> ChatReranker:
    """Return the reranker of a chat model; the options are those of `ChatModel.load`.

    Raises
    ------
    InvalidInput
        If an option is unknown, or there is no ``base_url``.
    """
    del device, precision  # the server's
    return ChatReranker(ChatModel.load(f"openai/{name}?{urlencode(options)}"))

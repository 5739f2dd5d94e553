"""Chat models beside a recommendation: a profile of a user's words."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from isthmus.encoders.models.chat import MAX_TEXT, ChatModel
from isthmus.retrieval.recommend.users import User

PROFILE_PROMPT: Final = (
    "Somebody says what they like. Write a short profile of their taste: themes, styles and moods, "
    "in the words in which items are described. Name no items."
)


class _Profile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    profile: str = Field(min_length=1, max_length=MAX_TEXT)


def profile(model: ChatModel, text: str, prompt: str = PROFILE_PROMPT) -> User:
    """Return a user known by a profile that a model wrote of their words.

    Raises
    ------
    ServiceError
        If the server does not answer, or not with a profile.
    """
    return User(text=model.ask(prompt, {"words": text}, _Profile).profile)

"""Texts: how much of one reaches a tokenizer, and how many go there at once.

Encoders read some hundred tokens, but tokenizers split the whole text first, and take some sixty
times its size in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from isthmus.errors import InvalidInput

MAX_TEXT_BYTES: Final = 2**20  # of UTF-8
MAX_GROUP_BYTES: Final = 2**20
_MAX_BYTES_PER_CHARACTER: Final = 4


def check_texts(texts: Sequence[Any]) -> None:
    r"""Raise `InvalidInput` if one of the texts is no text, or holds half a character.

    Examples
    --------
    >>> check_texts(["red boots", "\ud83d"])
    Traceback (most recent call last):
    isthmus.errors.InvalidInput: text 1 holds '\ud83d' at position 0, half of a surrogate pair...
    """
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"text {number} is of type {type(text).__name__}; give a str")
        try:
            text.isascii() or text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"text {number} holds {text[error.start]!a} at position {error.start}, half of a "
                "surrogate pair and no character; decode the text with errors='replace'"
            ) from error


def is_cut(text: str) -> bool:
    """Return whether a text is longer than what reaches a tokenizer."""
    if len(text) * _MAX_BYTES_PER_CHARACTER <= MAX_TEXT_BYTES:
        return False
    return len(text) > MAX_TEXT_BYTES or len(text.encode(errors="replace")) > MAX_TEXT_BYTES


def cut_text(text: str) -> str:
    """Return the beginning of a text that reaches a tokenizer, whole characters.

    Examples
    --------
    >>> len(cut_text("ä" * 2**20)), cut_text("short")
    (524288, 'short')
    """
    if not is_cut(text):
        return text
    beginning = text[:MAX_TEXT_BYTES].encode(errors="replace")[:MAX_TEXT_BYTES]
    return beginning.decode(errors="ignore")


def cut_in_groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in order, cut, as many at once as a tokenizer takes in bounded memory.

    Examples
    --------
    >>> [len(group) for group in cut_in_groups(["a" * 2**19] * 5)]
    [2, 2, 1]
    """
    group: list[str] = []
    characters = 0
    for text in map(cut_text, texts):
        if group and characters + len(text) > MAX_GROUP_BYTES:
            yield group
            group, characters = [], 0
        group.append(text)
        characters += len(text)
    if group:
        yield group

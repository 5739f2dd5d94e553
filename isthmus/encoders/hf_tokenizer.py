"""Hugging Face tokenizers: called so that threads may share them, and named by their content."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.encoders.weights import hash_settings
from isthmus.errors import InvalidInput

Tokenize = Callable[[Sequence[str]], list[list[int]]]

_STATED = 1_000_000  # a larger model_max_length says that nobody stated one
_USUAL = 512


def tokenize_with(tokenizer: Any, max_length: int) -> Tokenize:
    """Give a function from texts to token ids, truncated, not padded.

    The tokenizer keeps truncation and padding as state, and refuses to change it while another
    thread tokenises. It is set here, by a first call, and every call asks for the same.
    """

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = found["input_ids"]
        return ids

    tokenize([""])
    return tokenize


def hash_tokenizer(tokenizer: Any) -> str:
    """Digest what a tokenizer does, whatever its truncation and padding are set to."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_settings([type(tokenizer).__name__, tokenizer.get_vocab()])
    settings = json.loads(backend.to_str())
    return hash_settings({**settings, "truncation": None, "padding": None})


def choose_max_length(asked: str | None, tokenizer: Any, positions: int | None) -> int:
    """Give the most tokens of a text: what is asked for, or what the model takes.

    Raises
    ------
    InvalidInput
        If it is no number that the model can take.
    """
    most = positions or _STATED
    if asked is None:
        stated = int(tokenizer.model_max_length)
        return min(stated if stated < _STATED else _USUAL, most)
    if not asked.isdecimal() or not 1 <= int(asked) <= most:
        raise InvalidInput(f"max_length={asked} cannot be used; give a number from 1 to {most}")
    return int(asked)

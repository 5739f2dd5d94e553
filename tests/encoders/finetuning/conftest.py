"""Pairs with a rule that a tiny model can learn, and another domain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isthmus import FinetuneSettings, OtherDomain

WORDS = ("red", "green", "blue", "shoe", "hat", "zorb", "quix", "wug")
QUICK = FinetuneSettings(
    epochs=2,
    batch_size=32,
    learning_rate=3e-3,
    validation=0.2,
    held_out=0.3,
    anchor_texts=8,
    max_forgetting=1.0,
)


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """Return pairs of texts that name the same three things in different words."""
    names = itertools.combinations(WORDS, 3)
    return [(f"a {a} {b} {c}", f"{c} of {a} {b}") for a, b, c in names]


@pytest.fixture(scope="session")
def letters() -> OtherDomain:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(list("abcdefghij"), 4)) for _ in range(120)]
    return OtherDomain("letters", texts, [text[0] for text in texts])

"""Toy worlds of users and items in which the right recommendation is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import Space
from isthmus.retrieval.candidates.generators import default_generators
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings
from tests.toy import item, text_encoder

TASTES = 8
ITEMS_A_TASTE = 6
QUICK = RecommenderSettings(
    examples=ExampleSettings(folds=2, depth=40),
    training=TrainingSettings(epochs=15, hidden=16, batch_size=16),
    tower_epochs=8,
)
FEW = ("popularity", "item-KNN", "content")
BRIEF = replace(
    QUICK,
    examples=replace(QUICK.examples, folds=1),
    training=replace(QUICK.training, epochs=3),
    exclude_generators=tuple(
        generator.name for generator in default_generators() if generator.name not in FEW
    ),
    check_source_domains=False,
)


def checkerboard(path: Path, users: int = 160) -> Space:
    """Films and books of eight tastes; whoever likes films of one likes the books of that taste.

    The words of films and books have nothing in common, so only interactions join them.
    """
    space = Space.create(path, {"text": text_encoder()})
    space.upsert(
        [
            item(name(domain, taste, n), f"{domain}word{taste} {domain}{taste}x{n}", domain)
            for domain in ("films", "books")
            for taste in range(TASTES)
            for n in range(ITEMS_A_TASTE)
        ]
    )
    if users:
        space.add_interactions(board(users))
    return space


def board(users: int, seed: int = 0) -> list[dict[str, Any]]:
    """Let user *i* like four items of taste *i modulo 8* in each domain."""
    rng = np.random.default_rng(seed)
    return [
        {"user_id": f"u{user}", "item_id": name(domain, user % TASTES, int(n))}
        for user in range(users)
        for domain in ("films", "books")
        for n in rng.permutation(ITEMS_A_TASTE)[:4]
    ]


def name(domain: str, taste: int, n: int) -> str:
    return f"{domain}-{taste}-{n}"


def taste_of(item_id: str) -> int:
    return int(item_id.split("-")[1])

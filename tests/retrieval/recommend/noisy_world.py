"""Films that tell which books somebody likes, and many posts that tell nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isthmus import Space
from tests.retrieval.recommend.worlds import ITEMS_A_TASTE, TASTES, name
from tests.toy import item, text_encoder

USERS = 240
POSTS = 48
POSTS_A_USER = 24


def noisy(path: Path, noise: tuple[str, ...] = ("posts",)) -> Space:
    """Whoever likes films of a taste likes the books of it; half of all posts, at random, too."""
    space = Space.create(path, {"text": text_encoder()})
    space.upsert([*catalogue("films"), *catalogue("books")])
    space.upsert([row for domain in noise for row in posts(domain)])
    space.add_interactions(noisy_board(noise))
    return space


def catalogue(domain: str) -> list[dict[str, Any]]:
    return [
        item(name(domain, taste, n), f"{domain}word{taste} {domain}{taste}x{n}", domain)
        for taste in range(TASTES)
        for n in range(ITEMS_A_TASTE)
    ]


def posts(domain: str = "posts") -> list[dict[str, Any]]:
    return [item(post(n, domain), f"word{n % 5} post{n}", domain) for n in range(POSTS)]


def post(n: int, domain: str = "posts") -> str:
    return f"{domain}-{n}"


def noisy_board(noise: tuple[str, ...] = ("posts",)) -> list[dict[str, Any]]:
    """Let user *i* like two films and four books of taste *i modulo 8*, and 24 posts by chance."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for domain, most in (("films", 2), ("books", 4)):
            liked = rng.permutation(ITEMS_A_TASTE)[:most]
            rows += [(user, name(domain, user % TASTES, int(n))) for n in liked]
        for domain in noise:
            liked = rng.permutation(POSTS)[:POSTS_A_USER]
            rows += [(user, post(int(n), domain)) for n in liked]
    return [{"user_id": f"u{user}", "item_id": item_id} for user, item_id in rows]

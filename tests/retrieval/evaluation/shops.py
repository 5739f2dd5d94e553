"""A toy space of films and books with users who keep to one theme."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from isthmus import Space
from tests.toy import item, text_encoder

THEMES = ("sea ship", "snow hill", "jazz club")
EACH = 12


def make_shop(folder: Path, *, users: int = 120, seed: int = 0) -> Space:
    """Themes have twelve films and twelve books; a user knows seven of each, and two others.

    What belongs to the theme has 4 or 5 stars, the others 1 or 2. Every other item is used ten
    minutes after the one before it.
    """
    space = Space.create(folder / "shop", text_encoder())
    items = [
        item(f"{domain[0]}-{theme.split()[0]}-{n}", f"{theme} {domain}{n}", domain)
        for domain in ("films", "books")
        for theme in THEMES
        for n in range(EACH)
    ]
    space.upsert(items)
    space.add_interactions(ratings(users, seed))
    return space


def ratings(users: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows, start = [], datetime(2020, 1, 1, tzinfo=UTC)
    when = start
    for user in range(users):
        favourite, other = rng.choice(len(THEMES), 2, replace=False)
        for kind in "fb":
            liked = [
                f"{kind}-{THEMES[favourite].split()[0]}-{n}" for n in rng.choice(EACH, 7, False)
            ]
            poor = [f"{kind}-{THEMES[other].split()[0]}-{n}" for n in rng.choice(EACH, 2, False)]
            for number, (name, stars) in enumerate(
                [*((i, (4.0, 5.0)) for i in liked), *((i, (1.0, 2.0)) for i in poor)]
            ):
                hours = float(rng.integers(0, 9_000))
                follows = number % 2
                when = when + timedelta(minutes=10) if follows else start + timedelta(hours=hours)
                row = {"user_id": f"u{user}", "item_id": name, "time": when}
                rows.append({**row, "value": float(rng.choice(stars))})
    return rows

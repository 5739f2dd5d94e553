"""Simulate ratings of the bundled catalogue, and write them as a CSV file.

``python examples/simulate_interactions.py``

Each of 240 simulated users prefers two themes, rates items of these themes in every domain with 4
or 5, and occasionally another item with 1 to 3. The themes are not part of the catalogue: a
recommender sees only the ratings.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

CATALOGUE = Path(__file__).parent / "catalogue"
USERS = 240
START = datetime(2026, 1, 1, tzinfo=UTC)
IN_THEME, OTHER = 0.6, 0.01  # probability that a user rates an item


def simulate(seed: int = 0) -> list[tuple[str, str, int, str]]:
    """Return rows of user id, item id, rating and time, by user and time."""
    with (CATALOGUE / "themes.csv").open() as file:
        theme_of = {row["item_id"]: row["theme"] for row in csv.DictReader(file)}
    rng = np.random.default_rng(seed)
    themes = sorted(set(theme_of.values()))
    rows = []
    for user in range(USERS):
        liked = set(rng.choice(themes, 2, replace=False))
        chances = np.array([IN_THEME if theme_of[i] in liked else OTHER for i in theme_of])
        rated = rng.permutation(np.array(list(theme_of))[rng.random(len(theme_of)) < chances])
        for day, item in enumerate(rated.tolist()):
            rating = int(rng.integers(4, 6) if theme_of[item] in liked else rng.integers(1, 4))
            moment = START + timedelta(days=user % 30 + day)
            rows.append((f"u{user}", item, rating, moment.date().isoformat()))
    return rows


def main() -> None:
    """Write the file."""
    with (CATALOGUE / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("user_id", "item_id", "rating", "time"))
        writer.writerows(simulate())


if __name__ == "__main__":
    main()

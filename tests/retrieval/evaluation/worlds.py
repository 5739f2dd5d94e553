"""Small worlds of interactions and tasks that the tests of evaluation share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from isthmus.evaluation.task import Task, TestUser


def interactions(rows: Sequence[tuple]) -> pa.Table:
    """Return (user, item), (user, item, value) or (user, item, value, time) as a table."""
    whole = [(*row, *(1.0, None)[len(row) - 2 :]) for row in rows]
    users, items, values, times = zip(*whole, strict=True) if whole else ((), (), (), ())
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "value": pa.array(values, pa.float64()),
            "time": pa.array(times, pa.float64()),
        }
    )


def two_shops(users: int = 80, items: int = 30, each: int = 8, seed: int = 0):
    """Return random timed interactions in domains a and b, and the domain of every item."""
    rng = np.random.default_rng(seed)
    domains = {f"{d}{i}": d for d in "ab" for i in range(items)}
    rows = []
    for user in range(users):
        for domain in "ab":
            for item in rng.choice(items, each, replace=False):
                value = float(rng.integers(1, 6))
                rows.append((f"u{user}", f"{domain}{item}", value, float(rng.integers(0, 1000))))
    return interactions(rows), domains


def pairs(table: pa.Table) -> set[tuple[str, str]]:
    users, items = table.column("user_id").to_pylist(), table.column("item_id").to_pylist()
    return set(zip(users, items, strict=True))


def hidden(task: Task) -> set[tuple[str, str]]:
    return {(user.user_id, item) for user in task.users for item in user.truth}


def user_ids(task: Task) -> set[str]:
    return {user.user_id for user in task.users}


def small_task(**changes) -> Task:
    """Two users, six candidates b0..b5 of domain b, and a train table of eight interactions."""
    train = interactions(
        [
            ("u1", "a0"), ("u2", "a1"), ("v", "a0"), ("v", "b0"), ("v", "b1"), ("w", "b0"),
            ("w", "a1"), ("w", "a1"),
        ]
    )  # fmt: skip
    values = {
        "name": "small",
        "kind": "cold user",
        "train": train,
        "users": [
            TestUser("u1", ("a0",), ("b0", "b5")),
            TestUser("u2", ("a1", "b4"), ("b1",), ("b4",)),
        ],
        "candidates": [f"b{i}" for i in range(6)],
        "target_domain": "b",
        "domains": {f"{d}{i}": d for d in "ab" for i in range(6)},
    }
    return Task(**{**values, **changes})


class Fixed:
    """A system that answers with what it was made with."""

    def __init__(self, items, generators=None) -> None:
        self.items, self.generators = items, generators or {}

    def recommend(self, task, n):
        from isthmus.evaluation.lists import Lists

        return Lists(self.items, generators=self.generators)

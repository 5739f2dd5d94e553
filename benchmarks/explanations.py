"""Explanations by deletion: how often the item that is named matters more than a random one.

``python benchmarks/explanations.py --space S --domain films --users 200``

For users of a trained, published space the first item of the list is explained. The item of the
history that the explanation names first is taken out, and another one at random; the same item is
scored anew both times, by a list that is made from the shortened history. Printed is the share of
users for whom the named item lowers the score more than the random one (ties count a half), with a
95 % bootstrap interval, and the mean differences. Half would be chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from isthmus import Space, User
from isthmus.numerics.statistics import estimate

LENGTH = 200


def score_of(space: Space, user: User, domain: str, item: str) -> float:
    """Return the score of an item in the list of a user; that of the last where it is absent."""
    hits = space.recommend(user, domain=domain, k=LENGTH)
    scores = {hit.item_id: hit.score for hit in hits}
    return float(scores.get(item, min(scores.values(), default=0.0)))


def drops(
    space: Space, history: list[str], domain: str, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Return how much the score falls without the named item, and without a random other one.

    None where nothing is recommended, or the explanation names no item of the history.
    """
    hits = space.recommend(User(history), domain=domain, k=1, explain=True)
    if not hits or hits[0].explanation is None or not hits[0].explanation.history:
        return None
    item, named = hits[0].item_id, hits[0].explanation.history[0].item_id
    others = [other for other in history if other != named]
    if named not in history or not others:
        return None
    whole = score_of(space, User(history), domain, item)
    without = [
        score_of(space, User([i for i in history if i != left_out]), domain, item)
        for left_out in (named, str(rng.choice(others)))
    ]
    return whole - without[0], whole - without[1]


def main() -> None:
    """Measure, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True, help="trained and published")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--min-items", type=int, default=4, help="of a history")
    parser.add_argument("--max-items", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    space, rng = Space.open(arguments.space), np.random.default_rng(arguments.seed)
    table = space.interactions()
    counts = pc.value_counts(table.column("user_id")).to_pylist()
    bounds = arguments.min_items, arguments.max_items
    eligible = sorted(c["values"] for c in counts if bounds[0] <= c["counts"] <= bounds[1])
    pairs = []
    for user in rng.permutation(eligible).tolist():
        items = space.interactions(user).column("item_id").to_pylist()
        history = list(dict.fromkeys(items))
        found = drops(space, history, arguments.domain, rng)
        pairs += [] if found is None else [found]
        if len(pairs) == arguments.users:
            break
    if not pairs:
        raise SystemExit("nobody got an explained list; train, publish, and name a domain")
    named, other = np.array(pairs).T
    more = estimate((named > other) + 0.5 * (named == other))
    print(f"{len(pairs)} users of {arguments.space.name}, lists in {arguments.domain}")
    print(
        f"taking out the named item lowers the score more than a random one: {more.value:.1%} "
        f"[{more.low:.1%}, {more.high:.1%}]"
    )
    print(f"mean fall: named {named.mean():.4f}, random {other.mean():.4f}")


if __name__ == "__main__":
    main()

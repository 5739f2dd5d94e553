"""What attributes of users are worth to users of whom nothing else is known, on simulated users.

``python benchmarks/user_attributes.py``

No public set that we may use has attributes, so users and items are simulated: a user has a country
and an age; an item belongs to one country with probability one half, and has an age at which it is
liked most; popularity follows Zipf's law. What a user takes depends on popularity and, by the
strength, on country and age. A share of the values is missing. A fifth of the users are asked for
with their attributes alone. With a strength of 0 attributes tell nothing, and must cost nothing.

NDCG@10 of each generator with 95 % bootstrap intervals over the users, and the paired ratio to
popularity.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from common.tables import print_heading, print_table
from scipy.sparse import csr_array

from isthmus.data.users.attributes import UserAttributes
from isthmus.evaluation.baselines.baseline import training_data
from isthmus.numerics.metrics import ndcg
from isthmus.numerics.statistics import estimate, ratio_estimate
from isthmus.retrieval.candidates.attribute_regression import AttributeRegression
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.segment_popularity import SegmentPopularity
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

COUNTRIES, TAKEN, LIST = 8, 12, 10
AGE_WIDTH = 15.0


def simulate(
    users: int, items: int, strength: float, missing: float, seed: int
) -> tuple[csr_array, list[dict[str, object]]]:
    """Return what users take, ones of shape (users, items), and their attributes as known."""
    rng = np.random.default_rng(seed)
    popularity = 1 / (1 + rng.permutation(items)) ** 0.8
    of_country = np.where(rng.random(items) < 0.5, rng.integers(0, COUNTRIES, items), -1)
    age_liked = rng.uniform(15, 75, items)
    country, age = rng.integers(0, COUNTRIES, users), rng.uniform(15, 75, users)
    rows, columns = [], []
    for user in range(users):
        taste = (of_country == country[user]) + np.exp(
            -(((age_liked - age[user]) / AGE_WIDTH) ** 2)
        )
        weights = popularity * np.exp(strength * taste)
        taken = rng.choice(items, TAKEN, replace=False, p=weights / weights.sum())
        rows.append(np.full(TAKEN, user))
        columns.append(np.sort(taken))
    shape = (users, items)
    entries = (np.concatenate(rows), np.concatenate(columns))
    matrix = csr_array((np.ones(users * TAKEN, np.float32), entries), shape=shape)
    known = rng.random((users, 2)) >= missing
    attributes: list[dict[str, object]] = [
        {
            "country": f"c{country[user]}" if known[user, 0] else None,
            "age": int(age[user]) if known[user, 1] else None,
        }
        for user in range(users)
    ]
    return matrix, attributes


def measure(
    generator: CandidateGenerator, data: TrainingData, asked: UserHistories, truth: csr_array
) -> np.ndarray:
    """Return NDCG@10 of every user that is asked for; popularity stands in for no list."""
    generator.fit(data)
    allowed, unseen = np.ones(len(data), bool), asked.seen(len(data))
    found = generator.scorer(data, asked, 0).top_k(LIST, allowed, unseen)
    fallback = Popularity().fit(data).scorer(data, asked, 0).top_k(LIST, allowed, unseen)
    hits = np.zeros((len(asked), LIST), bool)
    for user in range(len(asked)):
        items = found.items[found.starts[user] : found.starts[user + 1]]
        if not len(items):
            items = fallback.items[fallback.starts[user] : fallback.starts[user + 1]]
        taken = truth.indices[truth.indptr[user] : truth.indptr[user + 1]]
        hits[user, : len(items)] = np.isin(items, taken)
    return ndcg(hits, np.full(len(asked), TAKEN), LIST)


def main() -> None:
    """Measure every strength, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0])
    parser.add_argument("--missing", type=float, default=0.3, help="share of values not known")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print_heading("Attributes of users, simulated", ("numpy", "implicit"))
    rows = []
    for strength in arguments.strengths:
        matrix, attributes = simulate(
            arguments.users, arguments.items, strength, arguments.missing, arguments.seed
        )
        n_learned = arguments.users * 4 // 5
        names = [str(item) for item in range(arguments.items)]
        no_vectors = np.zeros((arguments.items, 0), np.float32)
        data = training_data(names, matrix[:n_learned], no_vectors)
        learned = replace(data.interactions, attributes=UserAttributes.of(attributes[:n_learned]))
        data = replace(data, interactions=learned)
        rest = range(n_learned, arguments.users)
        asked = replace(
            UserHistories.from_lists([np.zeros(0, np.int64) for _ in rest]),
            attributes=UserAttributes.of([attributes[user] for user in rest]),
        )
        truth = csr_array(matrix[n_learned:])
        base = measure(Popularity(), data, asked, truth)
        for generator in (Popularity(), SegmentPopularity(), AttributeRegression()):
            values = measure(generator, data, asked, truth)
            mean, ratio = estimate(values), ratio_estimate(values, base)
            shown = (
                "-" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
            )
            value = f"{mean.value:.4f} [{mean.low:.4f}, {mean.high:.4f}]"
            rows.append([f"{strength:g}", generator.name, value, shown])
    print_table(["strength", "generator", "NDCG@10", "to popularity"], rows)


if __name__ == "__main__":
    main()

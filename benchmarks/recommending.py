"""Speed of recommendations by a trained space: one user at a time, and in batches.

``python benchmarks/recommending.py --vectors vectors --rows 100000``

The items are real text vectors in two domains. The interactions are simulated (popular items, and
items near a seed item of the user in content), since only their number matters here. Single users
are measured with one thread, without a query text, after warm-up lists; the batch has other,
distinct users, and its time includes the start of its processes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch
from common.standin import lookup_encoder
from real_vectors import real_vectors, texts

from isthmus import Space, User
from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
from isthmus.retrieval.recommend.settings import RecommenderSettings

DOMAINS = ("left", "right")
ITEMS_A_USER = 16
SETTINGS = RecommenderSettings(
    examples=ExampleSettings(folds=1, users=1_000),
    training=TrainingSettings(epochs=2),
    tower_epochs=2,
)


def items(rows: int) -> pa.Table:
    """Return items whose text is their row number, for the stand-in encoder, with their titles."""
    names = [str(row) for row in range(rows)]
    domains = [DOMAINS[row % 2] for row in range(rows)]
    titles = list(islice(texts(), rows))
    return pa.table({"item_id": names, "text": names, "title": titles, "domain": domains})


def interactions(vectors: np.ndarray, users: int, rng: np.random.Generator) -> pa.Table:
    """Return simulated interactions: popular items, and items near a seed item in content."""
    rows = len(vectors)
    popular = rng.zipf(1.3, users * ITEMS_A_USER) % rows
    seeds = rng.integers(rows, size=users)
    near = faiss.knn(vectors[seeds], vectors, ITEMS_A_USER, metric=faiss.METRIC_INNER_PRODUCT)[1]
    chosen = np.where(rng.random(near.shape) < 0.5, near, popular.reshape(near.shape))
    owners = np.repeat(np.arange(users), ITEMS_A_USER).astype(str)
    return pa.table({"user_id": owners, "item_id": chosen.ravel().astype(str)})


def fill(folder: Path, vectors: np.ndarray, users: int) -> Space:
    """Return a new space, trained and published."""
    space = Space.create(folder / "two.space", {"text": lookup_encoder(vectors)})
    space.upsert(items(len(vectors)), domain_column="domain", text="text")
    space.add_interactions(interactions(vectors, users, np.random.default_rng(0)))
    start = time.perf_counter()
    space.train("right", settings=SETTINGS, progress=True)
    print(f"trained in {time.perf_counter() - start:.0f} s", flush=True)
    space.publish()
    return Space.open(space.path)


def one_by_one(space: Space, warm: list[str], users: list[str], k: int) -> dict[str, float]:
    """Return the times of single lists, in milliseconds."""
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    for user in warm:
        space.recommend(User(id=user), domain="right", k=k)
    seconds, processor = [], []
    for user in users:
        start, used = time.perf_counter(), time.thread_time()
        space.recommend(User(id=user), domain="right", k=k)
        processor.append(time.thread_time() - used)
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    processor_ms = float(np.median(processor)) * 1e3  # says more where other jobs run
    return {"p50_ms": float(p50), "p99_ms": float(p99), "processor_p50_ms": processor_ms}


def together(space: Space, users: list[str], k: int, **options: int) -> float:
    """Return users per second of a batch, on two cores."""
    faiss.omp_set_num_threads(2)
    torch.set_num_threads(2)
    queries = [(user, User(id=user)) for user in users]
    start = time.perf_counter()
    space.recommend_batch(queries, domain="right", k=k, **options)
    return len(users) / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="see real_vectors.py")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--warm", type=int, default=300, help="lists made before the timed ones")
    parser.add_argument("--asked", type=int, default=500, help="lists timed one by one")
    parser.add_argument("--batch", type=int, default=3_000, help="users of the batch")
    parser.add_argument("--processes", type=int, default=2, help="processes of the batch")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--space", type=Path, help="folder in which the space is cached")
    options = parser.parse_args()
    vectors = np.array(real_vectors(options.rows, options.vectors))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.space or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        space_path = folder / "two.space"
        space = (
            Space.open(space_path) if space_path.exists() else fill(folder, vectors, options.users)
        )
        users = [str(user) for user in range(options.warm + options.asked + options.batch)]
        warm, timed_users = users[: options.warm], users[options.warm :]
        figures = one_by_one(space, warm, timed_users[: options.asked], options.k)
        batch_options = {"processes": options.processes} if options.processes > 1 else {}
        figures["users_s"] = together(
            space, timed_users[options.asked :], options.k, **batch_options
        )
    print(json.dumps({"rows": options.rows, "k": options.k, **figures}, indent=1))


if __name__ == "__main__":
    main()

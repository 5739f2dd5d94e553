"""Speed of the HTTP service: closed-loop load of vector search, text search and recommendations.

``python benchmarks/service.py --space DIR --workers 2 --seconds 20``

The space has the offline default's encoder of text, 100,000 items in two domains with vectors of
its length (given with the items: nothing is encoded to build it), and a trained recommender; with
``--untrained``, recommendations are by content alone. With ``--vectors`` the vectors are those of
real texts (see real_vectors.py), for which the planner finds a fast index; else they lie around
2,000 centres, so far apart that it does not. Another space that is there already is measured, too:
users are those of its interactions. ``isthmus serve`` and this program run on one machine; the load
comes from connections that each send the next request when the answer is there. The program then
repeats each kind at half the rate that it reached, with evenly spaced requests, for p50 and p99.
The load average of the machine is printed beside the figures, since other jobs may run there.

``--overload SECONDS`` sends, for each kind, requests at twice the rate of the closed loop for so
long, and prints how many were answered with which status, the memory of the service each few
seconds, and after how many seconds a closed loop is at nine tenths of its former rate again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common.http_load import closed_loop, free_port, load, memory_of, messages_of, total_mb
from real_vectors import real_vectors

from isthmus.data.interactions.store import InteractionStore

DOMAINS = ("left", "right")
DIM = 384
CENTRES = 2_000
USERS = 20_000
ITEMS_A_USER = 16
K = 10
WORDS = ["ship", "storm", "old", "boots", "red", "trees", "quiet", "lakes", "night", "paint"]
OVERLOAD_CONNECTIONS = 400
AFTER_S = 10.0
BODIES = 512  # different requests of a kind


def vectors_of(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return unit vectors around centres, shape (rows, dim)."""
    centres = rng.standard_normal((CENTRES, DIM)).astype(np.float32)
    noise = rng.standard_normal((rows, DIM)).astype(np.float32)
    vectors = centres[rng.integers(CENTRES, size=rows)] + 0.7 * noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def build(path: Path, rows: int, folder: Path | None, train: bool) -> None:
    """Build, train and publish the space."""
    from isthmus import Space
    from isthmus.retrieval.ranker.settings import ExampleSettings, TrainingSettings
    from isthmus.retrieval.recommend.settings import RecommenderSettings

    rng = np.random.default_rng(0)
    vectors = vectors_of(rows, rng) if folder is None else np.array(real_vectors(rows, folder))
    space = Space.create(path, "local", vectors={"text": DIM})
    for start in range(0, rows, 25_000):
        part = range(start, min(start + 25_000, rows))
        table = pa.table(
            {
                "item_id": [f"item-{row}" for row in part],
                "domain": [DOMAINS[row % 2] for row in part],
                "price": [float(row % 100) for row in part],
            }
        )
        space.upsert(table, vectors={"text": vectors[part.start : part.stop]})
    chosen = rng.zipf(1.3, USERS * ITEMS_A_USER) % rows
    near = rng.integers(rows, size=(USERS, 1)) + rng.integers(200, size=(USERS, ITEMS_A_USER))
    pick = rng.random(near.shape) < 0.5
    items = np.where(pick, near % rows, chosen.reshape(near.shape)).ravel()
    owners = np.repeat(np.arange(USERS), ITEMS_A_USER)
    space.add_interactions(
        pa.table(
            {
                "user_id": [f"user-{owner}" for owner in owners],
                "item_id": [f"item-{item}" for item in items],
            }
        )
    )
    settings = RecommenderSettings(
        examples=ExampleSettings(folds=1, users=1_000), training=TrainingSettings(epochs=2)
    )
    if train:
        space.train("right", settings=settings, progress=True)
    space.publish(progress=True)


def requests_of(kind: str, options: argparse.Namespace) -> tuple[str, list[bytes]]:
    """Return the path and the bodies of a kind of request."""
    rng = np.random.default_rng(1)
    if kind == "vector":
        vectors = vectors_of(BODIES, rng)
        if options.vectors is not None:  # texts that are not in the space
            vectors = np.array(real_vectors(options.rows + BODIES, options.vectors)[-BODIES:])
        return "/v1/search", [json.dumps({"vector": v.tolist(), "k": K}).encode() for v in vectors]
    if kind == "text":
        texts = [" ".join(rng.choice(WORDS, 6)) + f" {at}" for at in range(BODIES)]
        return "/v1/search", [json.dumps({"text": text, "k": K}).encode() for text in texts]
    users = rng.choice(InteractionStore(options.space).table("user_id").column(0).unique(), BODIES)
    bodies = [{"user": {"id": str(u)}, "domain": [options.domain], "k": K} for u in users]
    return "/v1/recommend", [json.dumps(body).encode() for body in bodies]


def measure(service: int, port: int, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a kind of request."""
    messages = messages_of(*requests_of(kind, options))
    return {
        "kind": kind,
        **closed_loop(service, port, messages, options.connections, options.seconds),
    }


def overload(
    service: int, port: int, kind: str, options: argparse.Namespace, seconds: float
) -> dict[str, Any]:
    """Send requests at twice the rate of the closed loop; return what became of them."""
    messages, connections = messages_of(*requests_of(kind, options)), options.connections
    asyncio.run(load(port, messages, connections, 5.0, None))  # warm
    latencies, _ = asyncio.run(load(port, messages, connections, 10.0, None))
    sustainable = len(latencies) / 10.0
    statuses: Counter[int] = Counter()
    memory = [total_mb(service)]
    part = min(seconds, max(seconds / 20, 5.0))
    late: list[float] = []
    started = time.perf_counter()
    for _ in range(max(1, round(seconds / part))):
        late += asyncio.run(
            load(port, messages, OVERLOAD_CONNECTIONS, part, 2 * sustainable, statuses)
        )[0]
        memory.append(total_mb(service))
    elapsed = time.perf_counter() - started
    after: Counter[int] = Counter()
    asyncio.run(load(port, messages, connections, AFTER_S, None, each_second=after))
    full = [at for at in range(int(AFTER_S)) if after[at] >= 0.9 * sustainable]
    return {
        "overload": kind,
        "seconds": round(elapsed, 1),
        "sustainable_s": round(sustainable, 1),
        "offered_s": round(2 * sustainable, 1),
        "answered_s": round(sum(statuses.values()) / elapsed, 1),
        "statuses": dict(sorted(statuses.items())),
        "p99_ms": round(float(np.quantile(late, 0.99)) * 1e3, 1),
        "memory_mb": memory,
        "each_second_after": [after[at] for at in range(int(AFTER_S))],
        "full_speed_in_s": full[0] + 1 if full else None,
        "load_average": round(os.getloadavg()[0], 2),
    }


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service answers."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the service ended")


def main() -> None:
    """Measure, and print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", type=Path, required=True, help="built if it is not there")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--vectors", type=Path, help="vectors of texts, see real_vectors.py")
    parser.add_argument("--untrained", action="store_true", help="build it without a recommender")
    parser.add_argument("--domain", default="right", help="what is recommended from")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kinds", nargs="+", default=["vector", "text", "recommend"])
    parser.add_argument("--overload", type=float, help="seconds at twice the rate, of each kind")
    options = parser.parse_args()
    if not options.space.exists():
        building: Callable[..., Any] = multiprocessing.get_context("spawn").Process
        arguments = (options.space, options.rows, options.vectors, not options.untrained)
        process = building(target=build, args=arguments)
        process.start()
        process.join()
    port = free_port()
    command = [sys.executable, "-m", "isthmus", "serve", str(options.space)]
    command += ["--port", str(port), "--workers", str(options.workers)]
    service = subprocess.Popen(command)
    try:
        wait_for(port, service)
        for kind in options.kinds:
            if options.overload is None:
                figures = measure(service.pid, port, kind, options)
            else:
                figures = overload(service.pid, port, kind, options, options.overload)
            print(json.dumps(figures), flush=True)
        print(json.dumps({"memory": memory_of(service.pid)}), flush=True)
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main()

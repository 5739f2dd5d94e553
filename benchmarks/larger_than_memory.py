"""A space larger than memory: what it takes to fill, publish and search it.

``python benchmarks/larger_than_memory.py --vectors vectors --rows 5000000``

Every vector is made from its row number alone: a mixture of two real vectors plus noise, at unit
norm, seeded. So nothing of size is held but what Isthmus itself holds; exact answers are found by
making the vectors again, a piece at a time. Disk: about 6 KB a row of 384 dimensions.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common.data import DIM, PIECE, SAME_SCORE, Floats, Integers
from common.process import CORES, PeakMemory, memory_mib, settled_mib, use_cores
from common.standin import RowEncoder, write_items
from common.tables import print_heading, write_json

from isthmus import Space

K, SEED = 10, 0
SOURCES, NOISES, NOISE = 50_000, 4_096, 0.35
OUT = Path(tempfile.gettempdir()) / "larger_than_memory.json"


class Mixtures:
    """Vectors made from row numbers.

    Parameters
    ----------
    sources : numpy.ndarray
        Real unit vectors, shape (n, dim).
    """

    def __init__(self, sources: Floats) -> None:
        self._sources = sources
        rng = np.random.default_rng(SEED)
        self._noise = rng.standard_normal((NOISES, sources.shape[1]), np.float32)
        self._noise *= NOISE / np.linalg.norm(self._noise, axis=1, keepdims=True)

    def __call__(self, rows: Integers) -> Floats:
        """Return unit vectors, shape (n, dim); the same row has the same vector each time."""
        bits = [_scrambled(rows, salt) for salt in range(4)]
        first, second = (self._sources[b % np.uint64(len(self._sources))] for b in bits[:2])
        share = (bits[2] % np.uint64(1_000)).astype(np.float32)[:, None] / 2_000 + 0.5
        vectors = share * first + (1 - share) * second
        vectors += self._noise[bits[3] % np.uint64(NOISES)]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _scrambled(rows: Integers, salt: int) -> Any:
    """Turn row numbers into random-looking bits (the finalizer of splitmix64)."""
    bits = rows.astype(np.uint64) * np.uint64(4) + np.uint64(salt + 1)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def worst_wanted(make: Mixtures, rows: int, queries: Floats) -> Floats:
    """Return the exact score of the K-th best row for each query, making the rows again."""
    best = np.full((len(queries), K), -np.inf, np.float32)
    for start in range(0, rows, PIECE):
        made = make(np.arange(start, min(start + PIECE, rows)))
        scores = np.concatenate([best, queries @ made.T], axis=1)
        best = -np.partition(-scores, K - 1, axis=1)[:, :K]
    return best.min(axis=1)


def found_recall(make: Mixtures, item_ids: Any, queries: Floats, worst: Floats) -> float:
    """Return the share of the exact best that was found; ties count."""
    rows = np.array([[int(name) for name in line] for line in item_ids], np.int64)
    vectors = make(rows.ravel()).reshape(*rows.shape, -1)
    scores = np.einsum("qkd,qd->qk", vectors, queries)
    return float((scores >= worst[:, None] - SAME_SCORE).mean())


def step(name: str, work: Callable[[], Any], steps: dict[str, Any]) -> Any:
    """Do something, and print its seconds and the peaks of memory while it ran."""
    start = time.perf_counter()
    with PeakMemory() as memory:
        said = work()
    seconds = time.perf_counter() - start
    peaks = memory.peaks
    steps[name] = {"seconds": seconds, "peaks_mib": peaks}
    print(
        f"{name:<28}{seconds:>9.1f} s   peak anonymous {peaks['RssAnon']:>7,.0f} MiB"
        f"   peak resident {peaks['VmRSS']:>7,.0f} MiB",
        flush=True,
    )
    return said


def latencies(space: Space, queries: Floats, repeats: int) -> dict[str, float]:
    """Return p50 and p99 of single queries in ms, and queries a second of a batch."""
    singles, batches = [], []
    for _ in range(repeats):
        for query in queries:
            start = time.perf_counter()
            space.search(vector=query, k=K)
            singles.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
        space.search_batch(queries, k=K)
        batches.append(len(queries) / (time.perf_counter() - start))
    p50, p99 = np.percentile(singles, [50, 99])
    return {"p50_ms": p50, "p99_ms": p99, "batch_qps": statistics.median(batches)}


def run(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Fill, publish, open and search; give everything measured."""
    sources = np.memmap(given.vectors / "minilm.f32", np.float32, "r")
    sources = sources[: len(sources) // DIM * DIM].reshape(-1, DIM)[:SOURCES]
    make = Mixtures(np.array(sources))
    del sources
    queries = make(np.arange(given.rows, given.rows + given.queries))
    encoder = {"text": RowEncoder(DIM, make)}
    steps: dict[str, Any] = {}
    before = memory_mib()
    print(f"before: anonymous {before['RssAnon']:,.0f}, resident {before['VmRSS']:,.0f} MiB")
    if given.filled:
        space = Space.open(folder / "large.space", encoder=encoder)
    else:
        mapping = write_items(folder / "items.parquet", range(given.rows))
        space = Space.create(folder / "large.space", encoder)
        step("fill", lambda: space.upsert(folder / "items.parquet", **mapping), steps)
        settled_mib()
    targets = {"recall": given.recall, "memory": given.memory}
    manifest = step("publish", lambda: space.publish(**targets), steps)
    settled_mib()
    faiss.omp_set_num_threads(given.threads)
    use_cores(given.threads)
    space = Space.open(folder / "large.space")
    step("open and first search", lambda: space.search(vector=queries[0], k=K), steps)
    found = step("a batch, cold", lambda: space.search_batch(queries, k=K), steps)
    times = step("searches", lambda: latencies(space, queries, given.repeats), steps)
    faiss.omp_set_num_threads(len(CORES))
    use_cores(len(CORES))
    worst = step("(exact answers)", lambda: worst_wanted(make, given.rows, queries), steps)
    recall = found_recall(make, found.item_ids, queries, worst)
    disk = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return {
        "recipe": manifest.named_vectors["text"].recipe,
        "promised": manifest.worst_recall,
        "recall": recall,
        **times,
        "disk_mib": disk / 2**20,
        "peak_resident_mib": memory_mib()["VmHWM"],
        "steps": steps,
    }


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="see real_vectors.py")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--queries", type=int, default=200, help="of rows beyond the last one")
    parser.add_argument("--threads", type=int, default=1, help="of a search")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--memory", default="4GiB", help="of the index, at most")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one by default")
    parser.add_argument("--filled", type=Path, help="the folder of a run that was cut off")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    folder = given.filled or Path(tempfile.mkdtemp(dir=given.folder))
    print_heading(
        f"{given.rows:,} mixtures of MiniLM vectors ({given.rows * DIM * 4 / 2**20:,.0f} MiB as "
        f"float32), {given.queries} queries, k={K}; seed {SEED}; search on {given.threads} "
        f"thread(s) and core(s), the rest on {len(CORES)}",
        ("numpy", "faiss-gpu", "faiss-cpu", "pylance"),
    )
    try:
        measured = run(folder, given)
    finally:
        shutil.rmtree(folder)
    print(f"index: {measured['recipe']}; measured when published: {measured['promised']:.4f}")
    print(
        f"recall@{K} {measured['recall']:.4f}; single p50 {measured['p50_ms']:.2f} ms, p99 "
        f"{measured['p99_ms']:.2f} ms; batch {measured['batch_qps']:,.0f} queries/s"
    )
    print(
        f"disk {measured['disk_mib']:,.0f} MiB; most resident memory of the process, with mapped "
        f"files: {measured['peak_resident_mib']:,.0f} MiB"
    )
    write_json(given.out, {"given": vars(given), "seed": SEED, **measured})


if __name__ == "__main__":
    main()

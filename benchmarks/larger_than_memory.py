"""A space larger than memory: time and memory to fill, publish and search it.

``python benchmarks/larger_than_memory.py --vectors vectors --rows 5000000``

Every vector is computed from its row number: a seeded mixture of two real vectors plus noise, of
unit norm. So Isthmus alone determines the memory; exact results are computed by generating the
vectors again in chunks. Disk: about 6 KB per row of 384 dimensions.
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
from common.data import CHUNK_ROWS, DIM, SCORE_TOLERANCE, Floats, Integers
from common.process import CORES, PeakMemory, memory_mib, settled_mib, use_cores
from common.standin import RowEncoder, write_items
from common.tables import print_heading, write_json

from isthmus import Space

K, SEED = 10, 0
SOURCES, NOISES, NOISE = 50_000, 4_096, 0.35
OUT = Path(tempfile.gettempdir()) / "larger_than_memory.json"


class Mixtures:
    """Synthetic vectors, each computed from its row number.

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


def kth_best_scores(vectors_of: Mixtures, rows: int, queries: Floats) -> Floats:
    """Return the exact score of the K-th best row for each query, shape (n_queries,)."""
    top_scores = np.full((len(queries), K), -np.inf, np.float32)
    for start in range(0, rows, CHUNK_ROWS):
        vectors = vectors_of(np.arange(start, min(start + CHUNK_ROWS, rows)))
        scores = np.concatenate([top_scores, queries @ vectors.T], axis=1)
        top_scores = -np.partition(-scores, K - 1, axis=1)[:, :K]
    return top_scores.min(axis=1)


def recall_of(vectors_of: Mixtures, item_ids: Any, queries: Floats, kth_scores: Floats) -> float:
    """Return recall@K against exact search; rows that tie with the K-th count as hits."""
    rows = np.array([[int(name) for name in row_ids] for row_ids in item_ids], np.int64)
    vectors = vectors_of(rows.ravel()).reshape(*rows.shape, -1)
    scores = np.einsum("qkd,qd->qk", vectors, queries)
    return float((scores >= kth_scores[:, None] - SCORE_TOLERANCE).mean())


def step(name: str, work: Callable[[], Any], steps: dict[str, Any]) -> Any:
    """Run a step; record and print its seconds and its peaks of memory."""
    start = time.perf_counter()
    with PeakMemory() as memory:
        result = work()
    seconds = time.perf_counter() - start
    peaks = memory.peaks
    steps[name] = {"seconds": seconds, "peaks_mib": peaks}
    print(
        f"{name:<28}{seconds:>9.1f} s   peak anonymous {peaks['RssAnon']:>7,.0f} MiB"
        f"   peak resident {peaks['VmRSS']:>7,.0f} MiB",
        flush=True,
    )
    return result


def latencies(space: Space, queries: Floats, repeats: int) -> dict[str, float]:
    """Return p50 and p99 of single queries in ms, and queries per second of a batch."""
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


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill, publish, open and search a space; return all figures."""
    sources = np.memmap(arguments.vectors / "minilm.f32", np.float32, "r")
    sources = sources[: len(sources) // DIM * DIM].reshape(-1, DIM)[:SOURCES]
    vectors_of = Mixtures(np.array(sources))
    del sources
    queries = vectors_of(np.arange(arguments.rows, arguments.rows + arguments.queries))
    encoder = {"text": RowEncoder(DIM, vectors_of)}
    steps: dict[str, Any] = {}
    before = memory_mib()
    print(f"before: anonymous {before['RssAnon']:,.0f}, resident {before['VmRSS']:,.0f} MiB")
    if arguments.filled:
        space = Space.open(folder / "large.space", encoder=encoder)
    else:
        mapping = write_items(folder / "items.parquet", range(arguments.rows))
        space = Space.create(folder / "large.space", encoder)
        step("fill", lambda: space.upsert(folder / "items.parquet", **mapping), steps)
        settled_mib()
    targets = {"recall": arguments.recall, "memory": arguments.memory}
    manifest = step("publish", lambda: space.publish(**targets), steps)
    settled_mib()
    faiss.omp_set_num_threads(arguments.threads)
    use_cores(arguments.threads)
    space = Space.open(folder / "large.space")
    step("open and first search", lambda: space.search(vector=queries[0], k=K), steps)
    results = step("a batch, cold", lambda: space.search_batch(queries, k=K), steps)
    times = step("searches", lambda: latencies(space, queries, arguments.repeats), steps)
    faiss.omp_set_num_threads(len(CORES))
    use_cores(len(CORES))
    kth_scores = step(
        "(exact answers)", lambda: kth_best_scores(vectors_of, arguments.rows, queries), steps
    )
    recall = recall_of(vectors_of, results.item_ids, queries, kth_scores)
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
    """Run in a temporary folder, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="see real_vectors.py")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument(
        "--queries", type=int, default=200, help="made from row numbers beyond --rows"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a search")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--memory", default="4GiB", help="memory limit of the index")
    parser.add_argument(
        "--folder", type=Path, help="parent of the working folder; default: temporary"
    )
    parser.add_argument("--filled", type=Path, help="folder of an interrupted run")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    folder = arguments.filled or Path(tempfile.mkdtemp(dir=arguments.folder))
    print_heading(
        f"{arguments.rows:,} mixtures of MiniLM vectors "
        f"({arguments.rows * DIM * 4 / 2**20:,.0f} MiB as float32), {arguments.queries} queries, "
        f"k={K}; seed {SEED}; search on {arguments.threads} thread(s) and "
        f"core(s), the rest on {len(CORES)}",
        ("numpy", "faiss-gpu", "faiss-cpu", "pylance"),
    )
    try:
        measured = run(folder, arguments)
    finally:
        shutil.rmtree(folder)
    print(f"index: {measured['recipe']}; measured when published: {measured['promised']:.4f}")
    print(
        f"recall@{K} {measured['recall']:.4f}; single p50 {measured['p50_ms']:.2f} ms, p99 "
        f"{measured['p99_ms']:.2f} ms; batch {measured['batch_qps']:,.0f} queries/s"
    )
    print(
        f"disk {measured['disk_mib']:,.0f} MiB; peak resident memory of the process, with mapped "
        f"files: {measured['peak_resident_mib']:,.0f} MiB"
    )
    write_json(arguments.out, {"given": vars(arguments), "seed": SEED, **measured})


if __name__ == "__main__":
    main()

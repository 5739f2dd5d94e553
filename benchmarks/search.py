"""Search beside other libraries: the same vectors, the same held-out queries, one thread.

``python benchmarks/search.py --vectors vectors --rows 100000``

Each peer, in a process of its own, takes settings from cheap to thorough until it finds 95 % of
the exact ten best; the cheapest setting that does is timed, the peers taking turns. Peers of two
parameters try one list of settings a value of the second, and the fastest of the lists counts.
A search is held to one core, whatever pools a library has. Ratios are to the best of the others.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common.arguments import search_arguments
from common.data import SEED, Data, Floats, read_data, recall, worst_wanted, write_data
from common.process import CORES
from common.tables import print_heading, print_table, write_json
from common.worker import CLOCKS, PeerFailed, Remote, start_workers
from peers import PACKAGES, PEERS

K = 10
ANSWER_S, SWEEP_S, BATCH_S, SINGLE_S = 20.0, 0.5, 2.0, 2.0
OUT = Path(tempfile.gettempdir()) / "search.json"
HEADS = (
    "peer", "setting", "recall@10", "batch q/s", "x best", "p50 ms", "x best", "p99 ms",
    "bytes/vector", "RSS/vector", "build s",
)  # fmt: skip

Curve = list[dict[str, Any]]


def sweep(worker: Remote, data: Data, worst: Floats, target: float) -> Curve:
    """Try settings until the target is reached, list by list, and give the curve."""
    curve: Curve = []
    for grid in worker.call("grids", len(data.base)):
        for parameters in grid:
            try:
                tuned = worker.call("tune", parameters)
                found = worker.call("answers", K, ANSWER_S)
            except PeerFailed as error:
                print(f"  {parameters}: {str(error).strip().splitlines()[-1]}", flush=True)
                continue
            reached = recall(data.base, data.queries, found, worst)
            rate = worker.call("batch", K, SWEEP_S)
            curve.append(
                {
                    "parameters": parameters,
                    "recall": reached,
                    "batch_qps": rate,
                    "queries": len(found),
                    "tune_s": tuned,
                }
            )
            if reached >= target:
                break
    return curve


def choose(curve: Curve, target: float) -> dict[str, Any]:
    """Return the fastest setting that reached the target, else the one with the best recall."""
    good = [point for point in curve if point["recall"] >= target]
    if good:
        return max(good, key=lambda point: point["batch_qps"])
    return max(curve, key=lambda point: point["recall"])


def take_turns(workers: dict[str, Remote], repeats: int) -> dict[str, dict[str, Any]]:
    """Time every peer in every round."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    singles: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(repeats):
        for name, worker in workers.items():
            rates[name].append(worker.call("batch", K, BATCH_S))
            singles[name] += worker.call("singles", K, SINGLE_S)
    return {
        name: {
            "batch_qps": statistics.median(rates[name]),
            "batch_qps_all": rates[name],
            "p50_ms": float(np.percentile(singles[name], 50)) * 1e3,
            "p99_ms": float(np.percentile(singles[name], 99)) * 1e3,
        }
        for name in workers
    }


def compare(
    workers: dict[str, Remote], data: Data, repeats: int, target: float
) -> dict[str, dict[str, Any]]:
    """Find each peer's setting, and time them all."""
    worst = worst_wanted(data.base, data.queries, K)
    measured: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        start = time.perf_counter()
        curve = sweep(worker, data, worst, target)
        if not curve:
            print(f"{name}: skipped, no setting works", flush=True)
            continue
        chosen = settle(worker, curve, target)
        measured[name] = {
            **worker.call("describe"),
            "curve": curve,
            "chosen": chosen,
            "build_s": worker.built_s + chosen["tune_s"],
        }
        print(f"{name}: {len(curve)} settings in {time.perf_counter() - start:.0f} s", flush=True)
    working = {name: workers[name] for name in measured}
    for name, times in take_turns(working, repeats).items():
        measured[name] |= times | worker_memory(workers[name], len(data.base))
    return measured


def settle(worker: Remote, curve: Curve, target: float) -> dict[str, Any]:
    """Put a peer at the setting it is compared with, and give that point of the curve."""
    chosen = choose(curve, target)
    worker.call("tune", chosen["parameters"])
    worker.call("answers", K, ANSWER_S)
    return chosen


def worker_memory(worker: Remote, rows: int) -> dict[str, float]:
    """Return bytes a vector of a peer."""
    return {f"{k}_per_vector": v for k, v in worker.call("memory", rows).items()}


def print_peers(measured: dict[str, dict[str, Any]], target: float) -> None:
    """Print the table; a star marks a peer that missed the target."""
    good = {n: m for n, m in measured.items() if m["chosen"]["recall"] >= target}
    others = {n: m for n, m in good.items() if n != "isthmus"} or good or measured
    rate = max(m["batch_qps"] for m in others.values())
    p50 = min(m["p50_ms"] for m in others.values())
    rows = []
    for name, m in sorted(measured.items(), key=lambda entry: -entry[1]["batch_qps"]):
        chosen = m["chosen"]
        rows.append(
            (
                name if name in good else f"{name} *",
                str(chosen["parameters"]),
                f"{chosen['recall']:.4f}",
                f"{m['batch_qps']:,.0f}",
                f"{m['batch_qps'] / rate:.2f}",
                f"{m['p50_ms']:.3f}",
                f"{m['p50_ms'] / p50:.2f}",
                f"{m['p99_ms']:.3f}",
                f"{m['bytes_per_vector']:,.0f}",
                f"{m['rss_per_vector']:,.0f}",
                f"{m['build_s']:.1f}",
            )
        )
    print_table(HEADS, rows)
    if len(good) < len(measured):
        print(f"* did not reach {target} with any setting")
    for name, m in measured.items():
        print(f"{name}: {m['settings']}; bytes/vector: {m['measured']}")


def print_overhead(
    worker: Remote, queries: Path, repeats: int, clock: str
) -> dict[str, Any] | None:
    """Print what our calls cost over FAISS's own on the same index."""
    print(f"isthmus's index: {worker.call('ask', 'recipe')}")
    try:
        seconds = worker.call("ask", "overhead", queries, K, repeats, CLOCKS[clock])
    except PeerFailed as error:
        print(f"no raw FAISS call to compare with: {str(error).strip().splitlines()[-1]}")
        return None
    if seconds is None:
        print("exact search, without an index: no raw FAISS call to compare with")
        return None
    medians = {name: statistics.median(values) * 1e3 for name, values in seconds.items()}
    rows = []
    for what, name in (("search_batch", "batch"), ("search(vector=)", "single")):
        ours, raw = medians[name], medians[f"raw {name}"]
        rows.append(
            (what, f"{ours:.3f}", f"{raw:.3f}", f"{ours - raw:+.3f}", f"{ours / raw - 1:+.1%}")
        )
    print_table(("isthmus beside its own FAISS index", "ms", "raw ms", "more", "%"), rows)
    return medians


def main() -> None:
    """Compare."""
    parser = search_arguments(__doc__, OUT, repeats=7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    given = parser.parse_args()
    build_threads = min(2, len(CORES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(given.vectors, folder, given.rows, given.queries)
        data = read_data(folder)
        workers = start_workers(
            given.peers, folder, folder / "peers", given.threads, build_threads, given.clock
        )
        measured = compare(workers, data, given.repeats, given.recall)
        print_heading(
            f"{given.rows:,} MiniLM vectors, {given.queries:,} held-out queries, k={K}; "
            f"seed {SEED}; search on {given.threads} thread(s) and core(s), build on "
            f"{build_threads}; medians of {given.repeats} rounds in turn, {given.clock} time",
            PACKAGES,
        )
        print_peers(measured, given.recall)
        overhead = None
        if "isthmus" in workers:
            overhead = print_overhead(
                workers["isthmus"], folder / "queries.npy", given.repeats, given.clock
            )
        for worker in workers.values():
            worker.close()
    write_json(
        given.out,
        {"given": vars(given), "seed": SEED, "peers": measured, "overhead_ms": overhead},
    )


if __name__ == "__main__":
    main()

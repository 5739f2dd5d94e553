"""Search compared with other libraries: the same vectors and held-out queries, one thread.

``python benchmarks/search.py --vectors vectors --rows 100000``

Each peer runs in a separate process. It tries settings from the cheapest to the most thorough until
recall@10 reaches 95 %; the cheapest sufficient setting is timed, the peers taking turns. Peers with
two parameters try one list of settings for each value of the second, and the fastest list counts.
A search is pinned to one core, whatever thread pools a library has. Ratios are to the best other
peer.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common.arguments import search_arguments
from common.data import SEED, Data, Floats, kth_best_scores, read_data, recall, write_data
from common.process import CORES
from common.tables import print_heading, print_table, write_json
from common.worker import CLOCKS, PeerFailed, Remote, start_workers
from peers import PACKAGES, PEERS

K = 10
ANSWER_S, SWEEP_S, BATCH_S, SINGLE_S = 20.0, 0.5, 2.0, 2.0
OUT = Path(tempfile.gettempdir()) / "search.json"
HEADERS = (
    "peer", "setting", "recall@10", "batch q/s", "x best", "p50 ms", "x best", "p99 ms",
    "bytes/vector", "RSS/vector", "build s",
)  # fmt: skip

Curve = list[dict[str, Any]]


def sweep(worker: Remote, data: Data, kth_scores: Floats, target: float) -> Curve:
    """Try the settings of each list until one reaches the target recall; return all points."""
    curve: Curve = []
    for grid in worker.call("grids", len(data.base)):
        for parameters in grid:
            try:
                tune_seconds = worker.call("tune", parameters)
                retrieved = worker.call("answers", K, ANSWER_S)
            except PeerFailed as error:
                print(f"  {parameters}: {str(error).strip().splitlines()[-1]}", flush=True)
                continue
            measured_recall = recall(data.base, data.queries, retrieved, kth_scores)
            rate = worker.call("batch", K, SWEEP_S)
            curve.append(
                {
                    "parameters": parameters,
                    "recall": measured_recall,
                    "batch_qps": rate,
                    "queries": len(retrieved),
                    "tune_s": tune_seconds,
                }
            )
            if measured_recall >= target:
                break
    return curve


def best_setting(curve: Curve, target: float) -> dict[str, Any]:
    """Return the fastest point that reaches the target, else the one with the best recall."""
    sufficient = [point for point in curve if point["recall"] >= target]
    if sufficient:
        return max(sufficient, key=lambda point: point["batch_qps"])
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
    """Select the setting of each peer, and time all peers."""
    kth_scores = kth_best_scores(data.base, data.queries, K)
    measured: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        start = time.perf_counter()
        curve = sweep(worker, data, kth_scores, target)
        if not curve:
            print(f"{name}: skipped, no setting works", flush=True)
            continue
        chosen = select_setting(worker, curve, target)
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


def select_setting(worker: Remote, curve: Curve, target: float) -> dict[str, Any]:
    """Apply the best setting to a peer, and return its point of the curve."""
    chosen = best_setting(curve, target)
    worker.call("tune", chosen["parameters"])
    worker.call("answers", K, ANSWER_S)
    return chosen


def worker_memory(worker: Remote, rows: int) -> dict[str, float]:
    """Return the bytes per vector of a peer."""
    return {f"{k}_per_vector": v for k, v in worker.call("memory", rows).items()}


def print_peers(measured: dict[str, dict[str, Any]], target: float) -> None:
    """Print the table; a star marks peers that miss the target recall."""
    sufficient = {
        peer: figures for peer, figures in measured.items() if figures["chosen"]["recall"] >= target
    }
    other_peers = (
        {peer: figures for peer, figures in sufficient.items() if peer != "isthmus"}
        or sufficient
        or measured
    )
    rate = max(figures["batch_qps"] for figures in other_peers.values())
    p50 = min(figures["p50_ms"] for figures in other_peers.values())
    rows = []
    for name, figures in sorted(measured.items(), key=lambda entry: -entry[1]["batch_qps"]):
        chosen = figures["chosen"]
        rows.append(
            (
                name if name in sufficient else f"{name} *",
                str(chosen["parameters"]),
                f"{chosen['recall']:.4f}",
                f"{figures['batch_qps']:,.0f}",
                f"{figures['batch_qps'] / rate:.2f}",
                f"{figures['p50_ms']:.3f}",
                f"{figures['p50_ms'] / p50:.2f}",
                f"{figures['p99_ms']:.3f}",
                f"{figures['bytes_per_vector']:,.0f}",
                f"{figures['rss_per_vector']:,.0f}",
                f"{figures['build_s']:.1f}",
            )
        )
    print_table(HEADERS, rows)
    if len(sufficient) < len(measured):
        print(f"* did not reach {target} with any setting")
    for name, figures in measured.items():
        print(f"{name}: {figures['settings']}; bytes/vector: {figures['measured']}")


def print_overhead(
    worker: Remote, queries: Path, repeats: int, clock: str
) -> dict[str, Any] | None:
    """Print the overhead of Isthmus over direct FAISS calls on the same index."""
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
    for method, name in (("search_batch", "batch"), ("search(vector=)", "single")):
        ours, raw = medians[name], medians[f"raw {name}"]
        rows.append(
            (method, f"{ours:.3f}", f"{raw:.3f}", f"{ours - raw:+.3f}", f"{ours / raw - 1:+.1%}")
        )
    print_table(("call", "isthmus ms", "FAISS ms", "overhead ms", "overhead"), rows)
    return medians


def main() -> None:
    """Compare the peers, and print the tables."""
    parser = search_arguments(__doc__, OUT, repeats=7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    arguments = parser.parse_args()
    build_threads = min(2, len(CORES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(arguments.vectors, folder, arguments.rows, arguments.queries)
        data = read_data(folder)
        workers = start_workers(
            arguments.peers,
            folder,
            folder / "peers",
            arguments.threads,
            build_threads,
            arguments.clock,
        )
        measured = compare(workers, data, arguments.repeats, arguments.recall)
        print_heading(
            f"{arguments.rows:,} MiniLM vectors, {arguments.queries:,} held-out queries, k={K}; "
            f"seed {SEED}; search on {arguments.threads} thread(s) and core(s), build on "
            f"{build_threads}; medians of {arguments.repeats} rounds in turn, {arguments.clock} "
            "time",
            PACKAGES,
        )
        print_peers(measured, arguments.recall)
        overhead = None
        if "isthmus" in workers:
            overhead = print_overhead(
                workers["isthmus"], folder / "queries.npy", arguments.repeats, arguments.clock
            )
        for worker in workers.values():
            worker.close()
    write_json(
        arguments.out,
        {"given": vars(arguments), "seed": SEED, "peers": measured, "overhead_ms": overhead},
    )


if __name__ == "__main__":
    main()

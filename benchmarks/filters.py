"""Filtered search beside other engines: recall and speed, with filters near and far from queries.

``python benchmarks/filters.py --vectors vectors --rows 100000``

Filters keep 50 %, 10 %, 1 % and 0.1 % of the rows: at random; near the queries (the rows closest
to one row, the pivot, for the queries closest to it); and far from them (the same rows, for the
queries least like the pivot). A peer keeps the setting with which it found 95 % without a filter,
as a user would. Ratios are to the best of the others whose recall reaches the target.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common.arguments import search_arguments
from common.data import (
    SEED,
    Data,
    Floats,
    Integers,
    Kept,
    pivot,
    read_data,
    recall,
    worst_wanted,
    write_data,
)
from common.process import CORES
from common.tables import print_heading, print_table, write_json
from common.worker import PeerFailed, Remote, start_workers
from peers import PACKAGES
from search import settle, sweep

K = 10
ANSWER_S, BATCH_S, SINGLE_S = 10.0, 1.0, 1.0
SHARES = (0.5, 0.1, 0.01, 0.001)
FILTERING = ("isthmus", "hnswlib", "lancedb", "qdrant", "chroma")
OUT = Path(tempfile.gettempdir()) / "filters.json"
HEADS = (
    "kept",
    "rows are",
    "peer",
    "recall@10",
    "batch q/s",
    "x best",
    "p50 ms",
    "x best",
    "queries",
)


def cases(data: Data, count: int) -> list[tuple[str, float, Kept, Integers]]:
    """Return (where the rows are, share, filter, queries) of every case."""
    by_pivot = np.argsort(-(data.queries @ pivot(data.base)), kind="stable")
    some = np.arange(min(count, len(data.queries)))
    kinds = {
        "random": ("shuffled", some),
        "near": ("near", by_pivot[:count]),
        "far": ("near", by_pivot[-count:]),
    }
    return [
        (kind, share, Kept(attribute, max(1, int(share * len(data.base)))), queries)
        for kind, (attribute, queries) in kinds.items()
        for share in SHARES
    ]


def tune(workers: dict[str, Remote], data: Data, target: float) -> dict[str, Any]:
    """Return each peer the setting that reaches the target without a filter."""
    worst = worst_wanted(data.base, data.queries, K)
    chosen = {}
    for name, worker in workers.items():
        chosen[name] = settle(worker, sweep(worker, data, worst, target), target)
        said = chosen[name]
        print(f"{name}: {said['parameters']}, unfiltered recall {said['recall']:.4f}", flush=True)
    return chosen


def measure(
    workers: dict[str, Remote], data: Data, kept: Kept, queries: Integers, repeats: int
) -> dict[str, dict[str, Any]]:
    """Measure one case, the peers taking turns."""
    mask, asked = data.mask(kept), data.queries[queries]
    worst = worst_wanted(data.base, asked, K, mask)
    found = answer(workers, queries, kept)
    working = {name: workers[name] for name in found}
    rates: dict[str, list[float]] = {name: [] for name in found}
    singles: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, worker in working.items():
            rates[name].append(worker.call("batch", K, BATCH_S, kept))
            singles[name] += worker.call("singles", K, SINGLE_S, kept)
    return {
        name: {
            "recall": recall(data.base, asked, rows, worst, mask),
            "batch_qps": statistics.median(rates[name]),
            "p50_ms": statistics.median(singles[name]) * 1e3,
            "queries": len(rows),
        }
        for name, rows in found.items()
    }


def answer(workers: dict[str, Remote], queries: Floats, kept: Kept) -> dict[str, Integers]:
    """Return what each peer finds; one that fails is left out."""
    found = {}
    for name, worker in workers.items():
        worker.call("choose", queries)
        try:
            found[name] = worker.call("answers", K, ANSWER_S, kept)
        except PeerFailed as error:
            print(f"{name}, {kept.sql}: {str(error).strip().splitlines()[-1]}", flush=True)
    return found


def lines(kind: str, share: float, case: dict[str, dict[str, Any]], target: float) -> list[Any]:
    """Return the lines of the table of one case, the fastest first."""
    good = {n: m for n, m in case.items() if m["recall"] >= target}
    others = {n: m for n, m in good.items() if n != "isthmus"} or good or case
    rate = max(m["batch_qps"] for m in others.values())
    p50 = min(m["p50_ms"] for m in others.values())
    return [
        (
            f"{share:.1%}",
            kind,
            name if name in good else f"{name} *",
            f"{m['recall']:.4f}",
            f"{m['batch_qps']:,.0f}",
            f"{m['batch_qps'] / rate:.2f}",
            f"{m['p50_ms']:.3f}",
            f"{m['p50_ms'] / p50:.2f}",
            str(m["queries"]),
        )
        for name, m in sorted(case.items(), key=lambda entry: -entry[1]["batch_qps"])
    ]


def main() -> None:
    """Compare."""
    parser = search_arguments(__doc__, OUT, repeats=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=100, help="of those, in each case")
    parser.add_argument("--peers", nargs="+", choices=FILTERING, default=list(FILTERING))
    given = parser.parse_args()
    build_threads = min(2, len(CORES))
    table, measured = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(given.vectors, folder, given.rows, given.queries)
        data = read_data(folder)
        workers = start_workers(
            given.peers, folder, folder / "peers", given.threads, build_threads, given.clock
        )
        chosen = tune(workers, data, given.recall)
        for kind, share, kept, queries in cases(data, given.asked):
            case = measure(workers, data, kept, queries, given.repeats)
            table += lines(kind, share, case, given.recall)
            measured.append({"rows": kind, "share": share, "peers": case})
        for worker in workers.values():
            worker.close()
    print_heading(
        f"{given.rows:,} MiniLM vectors, {given.asked} held-out queries of one filter in a batch, "
        f"k={K}; seed {SEED}; search on {given.threads} thread(s) and core(s), build on "
        f"{build_threads}; medians of {given.repeats} rounds in turn, {given.clock} time",
        PACKAGES,
    )
    print_table(HEADS, table)
    print(f"* recall under {given.recall}; x best is to the best of the others that reach it")
    write_json(given.out, {"given": vars(given), "seed": SEED, "chosen": chosen, "cases": measured})


if __name__ == "__main__":
    main()

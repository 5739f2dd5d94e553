"""Filtered search compared with other engines: recall and speed by selectivity of the filter.

``python benchmarks/filters.py --vectors vectors --rows 100000``

Filters match 50 %, 10 %, 1 % and 0.1 % of the rows: at random; near the queries (the rows closest
to one row, the pivot, for the queries closest to it); and far from them (the same rows, for the
queries farthest from the pivot). Each peer keeps the setting that reaches a recall of 95 % without
a filter, as a user would. Ratios are to the best other peer whose recall reaches the target.
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
    AttributeFilter,
    Data,
    Floats,
    Integers,
    kth_best_scores,
    pivot,
    read_data,
    recall,
    write_data,
)
from common.process import CORES
from common.tables import print_heading, print_table, write_json
from common.worker import PeerFailed, Remote, start_workers
from peers import PACKAGES
from search import select_setting, sweep

K = 10
ANSWER_S, BATCH_S, SINGLE_S = 10.0, 1.0, 1.0
SHARES = (0.5, 0.1, 0.01, 0.001)
FILTERING_PEERS = ("isthmus", "hnswlib", "lancedb", "qdrant", "chroma")
OUT = Path(tempfile.gettempdir()) / "filters.json"
HEADERS = (
    "selectivity",
    "matching rows",
    "peer",
    "recall@10",
    "batch q/s",
    "x best",
    "p50 ms",
    "x best",
    "queries",
)


def cases(data: Data, count: int) -> list[tuple[str, float, AttributeFilter, Integers]]:
    """Return (place of the matching rows, selectivity, filter, query rows) of every case."""
    by_pivot = np.argsort(-(data.queries @ pivot(data.base)), kind="stable")
    random_queries = np.arange(min(count, len(data.queries)))
    kinds = {
        "random": ("shuffled", random_queries),
        "near": ("near", by_pivot[:count]),
        "far": ("near", by_pivot[-count:]),
    }
    return [
        (kind, share, AttributeFilter(attribute, max(1, int(share * len(data.base)))), queries)
        for kind, (attribute, queries) in kinds.items()
        for share in SHARES
    ]


def tune(workers: dict[str, Remote], data: Data, target: float) -> dict[str, Any]:
    """Set each peer to, and return, the setting that reaches the target without a filter."""
    kth_scores = kth_best_scores(data.base, data.queries, K)
    chosen = {}
    for name, worker in workers.items():
        chosen[name] = select_setting(worker, sweep(worker, data, kth_scores, target), target)
        point = chosen[name]
        print(f"{name}: {point['parameters']}, unfiltered recall {point['recall']:.4f}", flush=True)
    return chosen


def measure(
    workers: dict[str, Remote],
    data: Data,
    row_filter: AttributeFilter,
    queries: Integers,
    repeats: int,
) -> dict[str, dict[str, Any]]:
    """Measure one case, the peers taking turns."""
    mask, vectors = data.mask(row_filter), data.queries[queries]
    kth_scores = kth_best_scores(data.base, vectors, K, mask)
    retrieved = answer(workers, queries, row_filter)
    working = {name: workers[name] for name in retrieved}
    rates: dict[str, list[float]] = {name: [] for name in retrieved}
    singles: dict[str, list[float]] = {name: [] for name in retrieved}
    for _ in range(repeats):
        for name, worker in working.items():
            rates[name].append(worker.call("batch", K, BATCH_S, row_filter))
            singles[name] += worker.call("singles", K, SINGLE_S, row_filter)
    return {
        name: {
            "recall": recall(data.base, vectors, rows, kth_scores, mask),
            "batch_qps": statistics.median(rates[name]),
            "p50_ms": statistics.median(singles[name]) * 1e3,
            "queries": len(rows),
        }
        for name, rows in retrieved.items()
    }


def answer(
    workers: dict[str, Remote], queries: Floats, row_filter: AttributeFilter
) -> dict[str, Integers]:
    """Return the rows that each peer retrieves; peers that fail are left out."""
    retrieved = {}
    for name, worker in workers.items():
        worker.call("choose", queries)
        try:
            retrieved[name] = worker.call("answers", K, ANSWER_S, row_filter)
        except PeerFailed as error:
            print(f"{name}, {row_filter.sql}: {str(error).strip().splitlines()[-1]}", flush=True)
    return retrieved


def table_rows(
    kind: str, share: float, case: dict[str, dict[str, Any]], target: float
) -> list[Any]:
    """Return the table rows of one case, the fastest peer first."""
    sufficient = {peer: figures for peer, figures in case.items() if figures["recall"] >= target}
    other_peers = (
        {peer: figures for peer, figures in sufficient.items() if peer != "isthmus"}
        or sufficient
        or case
    )
    rate = max(figures["batch_qps"] for figures in other_peers.values())
    p50 = min(figures["p50_ms"] for figures in other_peers.values())
    return [
        (
            f"{share:.1%}",
            kind,
            name if name in sufficient else f"{name} *",
            f"{figures['recall']:.4f}",
            f"{figures['batch_qps']:,.0f}",
            f"{figures['batch_qps'] / rate:.2f}",
            f"{figures['p50_ms']:.3f}",
            f"{figures['p50_ms'] / p50:.2f}",
            str(figures["queries"]),
        )
        for name, figures in sorted(case.items(), key=lambda entry: -entry[1]["batch_qps"])
    ]


def main() -> None:
    """Compare the peers, and print the table."""
    parser = search_arguments(__doc__, OUT, repeats=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=100, help="queries of each case")
    parser.add_argument(
        "--peers", nargs="+", choices=FILTERING_PEERS, default=list(FILTERING_PEERS)
    )
    arguments = parser.parse_args()
    build_threads = min(2, len(CORES))
    table, measured = [], []
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
        chosen = tune(workers, data, arguments.recall)
        for kind, share, row_filter, queries in cases(data, arguments.asked):
            case = measure(workers, data, row_filter, queries, arguments.repeats)
            table += table_rows(kind, share, case, arguments.recall)
            measured.append({"rows": kind, "share": share, "peers": case})
        for worker in workers.values():
            worker.close()
    print_heading(
        f"{arguments.rows:,} MiniLM vectors, {arguments.asked} held-out queries of one filter in a "
        "batch, "
        f"k={K}; seed {SEED}; search on {arguments.threads} thread(s) and core(s), build on "
        f"{build_threads}; medians of {arguments.repeats} rounds in turn, {arguments.clock} time",
        PACKAGES,
    )
    print_table(HEADERS, table)
    print(f"* recall under {arguments.recall}; x best: relative to the best other peer reaching it")
    write_json(
        arguments.out, {"given": vars(arguments), "seed": SEED, "chosen": chosen, "cases": measured}
    )


if __name__ == "__main__":
    main()

"""Scaling of a space from 10,000 to 1,000,000 rows: times and bytes, with fitted exponents.

``python benchmarks/growth.py --vectors vectors``

Each size is built in a separate process. An exponent e means that a value grows as rows ** e,
fitted by least squares over the logarithms. The recipe of the index may change between sizes, so
the table names it. Sizes larger than the file of vectors are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
from common.arguments import search_arguments
from common.data import DIM, SEED, kth_best_scores, read_data, recall, write_data
from common.process import CORES
from common.tables import exponent, print_heading, print_table, write_json
from common.worker import start_workers

mpl.use("Agg")

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
K, UPSERTED = 10, 1_000
ANSWER_S, BATCH_S, SINGLE_S = 20.0, 2.0, 2.0
OUT = Path(tempfile.gettempdir()) / "growth.json"
VALUES = {
    "fill_s": "fill, s",
    "publish_s": "publish, s",
    "p50_ms": "query p50, ms",
    "batch_qps": "batch, queries/s",
    "bytes": "bytes/vector",
    "upsert_s": f"upsert of {UPSERTED:,} + search, s",
}


def measure(vectors: Path, rows: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build a space of one size and measure it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(vectors, folder, rows, options.queries)
        data = read_data(folder)
        workers = start_workers(
            ["isthmus"],
            folder,
            folder / "peers",
            options.threads,
            min(2, len(CORES)),
            options.clock,
        )
        worker = workers["isthmus"]
        publish_s = worker.call("tune", options.recall)
        retrieved = worker.call("answers", K, ANSWER_S)
        rates, singles = [], []
        for _ in range(options.repeats):
            rates.append(worker.call("batch", K, BATCH_S))
            singles += worker.call("singles", K, SINGLE_S)
        memory = worker.call("memory", rows)
        figures = {
            "rows": rows,
            "fill_s": worker.built_s,
            "publish_s": publish_s,
            "p50_ms": statistics.median(singles) * 1e3,
            "batch_qps": statistics.median(rates),
            "bytes": memory["bytes"],
            "rss": memory["rss"],
            "recipe": worker.call("ask", "recipe"),
            "recall": recall(
                data.base, data.queries, retrieved, kth_best_scores(data.base, data.queries, K)
            ),
            "upsert_s": worker.call("ask", "upsert_seconds", UPSERTED),
        }
        worker.close()
        return figures


def print_growth(measured: list[dict[str, Any]]) -> None:
    """Print one line for each value, with its exponent."""
    sizes = [point["rows"] for point in measured]
    rows = [
        (
            title,
            *(
                f"{point[name]:,.4g}" if point[name] < 100 else f"{point[name]:,.0f}"
                for point in measured
            ),
            f"{exponent(sizes, [point[name] for point in measured]):+.2f}"
            if len(sizes) > 1
            else "",
        )
        for name, title in VALUES.items()
    ]
    rows.append(("recall@10", *(f"{point['recall']:.4f}" for point in measured), ""))
    print_table(("rows", *(f"{n:,}" for n in sizes), "exponent"), rows)
    for point in measured:
        print(f"{point['rows']:,}: {point['recipe']}; resident {point['rss']:,.0f} bytes/vector")


def plot(measured: list[dict[str, Any]], path: Path) -> None:
    """Plot each value over the rows on logarithmic axes, with its fitted exponent."""
    from matplotlib import pyplot, ticker

    sizes = [point["rows"] for point in measured]
    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5.6), layout="constrained")
    for axis, (name, title) in zip(axes.flat, VALUES.items(), strict=True):
        values = [point[name] for point in measured]
        axis.loglog(sizes, values, "o-", color="#2a6f97", markersize=4)
        grows = f" ~ rows^{exponent(sizes, values):.2f}" if len(sizes) > 1 else ""
        axis.set_title(f"{title}{grows}", fontsize=9)
        axis.set_xticks(sizes, [f"{n // 1000:,}k" for n in sizes], fontsize=8)
        axis.set_ylim(min(values) / 2, max(values) * 2)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"plot: {path}")


def main() -> None:
    """Measure every size."""
    parser = search_arguments(__doc__, OUT, repeats=5)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/growth.png"))
    arguments = parser.parse_args()
    available = (arguments.vectors / "minilm.f32").stat().st_size // (4 * DIM)
    sizes = [n for n in sorted(arguments.rows) if n + arguments.queries <= available]
    if skipped := sorted(set(arguments.rows) - set(sizes)):
        print(
            f"left out, {available:,} vectors do not suffice: "
            f"{', '.join(f'{n:,}' for n in skipped)}"
        )
    measured = [measure(arguments.vectors, rows, arguments) for rows in sizes]
    print_heading(
        f"Growth; MiniLM vectors, {arguments.queries:,} held-out queries, k={K}, "
        f"publish(recall={arguments.recall}); seed {SEED}; search on {arguments.threads} "
        f"thread(s) and core(s), build on {min(2, len(CORES))}; medians of {arguments.repeats} "
        f"rounds, {arguments.clock} time",
        ("numpy", "faiss-gpu", "faiss-cpu", "pylance"),
    )
    print_growth(measured)
    plot(measured, arguments.plot)
    write_json(arguments.out, {"given": vars(arguments), "seed": SEED, "sizes": measured})


if __name__ == "__main__":
    main()

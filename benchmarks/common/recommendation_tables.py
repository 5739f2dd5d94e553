"""Tables of a comparison of recommenders: every tool of a protocol, and means by kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.tables import print_table
from isthmus.numerics.statistics import Estimate, compare, estimate, ratio_estimate

METRICS = ("ndcg@10", "recall@200")
Results = Mapping[str, Mapping[str, Any]]


def best_tool(results: Results, ours: str) -> str | None:
    """Return the tool with the best NDCG@10 on validation, ours left out; None if there is none."""
    scores = {
        name: result["validation"]
        for name, result in results.items()
        if name != ours and "error" not in result and result.get("validation") is not None
    }
    return max(scores, key=lambda name: scores[name]) if scores else None


def show_protocol(name: str, results: Results, ours: str) -> None:
    """Print a table of all tools of a protocol."""
    best = best_tool(results, ours)
    found = {tool: result for tool, result in results.items() if "error" not in result}
    n_users = len(next(iter(found.values()))["users"]) if found else 0
    print(f"\n### {name}, {n_users:,} users\n")
    values = {metric: _values(found, metric) for metric in METRICS}
    tests = compare(values["ndcg@10"], best) if best and len(found) > 1 else {}
    rows = []
    for tool, result in found.items():
        ratios = [
            "" if best is None or tool == best else _ratio(values[metric], tool, best)
            for metric in METRICS
        ]
        rows.append(
            [
                f"{tool} (best on validation)" if tool == best else tool,
                _interval(estimate(values["ndcg@10"][tool])),
                ratios[0],
                f"{tests[tool].p_value:.4f}" if tool in tests else "",
                _interval(estimate(values["recall@200"][tool])),
                ratios[1],
                f"{result['coverage@10']:.3f}",
                "-" if result["novelty@10"] is None else f"{result['novelty@10']:.1f}",
                f"{result['tuning_s']:,.0f}",
                f"{result['fit_s'] + result['lists_s']:,.0f}",
                f"{result['model_bytes'] / 2**20:,.0f}",
                f"{result['peak_bytes'] / 2**20:,.0f}",
            ]
        )
    heads = ["tool", "NDCG@10", "to the best", "p", "recall@200", "to the best", "coverage@10"]
    heads += ["novelty@10", "tuning CPU s", "CPU s", "model MiB", "peak MiB"]
    print_table(heads, rows)
    for tool, result in results.items():
        if "error" in result:
            print(f"\n{tool}: {result['error']}")


def show_summary(by_protocol: Mapping[str, Results], ours: str) -> None:
    """Print our ratio to the best tool of each protocol, and geometric means by kind of task."""
    rows: list[list[str]] = []
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for name, results in by_protocol.items():
        best = best_tool(results, ours)
        if best is None or "error" in results.get(ours, {"error": ""}):
            continue
        values = {metric: _values(results, metric, (ours, best)) for metric in METRICS}
        means = [
            float(np.mean(values[metric][ours]) / max(np.mean(values[metric][best]), 1e-12))
            for metric in METRICS
        ]
        kind = str(results[ours]["kind"])
        by_kind.setdefault(kind, []).append((means[0], means[1]))
        rows.append([name, kind, best, *(_ratio(values[m], ours, best) for m in METRICS)])
    if not rows:
        return
    print(f"\n### {ours} to the best tool of each protocol\n")
    print_table(["protocol", "kind", "best tool", *METRICS], rows)
    print("\n### Geometric means\n")
    every = [pair for pairs in by_kind.values() for pair in pairs]
    print_table(
        ["kind", "protocols", *METRICS],
        [
            [kind, str(len(pairs)), *(f"{g:.3f}" for g in np.exp(np.log(pairs).mean(axis=0)))]
            for kind, pairs in {**by_kind, "all": every}.items()
        ],
    )


def _values(
    results: Results, metric: str, tools: tuple[str, ...] | None = None
) -> dict[str, np.ndarray]:
    return {tool: np.array(results[tool][metric], np.float64) for tool in tools or results}


def _ratio(values: Mapping[str, np.ndarray], tool: str, best: str) -> str:
    ratio = ratio_estimate(values[tool], values[best])
    return "-" if ratio is None else _interval(ratio, 2)


def _interval(value: Estimate, digits: int = 4) -> str:
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"

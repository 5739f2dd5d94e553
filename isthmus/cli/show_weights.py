"""Print fusion weights, and what learned ones are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from isthmus.cli.show import print_table, show_json, show_left_out, table_of

if TYPE_CHECKING:
    from isthmus.operations.fusion_weights import WeightsReport
    from isthmus.retrieval.search.fusion_weights import FusionReport


def show_weights(
    weights: Mapping[str, float], report: WeightsReport | None, *, as_json: bool
) -> None:
    """Print the weights of a space, and what a change of them came to."""
    if as_json:
        show_json({"weights": dict(weights)} if report is None else asdict(report))
        return
    for modality, weight in weights.items():
        before = "" if report is None else f" (was {report.former[modality]:g})"
        typer.echo(f"{modality} {weight:g}{before}")
    if report is not None and report.vector_names:
        typer.echo(
            f"made anew out of the embedding caches: named vector {', '.join(report.vector_names)}"
        )
    if report is not None and report.release is not None:
        typer.echo(f"release {report.release} is current")


def show_fusion(report: FusionReport, *, as_json: bool) -> None:
    """Print learned fusion beside fixed weights."""
    if as_json:
        show_json(asdict(report))
        return
    show_left_out([f"left out: {problem}" for problem in report.problems])
    for kind, found in report.ndcg.items():
        table = table_of(kind, "NDCG@10", "over fixed [95 %]")
        gain = report.gain[kind]
        shown = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        for name, value in found.items():
            table.add_row(name, f"{value:.4f}", shown if name == "learned" else "")
        print_table(table)
        typer.echo(
            f"{report.queries[kind]:,} queries learned from, {report.held_out[kind]:,} held out; "
            f"from now on: {report.chosen[kind]}"
        )
        if kind in report.factors:
            shown = ", ".join(f"{n} x {value:.2f}" for n, value in report.factors[kind].items())
            typer.echo(f"weights of the space, {shown}")

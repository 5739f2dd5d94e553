"""Print what a fine-tuning came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from isthmus.cli.show import print_table, show_json, show_left_out, table_of

if TYPE_CHECKING:
    from isthmus.encoders.training.finetuning.report import FinetuneReport
    from isthmus.numerics.statistics import Estimate


def show_finetuning(report: FinetuneReport, *, as_json: bool) -> None:
    """Print the encoder before and after, in the target and in other domains."""
    if as_json:
        show_json(report.as_dict())
        return
    show_left_out([f"left out row {row}: {what}" for row, what in report.problems])
    _show_shares(report)
    _show_compared(report)
    frozen = "; frozen layers run once" if report.skipped_frozen else ""
    typer.echo(
        f"{report.pairs:,} pairs of {report.contents:,} contents: "
        f"{report.training_pairs:,} trained on, {report.validation_pairs:,} validated on, "
        f"{report.test_pairs:,} tested on; "
        f"{report.anchors:,} anchor texts of other domains; "
        f"{report.trained_weights:,} weights trained{frozen}; "
        f"best epoch {report.best_epoch} of {len(report.losses)}; {report.seconds:.0f} s"
    )
    if not report.share:
        typer.echo("nothing of the change was taken: no share of it gains and forgets little")
    typer.echo(f"open it with: load_encoder({report.after!r})")


def _show_shares(report: FinetuneReport) -> None:
    names = list(report.shares[0].kept)
    table = table_of("share of the change", "NDCG@10 target", *(f"{name} kept" for name in names))
    for one in report.shares:
        taken = " (taken)" if one.share == report.share else ""
        table.add_row(
            f"{one.share:g}{taken}",
            f"{one.target:.4f}",
            *(f"{one.kept[name]:.4f}" for name in names),
        )
    print_table(table)


def _show_compared(report: FinetuneReport) -> None:
    table = table_of(
        "held out", "by", "queries", "searched", "NDCG@10 before", "after", "recall@10 before",
        "after", "NDCG after / before",
    )  # fmt: skip
    for one in report.comparisons:
        table.add_row(
            one.name,
            one.measure,
            f"{one.queries:,}",
            f"{one.searched:,}",
            _interval(one.ndcg_before),
            _interval(one.ndcg_after),
            f"{one.recall_before.value:.4f}",
            f"{one.recall_after.value:.4f}",
            _interval(one.ratio),
        )
    print_table(table)


def _interval(figure: Estimate) -> str:
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"

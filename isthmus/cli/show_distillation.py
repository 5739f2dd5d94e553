"""Print what a distillation came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from isthmus.cli.show import print_table, show_json, show_left_out, table_of

if TYPE_CHECKING:
    from isthmus.encoders.training.distillation.report import DistillReport

MIB = 2**20


def show_distillation(report: DistillReport, *, as_json: bool) -> None:
    """Print the student beside its teacher."""
    if as_json:
        show_json(report.as_dict())
        return
    show_left_out([f"left out row {row}: {what}" for row, what in report.problems])
    _show_table(report)
    quality, speed = report.quality, report.speed
    typer.echo(
        f"{report.rows_read:,} rows read, {len(report.problems):,} left out, "
        f"{report.distinct:,} distinct; {report.trained:,} trained on, "
        f"{quality.held_out:,} held out; {report.seconds:.0f} s"
    )
    typer.echo(
        f"speed on {speed.contents:,} of those held out, {speed.device}, {speed.threads} threads"
    )
    typer.echo(f"open it with: load_encoder({report.student!r})")


def _show_table(report: DistillReport) -> None:
    quality, speed = report.quality, report.speed
    table = table_of("", "teacher", "student", "ratio")
    name = "texts" if report.modality == "text" else "images"
    table.add_row(
        f"{name} a second", f"{speed.teacher:,.0f}", f"{speed.student:,.0f}", f"{speed.ratio:.1f}"
    )
    own = report.teacher_bytes
    table.add_row(
        "size, MiB",
        f"{own / MIB:.1f}" if own else "-",
        f"{report.student_bytes / MIB:.1f}",
        f"1 / {report.size_ratio:.1f}" if report.size_ratio else "-",
    )
    table.add_row("recall@10 of the teacher's", "1", f"{quality.recall_kept:.4f}", "")
    table.add_row("similarity of what is found", "1", f"{quality.similarity_kept:.4f}", "")
    if quality.ndcg_teacher is not None and quality.ndcg_student is not None:
        table.add_row(
            "NDCG@10 of the same label",
            f"{quality.ndcg_teacher:.4f}",
            f"{quality.ndcg_student:.4f}",
            f"{quality.ndcg_kept:.4f}",
        )
    found = report.recommendation
    if found is not None:
        table.add_row(
            f"NDCG@10 of new items, {found.users:,} users",
            f"{found.ndcg_teacher:.4f}",
            f"{found.ndcg_student:.4f}",
            f"{found.ndcg_kept:.4f}" if found.ndcg_kept is not None else "-",
        )
    print_table(table)

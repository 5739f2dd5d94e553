"""What an alignment was learned from, and what it is worth, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from isthmus.cli.show import print_table, show_json, show_left_out, table_of

if TYPE_CHECKING:
    from isthmus.operations.alignment import AlignReport


def show_alignment(report: AlignReport, *, as_json: bool) -> None:
    """Print a report."""
    if as_json:
        show_json(asdict(report))
        return
    show_left_out([f"left out {problem}" for problem in report.problems])
    table = table_of("set", "pairs", "method", "text to image", "chance", "image to text", "chance")
    for name, count in report.pairs.items():
        for method, sets in report.recall.items():
            if name in sets:
                own = sets[name]
                table.add_row(
                    name,
                    f"{count:,}",
                    method,
                    f"{own['text_to_image']:.3f}",
                    f"{own['chance_text_to_image']:.3f}",
                    f"{own['image_to_text']:.3f}",
                    f"{own['chance_image_to_text']:.3f}",
                )
    print_table(table)
    encoded = ", ".join(f"{n:,} {modality}" for modality, n in report.encoded.items())
    typer.echo(
        f"alignment {report.fingerprint}, recall@10 on {report.held_out:,} pairs held out; "
        f"encoded {encoded}; {sum(report.seconds.values()):.1f} s"
    )
    if report.release is not None:
        typer.echo(f"release {report.release} is current")

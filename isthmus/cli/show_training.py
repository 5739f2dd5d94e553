"""Print what a training came to, and why items are recommended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from isthmus.cli.show import print_table, show_json, table_of

if TYPE_CHECKING:
    from isthmus.retrieval.recommend.report import RankerDistillation
    from isthmus.retrieval.recommend.store import Description
    from isthmus.retrieval.search.results import Hit

MOST_REASONS = 3
SCENARIOS = {"most": "four fifths known", "new": "new items", "all": "all"}


def show_training(made: Description, *, as_json: bool) -> None:
    """Print each ranker beside its candidate generators, and what these cover."""
    if as_json:
        show_json(made.model_dump())
        return
    from isthmus.retrieval.source_domains.assessment import describe_lift

    for domain, report in made.reports.items():
        typer.echo(f"\n{domain}: NDCG@10 of simulated users, {report.seconds:.0f} s")
        table = table_of("known in the domain", "users", "ranker", "best generator alone", "gain",
                         "95 %", "candidates cover")  # fmt: skip
        for name, own in report.scenarios.items():
            best = own.generators[own.best]
            gain = own.ranker - best
            table.add_row(
                SCENARIOS.get(name, name),
                f"{own.users:,}",
                f"{own.ranker:.4f}",
                f"{best:.4f} {own.best}",
                f"{gain:+.4f}",
                f"{own.low:+.4f} to {own.high:+.4f}",
                f"{own.coverage['union']:.3f}",
            )
        print_table(table)
        for name, lift in report.lifts.items():
            typer.echo(describe_lift(name, lift))
        if report.tuning is not None:
            found = [f"{key} {_plain(value)}" for key, value in report.tuning.best.items()]
            typer.echo(f"best of {len(report.tuning.trials)} settings: {', '.join(found)}")
        if report.distillation is not None:
            _show_distillation(report.distillation)
    for loss in made.shortfalls():
        typer.secho(f"warning: {loss}; publish will refuse it", err=True, fg="yellow")
    typer.echo(f"trained in {made.seconds:.0f} s; make it current with: isthmus publish")


def _show_distillation(found: RankerDistillation) -> None:
    """Print the distilled ranker beside its teacher."""
    table = table_of("ranker", "NDCG@10", "recall@200", "parameters", "ms a user")
    for name, own in (("teacher", found.teacher), ("distilled, kept", found.student)):
        table.add_row(
            name,
            f"{own.ndcg:.4f}",
            f"{own.recall:.4f}",
            f"{own.parameters:,}",
            f"{own.milliseconds:.2f}",
        )
    print_table(table)
    typer.echo(
        f"{found.users:,} users; NDCG@10 {found.student.ndcg - found.teacher.ndcg:+.4f} "
        f"[{found.low:+.4f}, {found.high:+.4f}], {found.speed_ratio:.1f} times as fast, "
        f"1 / {found.size_ratio:.1f} of the size"
    )


def _plain(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def show_reasons(hits: Sequence[Hit]) -> None:
    """Print why each hit is there."""
    table = table_of("item", "popularity", "personal", "because of", "contents", "found by")
    for hit in hits:
        own = hit.explanation
        if own is None:
            continue
        history = [r for r in own.history if r.gain > 0][:MOST_REASONS]
        generators = [r for r in own.generators if r.rank][:MOST_REASONS]
        table.add_row(
            hit.item_id,
            f"{own.popularity:.2f}",
            f"{own.personal:+.2f}",
            ", ".join(f"{r.item_id} ({r.gain:+.2f})" for r in history) or "-",
            ", ".join(f"{r.name} ({r.gain:+.2f})" for r in own.contents) or "-",
            ", ".join(f"{r.name} (rank {r.rank})" for r in generators) or "-",
        )
    print_table(table)

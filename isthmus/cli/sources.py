"""Rank domains as sources for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import JsonOption, PositiveFromOption, SpaceOption

if TYPE_CHECKING:
    from isthmus.retrieval.source_domains.report import SourceDomain, SourceReport


def sources(
    space: SpaceOption,
    target: Annotated[str, typer.Option(help="The domain to recommend in.")],
    measure: Annotated[
        bool, typer.Option(help="Measure what each domain is worth to simulated cold users.")
    ] = True,
    positive_from: PositiveFromOption = None,
    seed: Annotated[int, typer.Option(help="Of whatever is left to chance.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Rank the other domains as sources for a target domain, and say which of them do harm."""
    from isthmus.cli.show import show_json

    report = open_space(space).sources(
        target, measure=measure, positive_from=positive_from, seed=seed
    )
    if as_json:
        show_json(report.model_dump())
    else:
        _show(report)


def _show(report: SourceReport) -> None:
    """Print a row for each source, and what was measured in words."""
    from isthmus.cli.show import print_table, table_of
    from isthmus.retrieval.source_domains.report import describe_lift

    own = report.quality
    typer.echo(
        f"\nsources for {report.target} ({own.items:,} items, {own.users:,} users, "
        f"{own.interactions:,} interactions), best first; {report.seconds:.0f} s"
    )
    table = table_of("domain", "verdict", "NDCG@10 gain", "95 %", "recall@200 gain", "cold users",
                     "items", "users", "interactions", "density", "recent", "shared users",
                     "of target", "content distance")  # fmt: skip
    for source in report.sources:
        table.add_row(source.domain, *_measured(source), *_counted(source))
    print_table(table)
    for source in report.sources:
        if source.lift is not None:
            typer.echo(describe_lift(source.domain, source.lift))


def _measured(source: SourceDomain) -> tuple[str, ...]:
    lift = source.lift
    if lift is None or lift.ndcg is None or lift.recall is None:
        return ("-" if lift is None else lift.verdict, "-", "-", "-",
                "-" if lift is None else f"{lift.users:,}")  # fmt: skip
    return (
        lift.verdict,
        f"{lift.ndcg.difference:+.4f}",
        f"{lift.ndcg.low:+.4f} to {lift.ndcg.high:+.4f}",
        f"{lift.recall.difference:+.4f}",
        f"{lift.users:,}",
    )


def _counted(source: SourceDomain) -> tuple[str, ...]:
    quality, near = source.quality, source.relatedness
    return (
        f"{quality.items:,}",
        f"{quality.users:,}",
        f"{quality.interactions:,}",
        f"{quality.density:.2g}",
        "-" if quality.recent is None else f"{quality.recent:.2f}",
        f"{near.shared_users:,}",
        f"{near.of_target:.2f}",
        "-" if near.content_distance is None else f"{near.content_distance:.3f}",
    )

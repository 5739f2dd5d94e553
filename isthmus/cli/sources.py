"""Rank domains as sources for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import JsonOption, PositiveFromOption, SpaceOption

if TYPE_CHECKING:
    from isthmus.retrieval.source_domains.assessment import SourceDomain, SourceReport
    from isthmus.retrieval.source_domains.lift import Gain


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

    report = open_space(space).source_domains(
        target, measure=measure, positive_from=positive_from, seed=seed
    )
    if as_json:
        show_json(report.model_dump())
    else:
        _show(report)


def _show(report: SourceReport) -> None:
    """Print what was measured of each source, in a table and in words, and what was counted."""
    from isthmus.cli.show import print_table, table_of
    from isthmus.retrieval.source_domains.assessment import describe_lift

    own = report.quality
    typer.echo(
        f"\nsources for {report.target} ({own.items:,} items, {own.users:,} users, "
        f"{own.interactions:,} interactions), best first; {report.seconds:.0f} s"
    )
    counted = table_of("domain", "items", "users", "interactions", "density", "recent",
                       "shared users", "of target", "content distance")  # fmt: skip
    for source in report.sources:
        counted.add_row(source.domain, *_counted(source))
    print_table(counted)
    told = {source.domain: source.lift for source in report.sources if source.lift is not None}
    if not told:
        return
    measured = table_of("domain", "verdict", "cold users", "NDCG@10 gain", "95 %",
                        "recall@200 gain", "95 %")  # fmt: skip
    for domain, lift in told.items():
        gains = (*_gain(lift.ndcg), *_gain(lift.recall))
        measured.add_row(domain, lift.verdict, f"{lift.users:,}", *gains)
    print_table(measured)
    for domain, lift in told.items():
        typer.echo(describe_lift(domain, lift))


def _gain(gain: Gain | None) -> tuple[str, str]:
    if gain is None:
        return "-", "-"
    return f"{gain.difference:+.4f}", f"{gain.low:+.4f} to {gain.high:+.4f}"


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

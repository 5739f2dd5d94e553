"""Publish releases, look after them, and tell how a space stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    LatencyOption,
    MemoryOption,
    RecallOption,
    SpaceOption,
    WaitOption,
)

if TYPE_CHECKING:
    from isthmus.index.catalog.compact import CompactReport


def publish(
    space: SpaceOption,
    recall: RecallOption = None,
    latency_ms: LatencyOption = None,
    memory: MemoryOption = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Plan and train anew.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="The same from the catalog alone: mends damage.")
    ] = False,
    keep_recommender: Annotated[
        bool,
        typer.Option("--keep-recommender", help="Pass over what was trained since."),
    ] = False,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Build a release, measure it, and make it current."""
    from isthmus.cli.show import show_release

    manifest = open_space(space, device=device, wait_s=wait).publish(
        recall=recall,
        latency_ms=latency_ms,
        memory=memory,
        retrain=retrain,
        rebuild=rebuild,
        keep_recommender=keep_recommender,
        progress=True,
    )
    show_release(manifest.model_dump(), as_json=as_json)


def plan(
    space: SpaceOption,
    rows: Annotated[
        float | None, typer.Option(help="Plan for so many vectors, such as 1e9.")
    ] = None,
    recall: RecallOption = None,
    latency_ms: LatencyOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure index recipes on a sample, and build nothing."""
    from isthmus.cli.show import show_plans
    from isthmus.index.releases.plan import require_possible

    plans = open_space(space, device=device).plan(
        rows=None if rows is None else round(rows),
        recall=recall,
        latency_ms=latency_ms,
        memory=memory,
        progress=True,
    )
    show_plans([one.model_dump() for one in plans], as_json=as_json)
    for one in plans:
        require_possible(one)


def releases(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the kept releases."""
    from isthmus.cli.show import show_releases

    opened = open_space(space)
    manifests = [m.model_dump(exclude={"files"}) for m in opened.releases()]
    show_releases(manifests, opened.current_release, as_json=as_json)


def rollback(
    space: SpaceOption,
    number: Annotated[int | None, typer.Argument(help="Release to go back to.")] = None,
    device: DeviceOption = "auto",
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier release current; items stay as they are."""
    from isthmus.cli.show import show_line

    opened = open_space(space, device=device, wait_s=wait)
    show_line({"current": opened.rollback(number)}, as_json=as_json)


def compact(
    space: SpaceOption,
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, help="Keep versions younger than this; default: space.toml's."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Go on beside readers and writers until interrupted: look again after so many "
            "hours, and compact where versions are past their time and nobody writes.",
        ),
    ] = None,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Merge small files and drop old versions of the tables; queries go on meanwhile."""
    from time import sleep

    from isthmus.index.catalog.compact import compact_if_due

    opened = open_space(space, wait_s=wait)
    if every is None:
        _show_compacted(opened.compact(keep_days=keep_days, progress=True), as_json=as_json)
        return
    days = opened.settings.index.keep_versions_days if keep_days is None else keep_days
    while True:
        done = compact_if_due(opened.path, days)
        if done:
            _show_compacted(done, as_json=as_json)
        sleep(every * 3_600)


def _show_compacted(done: list[CompactReport], *, as_json: bool) -> None:
    from dataclasses import asdict

    from isthmus.cli.show import show_json, show_line

    reports = [asdict(report) for report in done]
    if as_json:
        show_json(reports)
    for report in reports if not as_json else []:
        show_line(report, as_json=False)


def status(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Describe a space: items, domains, release, delta, quarantine, encoders."""
    from isthmus.cli.show import show_stats

    show_stats(open_space(space).status(), as_json=as_json)

"""Commands about releases, and the status of a space."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    OptionsOf,
    SpaceOption,
    Values,
    WaitOption,
    generate_options,
    open_space,
)
from isthmus.cli.show import (
    show_certificate,
    show_dims,
    show_forgotten,
    show_line,
    show_monitored,
    show_plans,
    show_release,
    show_releases,
    show_stats,
    show_verified,
)
from isthmus.errors import InvalidInput
from isthmus.operations.request import (
    BackupRequest,
    MonitorRequest,
    PlanRequest,
    PublishRequest,
    VerifyRequest,
)
from isthmus.terminal import say, say_json

if TYPE_CHECKING:
    from isthmus.index.catalog.compact import CompactReport
    from isthmus.space import Space

ALARM = 3  # exit code
PlaceArgument = Annotated[
    str, typer.Argument(help="Folder, or address of object storage, of backups.")
]


@generate_options
def publish(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(PublishRequest)],
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Build a release, measure it, and make it current."""
    manifest = open_space(space, device=device, wait_s=wait_s).publish(**request, progress=True)
    show_release(manifest.model_dump(), as_json=as_json)


@generate_options
def plan(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(PlanRequest, types={"rows": float})],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure index recipes, or shorter vectors, on a sample, and build nothing."""
    from isthmus.index.releases.plan import require_possible

    if "dims" in request:
        measured = open_space(space, device=device).plan(dims=request["dims"])
        show_dims([one.model_dump() for one in measured], as_json=as_json)
        return
    if "rows" in request:
        request["rows"] = round(request["rows"])  # written such as 1e9
    plans = open_space(space, device=device).plan(**request, progress=True)
    show_plans([one.model_dump() for one in plans], as_json=as_json)
    for one in plans:
        require_possible(one)


def releases(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the kept releases."""
    opened = open_space(space)
    manifests = [m.model_dump(exclude={"files"}) for m in opened.releases()]
    show_releases(manifests, opened.current_release, as_json=as_json)


def rollback(
    space: SpaceOption,
    number: Annotated[int | None, typer.Argument(help="Release to go back to.")] = None,
    device: DeviceOption = "auto",
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier release current; items stay as they are."""
    opened = open_space(space, device=device, wait_s=wait_s)
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
            help="Hours between compactions: run until interrupted, and compact when versions "
            "have expired and nothing writes.",
        ),
    ] = None,
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Merge small files and drop old versions of the tables; queries go on meanwhile."""
    from isthmus.index.catalog.compact import compact_if_due

    opened = open_space(space, wait_s=wait_s)
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
    reports = [asdict(report) for report in done]
    if as_json:
        say_json(reports)
        return
    for report in reports:
        show_line(report, as_json=False)


@generate_options
def verify(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(VerifyRequest)],
    forgotten: Annotated[
        str | None,
        typer.Option(
            metavar="USER", help="Search all of the space for what is left of a user, instead."
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Check this certificate of the erasure of the user as well."
        ),
    ] = None,
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Read all of a space, name what is damaged and lost, and mend it with --repair.

    The exit code is 1 where something stays damaged, or is left of a forgotten user.
    """
    if certificate is not None and forgotten is None:
        raise InvalidInput("--certificate is of a user; name the user with --forgotten USER")
    if forgotten is not None:
        _verify_forgotten(open_space(space, wait_s=wait_s), forgotten, certificate, as_json)
        return
    from isthmus.operations.settings_copy import restore_settings

    restored = restore_settings(space) if request.get("repair") else None
    report = open_space(space, wait_s=wait_s).verify(**request, progress=True)
    if restored is not None:
        report = replace(report, damages=[restored, *report.damages])
    show_verified(report.as_dict(), as_json=as_json)
    if not report.sound:
        raise typer.Exit(1)


def _verify_forgotten(space: Space, user_id: str, certificate: Path | None, as_json: bool) -> None:
    """Search for a user, check its certificate if there is one, and exit with 1 if some is left."""
    if certificate is None:
        search = space.verify_forgotten(user_id, progress=True)
        show_forgotten(search.as_dict(), as_json=as_json)
    else:
        checked = space.check_certificate(certificate, user_id, progress=True)
        search = checked.search
        show_certificate(checked.as_dict(), as_json=as_json)
    if not search.forgotten:
        raise typer.Exit(1)


@generate_options
def monitor(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(MonitorRequest)],
    as_json: JsonOption = False,
) -> None:
    """Measure recall, drift and growth, and say which thresholds are crossed.

    The exit code is 3 where there is an alarm, so that a cron job can tell it from an error.
    """
    report = open_space(space).monitor(**request)
    show_monitored(report.as_dict(), as_json=as_json)
    if report.alarms:
        raise typer.Exit(ALARM)


@generate_options
def backup(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(BackupRequest, arguments=("to",))],
    as_json: JsonOption = False,
) -> None:
    """Copy what a place of backups lacks of a space, and verify it there."""
    report = open_space(space).backup(**request, progress=True)
    show_line(report.as_dict(), as_json=as_json)


def backups(place: PlaceArgument, as_json: JsonOption = False) -> None:
    """List the backups in a place, the oldest first."""
    from isthmus.operations.restore import backups

    names = backups(place)
    if as_json:
        say_json(names)
        return
    for name in names:
        say(name)


def restore(
    place: PlaceArgument,
    space: SpaceOption,
    backup: Annotated[
        str | None, typer.Option("--backup", help="Name of the backup; by default the last.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a space of a backup; each content is compared with its digest."""
    from isthmus.operations.restore import restore

    report = restore(place, space, backup=backup, progress=True)
    show_line(report.as_dict(), as_json=as_json)


def status(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Describe a space: items, domains, release, delta, quarantine, encoders."""
    show_stats(open_space(space).status(), as_json=as_json)

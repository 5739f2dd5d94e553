"""``isthmus interactions``: commands about the interactions of users with items."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.options import (
    JsonOption,
    OptionsOf,
    SpaceOption,
    Values,
    WaitOption,
    generate_options,
    open_space,
)
from isthmus.cli.show import show_interaction_report, show_interactions, show_line
from isthmus.operations.request import InteractionsRequest

app = typer.Typer(name="interactions", no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="User id.")]


@app.callback()
def interactions() -> None:
    """Add, show, count and delete the interactions of users with items."""


@app.command()
@generate_options
def add(
    space: SpaceOption,
    request: Annotated[
        Values,
        OptionsOf(
            InteractionsRequest,
            arguments=("source",),
            types={"source": list[str], "null_values": str},
        ),
    ],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add interactions of users with items; adding the same again changes nothing.

    Every event is kept; only a row that repeats another one exactly is left out. An event may
    have no value. isthmus events shows how events count. Times are timestamps, dates, ISO
    8601 texts, or seconds or milliseconds since 1970. Interactions with items that the space does
    not hold wait for them.
    """
    report = open_space(space, wait_s=wait_s).add_interactions(**request, progress=True)
    show_interaction_report(report, as_json=as_json)


@app.command()
def show(user: UserArgument, space: SpaceOption, as_json: JsonOption = False) -> None:
    """Show the interactions of a user, oldest first, with those that wait for their item."""
    opened = open_space(space)
    table, counting = opened.interactions(user, waiting=True), opened.interactions(user)
    in_catalog = set(counting.column("item_id").to_pylist())
    rows = [{**row, "waits": row["item_id"] not in in_catalog} for row in table.to_pylist()]
    show_interactions(rows, as_json=as_json)


@app.command()
def count(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Count interactions, users and items, and the interactions that wait for their item."""
    show_line(open_space(space).status()["interactions"], as_json=as_json)


@app.command()
def forget_user(
    user: UserArgument, space: SpaceOption, wait_s: WaitOption = 30.0, as_json: JsonOption = False
) -> None:
    """Delete every interaction of a user; compact --keep-days 0 then clears the disk of them."""
    forgotten = open_space(space, wait_s=wait_s).forget_user(user)
    show_line({"user": user, "forgotten": forgotten}, as_json=as_json)

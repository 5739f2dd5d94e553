"""``isthmus interactions``: what users did with items."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.opening import open_space
from isthmus.cli.options import JsonOption, SpaceOption, WaitOption

app = typer.Typer(name="interactions", no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="User id.")]


@app.callback()
def interactions() -> None:
    """Add, show, count and forget what users did with items."""


@app.command()
def add(
    files: Annotated[list[str], typer.Argument(help="Files, globs or folders of interactions.")],
    space: SpaceOption,
    user: Annotated[str, typer.Option(help="Column or template of the user id.")] = "user_id",
    item: Annotated[str, typer.Option(help="Column or template of the item id.")] = "item_id",
    value: Annotated[
        str | None, typer.Option(help="Column of the value; default: value or rating, else 1.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of the time; default: time or timestamp.")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(help="Column of the weight; default: weight, else 1.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Kind of every event, such as view or purchase.")
    ] = None,
    event_column: Annotated[
        str | None, typer.Option(help="Column of the kind of event; default: event.")
    ] = None,
    skip_invalid: Annotated[bool, typer.Option(help="Leave invalid rows out.")] = False,
    wait: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add what users did with items; adding the same again changes nothing.

    One interaction is kept for each user, item and kind of event: the one with the latest time
    and, at equal times or without times, the one added last. Times are timestamps, dates, ISO
    8601 texts, or seconds or milliseconds since 1970. Interactions with items that the space does
    not hold wait for them.
    """
    from isthmus.cli.show import show_interaction_report

    report = open_space(space, wait_s=wait).add_interactions(
        files,
        user=user,
        item=item,
        value=value,
        time=time,
        weight=weight,
        event=event,
        event_column=event_column,
        skip_invalid=skip_invalid,
        progress=True,
    )
    show_interaction_report(report, as_json=as_json)


@app.command()
def show(user: UserArgument, space: SpaceOption, as_json: JsonOption = False) -> None:
    """Show the interactions of a user, oldest first, with those that wait for their item."""
    from isthmus.cli.show import show_interactions

    opened = open_space(space)
    table, counting = opened.interactions(user, waiting=True), opened.interactions(user)
    held = set(counting.column("item_id").to_pylist())
    rows = [{**row, "waits": row["item_id"] not in held} for row in table.to_pylist()]
    show_interactions(rows, as_json=as_json)


@app.command()
def count(space: SpaceOption, as_json: JsonOption = False) -> None:
    """Count interactions, users and items, and the interactions that wait for their item."""
    from isthmus.cli.show import show_line

    show_line(open_space(space).status()["interactions"], as_json=as_json)


@app.command()
def forget(
    user: UserArgument, space: SpaceOption, wait: WaitOption = 30.0, as_json: JsonOption = False
) -> None:
    """Delete every interaction of a user; compact --keep-days 0 then clears the disk of them."""
    from isthmus.cli.show import show_line

    forgotten = open_space(space, wait_s=wait).forget_user(user)
    show_line({"user": user, "forgotten": forgotten}, as_json=as_json)

"""``isthmus users``: commands about the attributes of users."""

from __future__ import annotations

import json
from pathlib import Path
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
from isthmus.cli.show import (
    show_erased,
    show_line,
    show_user_attributes,
    show_user_report,
    show_users,
)
from isthmus.durable import write_atomically
from isthmus.operations.request import MergeUsersRequest, UsersRequest
from isthmus.terminal import say, say_json

app = typer.Typer(name="users", no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="User id.")]
UsersArgument = Annotated[list[str], typer.Argument(metavar="USER...", help="User ids.")]


@app.callback()
def users() -> None:
    """Add, list, show and delete the attributes of users: age, country, segment, device, text."""


@app.command()
@generate_options
def add(
    space: SpaceOption,
    request: Annotated[
        Values,
        OptionsOf(
            UsersRequest,
            arguments=("source",),
            types={"source": list[str], "columns": str, "exclude": str, "null_values": str},
        ),
    ],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Add users with their attributes, or change those that are there.

    Every column but the id is an attribute, typed as those of items are. Attributes that the input
    has no column for stay; an empty value is unknown. They serve users of whom little else is known
    once isthmus train has learned from them.
    """
    report = open_space(space, wait_s=wait_s).add_users(**request, progress=True)
    show_user_report(report, as_json=as_json)


@app.command("list")
def list_users(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the ids of the users that have attributes."""
    user_ids = open_space(space).user_ids()
    if as_json:
        say_json(user_ids)
        return
    for user_id in user_ids:
        say(user_id)


@app.command()
def get(user_ids: UsersArgument, space: SpaceOption, as_json: JsonOption = False) -> None:
    """Show the attributes of users."""
    show_users(open_space(space).users(user_ids), as_json=as_json)


@app.command()
def export(
    user_id: UserArgument,
    space: SpaceOption,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file to write, by default the screen.")
    ] = None,
) -> None:
    """Write all that is stored of a user as JSON: attributes, interactions, recommendations."""
    found = open_space(space).export_user(user_id)
    if out is None:
        say_json(found)
        return
    write_atomically(out, json.dumps(found, ensure_ascii=False, indent=2).encode())
    say(f"{out}: {len(found['interactions']):,} interactions of {user_id}", err=True)


@app.command()
@generate_options
def merge(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(MergeUsersRequest, arguments=("user_id", "into"))],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Make one user of two: what is stored of the first becomes the second's."""
    moved = open_space(space, wait_s=wait_s).merge_users(**request)
    show_line({"interactions": moved, "into": request["into"]}, as_json=as_json)


@app.command()
def delete(
    user_ids: UsersArgument,
    space: SpaceOption,
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Delete the attributes of users; interactions forget-user deletes all that is known."""
    deleted = open_space(space, wait_s=wait_s).delete_users(user_ids)
    show_line({"deleted": deleted}, as_json=as_json)


@app.command()
def attributes(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the attributes of users: type, share of users with a value, examples."""
    show_user_attributes(open_space(space).user_attributes(), as_json=as_json)


@app.command()
def erase(
    user_id: UserArgument,
    space: SpaceOption,
    certificate: Annotated[
        Path, typer.Option(metavar="FILE", help="Certificate to write, outside the space.")
    ],
    signing_key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="PEM of an Ed25519 key; made there if there is none."),
    ],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Forget a user, clear the disk, search the space, and write a signed certificate."""
    erased = open_space(space, wait_s=wait_s).erase_user(
        user_id, certificate=certificate, signing_key=signing_key, progress=True
    )
    show_erased(erased, certificate, as_json=as_json)

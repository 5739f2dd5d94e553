"""Commands about attributes: list, cast, rename and drop those of the items of a domain."""

from __future__ import annotations

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
from isthmus.cli.show import show_attributes, show_line
from isthmus.operations.request import (
    CastAttributeRequest,
    DropAttributeRequest,
    RenameAttributeRequest,
)

app = typer.Typer(name="attributes", invoke_without_command=True)

DomainsOption = Annotated[
    list[str] | None, typer.Option("--domain", help="Only of this domain, or of several.")
]


@app.callback()
def attributes(
    context: typer.Context,
    space: Annotated[
        Path | None, typer.Option("--space", "-s", help="Folder of the space.")
    ] = None,
    domain: DomainsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the attributes of the items of each domain; cast, rename or drop one."""
    if context.invoked_subcommand is not None:
        return
    if space is None:
        raise typer.BadParameter("name the folder of the space", param_hint="--space")
    list_attributes(space, domain, as_json=as_json)


@app.command("list")
def list_attributes(
    space: SpaceOption, domain: DomainsOption = None, as_json: JsonOption = False
) -> None:
    """List the attributes of the items of each domain, as attributes alone does."""
    show_attributes(open_space(space).attributes(domain or None), as_json=as_json)


@app.command()
@generate_options
def cast(
    space: SpaceOption,
    request: Annotated[
        Values, OptionsOf(CastAttributeRequest, arguments=("domain", "name", "type"))
    ],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Cast an attribute of a domain to another type; a value that does not fit stops it."""
    show_line(open_space(space, wait_s=wait_s).cast_attribute(**request), as_json=as_json)


@app.command()
@generate_options
def rename(
    space: SpaceOption,
    request: Annotated[
        Values, OptionsOf(RenameAttributeRequest, arguments=("domain", "name", "new_name"))
    ],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Rename an attribute of a domain."""
    show_line(open_space(space, wait_s=wait_s).rename_attribute(**request), as_json=as_json)


@app.command()
@generate_options
def drop(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(DropAttributeRequest, arguments=("domain", "name"))],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Drop an attribute of a domain, with all its values."""
    show_line(open_space(space, wait_s=wait_s).drop_attribute(**request), as_json=as_json)

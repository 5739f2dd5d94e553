"""``isthmus scenarios``: commands about named sets of business rules."""

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
from isthmus.cli.show import show_line
from isthmus.retrieval.recommend.request import ScenarioRequest
from isthmus.terminal import say, say_json

app = typer.Typer(name="scenarios", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the scenario.")]


@app.callback()
def scenarios() -> None:
    """List, set and delete scenarios: named sets of business rules that requests refer to."""


@app.command("list")
def list_scenarios(space: SpaceOption, as_json: JsonOption = False) -> None:
    """List the scenarios of a space with their rules."""
    found = open_space(space).scenarios()
    if as_json:
        say_json(found)
        return
    for name, rules in found.items():
        words = ", ".join(f"{key} = {value!r}" for key, value in rules.items())
        say(f"{name}: {words or 'no rules'}")


@app.command("set")
@generate_options
def set_scenario(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(ScenarioRequest, arguments=("name",))],
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Set a scenario, in the place of one of its name.

    isthmus evaluate --scenario NAME says what it costs, before requests name it.
    """
    rules = open_space(space, wait_s=wait_s).set_scenario(**request)
    show_line({"scenario": request["name"], **rules}, as_json=as_json)


@app.command("delete")
def delete_scenario(
    name: NameArgument,
    space: SpaceOption,
    wait_s: WaitOption = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Delete a scenario; requests that name it are refused then."""
    open_space(space, wait_s=wait_s).delete_scenario(name)
    show_line({"deleted": name}, as_json=as_json)

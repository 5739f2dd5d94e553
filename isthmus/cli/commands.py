"""Which commands there are, and where; a command alone is built from its module alone."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Annotated, Any, Final

import typer

import isthmus
from isthmus.cli.options import SERVER, Server, SeveralValues, without_space

COMMANDS: Final = {
    "items": "create upsert update delete get ids scroll count export quarantine retry-quarantine",
    "releases": "publish plan releases rollback compact verify backup backups restore monitor "
    "status",
    "search": "search search-groups facets search-file similar duplicates map",
    "recommend": "recommend recommend-file recommend-rows recommend-users recommendations events "
    "predict-ratings source-domains train evaluate",
    "encoders": "reembed weights set-weights precompute align learn-fusion distill finetune",
    "integrations": "import enrich unenrich profile mcp",
    "service": "serve",
}
GROUPS: Final = {
    "interactions": "interactions",
    "attributes": "attributes",
    "users": "users",
    "keys": "service",
    "scenarios": "scenarios",
}
FUNCTIONS: Final = {"map": "map_space", "import": "import_collection"}
WITH_SEVERAL_VALUES: Final = frozenset(
    {"plan", "train", "evaluate", "align", "learn-fusion", "distill", "finetune"}
)
HIDDEN: Final = {"add": "upsert"}
MODULES: Final = {name: module for module, names in COMMANDS.items() for name in names.split()}


@cache
def build_app(only: str | None = None) -> typer.Typer:
    """Return the command line.

    Parameters
    ----------
    only : str, optional
        A command or group whose module alone is imported; all where it is neither.
    """
    app = typer.Typer(
        name="isthmus",
        help="Join catalogues into one vector space; search it and recommend across domains.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(isthmus_command)
    known = only in MODULES or only in GROUPS or only in HIDDEN
    for name in (*MODULES, *HIDDEN):
        if not known or name == only:
            _add_command(app, name)
    for name, module in GROUPS.items():
        if not known or name == only:
            app.add_typer(_module(module).app)
    return app


def _add_command(app: typer.Typer, name: str) -> None:
    command = HIDDEN.get(name, name)
    function = FUNCTIONS.get(command, command.replace("-", "_"))
    kind: dict[str, Any] = {"cls": SeveralValues} if command in WITH_SEVERAL_VALUES else {}
    decorate = app.command(name=name, hidden=name in HIDDEN, **kind)
    decorate(getattr(_module(MODULES[command]), function))


def _module(name: str) -> Any:
    return import_module(f"isthmus.cli.{name}")


def _show_version(version_requested: bool) -> None:
    if version_requested:
        typer.echo(f"isthmus {isthmus.__version__}")
        raise typer.Exit


def isthmus_command(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="ISTHMUS_SERVER",
            metavar="URL",
            help="Address of a service to ask in the place of a folder; --space is then the name "
            "of the space, where it has several.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="ISTHMUS_KEY",
            help="Key of the service; better in the environment.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  # its callback does it
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Join catalogues into one vector space; search it and recommend across domains."""
    source = context.get_parameter_source("key")
    SERVER.set(None if server is None else Server(server, key))
    if server is not None:
        context.default_map = without_space(context.command)
    elif source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("--key is for a service; give its address with --server too")

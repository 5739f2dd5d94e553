"""The ``isthmus`` command: every method of `isthmus.Space` is a command of the same name."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

import isthmus
from isthmus.cli import encoders, integrations, items, recommend, releases, search, service
from isthmus.cli.attributes import app as attributes
from isthmus.cli.interactions import app as interactions
from isthmus.cli.options import SERVER, Server, SeveralValues, without_space
from isthmus.cli.scenarios import app as scenarios
from isthmus.cli.users import app as users
from isthmus.errors import IsthmusError, IsthmusWarning
from isthmus.terminal import say, shortened, tolerate_encodings

app = typer.Typer(
    name="isthmus",
    help="Join catalogues into one vector space; search it and recommend across domains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS = (
    items.create,
    items.upsert,
    items.update,
    items.delete,
    items.get,
    items.ids,
    items.scroll,
    items.count,
    items.export,
    items.quarantine,
    items.retry_quarantine,
    releases.publish,
    releases.releases,
    releases.rollback,
    releases.compact,
    releases.verify,
    releases.backup,
    releases.backups,
    releases.restore,
    releases.monitor,
    releases.status,
    search.search,
    search.search_groups,
    search.facets,
    search.search_file,
    search.similar,
    search.duplicates,
    recommend.recommend,
    recommend.recommend_file,
    recommend.recommend_rows,
    recommend.recommend_users,
    recommend.recommendations,
    recommend.events,
    recommend.predict_ratings,
    recommend.source_domains,
    encoders.reembed,
    encoders.weights,
    encoders.set_weights,
    encoders.precompute,
    integrations.enrich,
    integrations.unenrich,
    integrations.profile,
    integrations.mcp,
    service.serve,
)
WITH_SEVERAL_VALUES = (
    releases.plan,
    recommend.train,
    recommend.evaluate,
    encoders.align,
    encoders.learn_fusion,
    encoders.distill,
    encoders.finetune,
)
for command in COMMANDS:
    app.command()(command)
for command in WITH_SEVERAL_VALUES:
    app.command(cls=SeveralValues)(command)
app.command(name="map")(search.map_space)
app.command(name="import")(integrations.import_collection)
app.command(name="add", hidden=True)(items.upsert)
app.add_typer(interactions)
app.add_typer(attributes)
app.add_typer(users)
app.add_typer(service.app)
app.add_typer(scenarios)

INTERRUPTED = 130
_show_other = warnings.showwarning


def _show_version(version_requested: bool) -> None:
    if version_requested:
        typer.echo(f"isthmus {isthmus.__version__}")
        raise typer.Exit


@app.callback()
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


def console() -> None:
    """Run the command in a process of its own."""
    if len(sys.argv) > 2 and "--help" not in sys.argv:
        _import_arrow_without_pandas()
    _keep_only(sys.argv[1:2])
    main()


def _import_arrow_without_pandas() -> None:
    """Import Arrow so that it does not import pandas, which takes 0.3 s and 50 MB.

    Arrow imports pandas, where that is installed, at its first value, to recognise frames. A
    command has no frames. What needs pandas itself can still import it afterwards.
    """

    class NoPandas(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pandas":
                raise ModuleNotFoundError("not for Arrow in a command", name=name)

    hiding = NoPandas()
    sys.meta_path.insert(0, hiding)
    try:
        import_module("pyarrow.dataset")
    finally:
        sys.meta_path.remove(hiding)


def main() -> None:
    """Run the command; what goes wrong becomes one line on standard error and exit code 1."""
    tolerate_encodings()
    with warnings.catch_warnings():
        warnings.simplefilter("always", IsthmusWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        _run()


def _run() -> None:
    try:
        app()
    except (IsthmusError, OSError) as error:
        sys.exit(_complain(str(error)))
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _complain("interrupted; what was finished is stored, run the same command to go on")
        raise


def _keep_only(first: Sequence[str]) -> None:
    """Drop the commands other than the first argument, where it is one: Typer reads them all."""
    named = [c for c in app.registered_commands if _name_of(c) in first]
    if named:
        app.registered_commands, app.registered_groups = named, []


def _name_of(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))


def _complain(message: str) -> int:
    say(f"isthmus: {shortened(message)}", err=True, colour="red")
    return 1


def _show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """Show a note of ours as a line, and another library's warning as Python does."""
    if issubclass(category, IsthmusWarning):
        say(f"note: {shortened(str(message))}", err=True, colour="yellow")
    else:
        _show_other(message, category, *place)  # type: ignore[arg-type]

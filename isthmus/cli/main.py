"""The ``isthmus`` command."""

from __future__ import annotations

import sys

import typer

from isthmus.cli.align import align
from isthmus.cli.distill import distill
from isthmus.cli.evaluate import evaluate
from isthmus.cli.finetune import finetune
from isthmus.cli.interactions import app as interactions
from isthmus.cli.items import add, create, delete, quarantine
from isthmus.cli.map import map_space
from isthmus.cli.queries import count, duplicates, get, search, similar
from isthmus.cli.rate import rate
from isthmus.cli.recommend import recommend
from isthmus.cli.reembed import reembed
from isthmus.cli.releases import compact, plan, publish, releases, rollback, status
from isthmus.cli.several import SeveralValues
from isthmus.cli.sources import sources
from isthmus.cli.train import train
from isthmus.cli.weights import weights
from isthmus.errors import IsthmusError

app = typer.Typer(
    name="isthmus",
    help="Join catalogues into one vector space; search it and recommend across domains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(interactions)

COMMANDS = (
    create,
    add,
    delete,
    publish,
    plan,
    releases,
    rollback,
    compact,
    status,
    get,
    count,
    search,
    similar,
    duplicates,
    sources,
    reembed,
    weights,
    train,
    recommend,
    rate,
    quarantine,
)
for command in COMMANDS:
    app.command()(command)
app.command(name="map")(map_space)
app.command(cls=SeveralValues)(align)
app.command(cls=SeveralValues)(evaluate)
app.command(cls=SeveralValues)(distill)
app.command(cls=SeveralValues)(finetune)

INTERRUPTED = 130


def main() -> None:
    """Run the command; what goes wrong becomes one line on standard error and exit code 1."""
    try:
        app()
    except (IsthmusError, OSError) as error:
        sys.exit(_complain(str(error)))
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _complain("interrupted; what was finished is stored, run the same command to go on")
        raise


def _complain(message: str) -> int:
    typer.secho(f"isthmus: {' '.join(message.split())}", err=True, fg="red")
    return 1

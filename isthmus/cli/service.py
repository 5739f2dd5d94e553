"""Commands of the HTTP service: serve spaces, and keep the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.options import JsonOption, Values, YesOption, confirm
from isthmus.terminal import DataTable, print_table, say, say_json

KeysOption = Annotated[
    Path, typer.Option("--keys", envvar="ISTHMUS_KEYS", help="File of the keys.")
]
KEYS = Path("isthmus-keys.json")

app = typer.Typer(name="keys", help="Keys of the service.", no_args_is_help=True)


def serve(
    spaces: Annotated[
        list[Path] | None, typer.Argument(metavar="SPACE...", help="Folders of spaces.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at; 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8080. 0 for any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; 1.")] = None,
    keys: Annotated[Path | None, typer.Option(help="File of keys; without one, loopback.")] = None,
    config: Annotated[Path | None, typer.Option(help="Further settings: serve.toml.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or all (GPUs).")
    ] = None,
) -> None:
    """Serve spaces over HTTP until it is stopped; see the description at /v1/openapi.json."""
    try:
        from isthmus.service.server import serve as run
        from isthmus.service.settings import named_spaces, read_settings
    except ModuleNotFoundError as error:
        from isthmus.errors import MissingDependency

        raise MissingDependency(
            f"this needs {error.name}, which is not installed; install it with: "
            "pip install 'isthmus[http]'"
        ) from error
    given: Values = {"host": host, "port": port, "workers": workers}
    given |= {"keys": keys, "device": device}
    values = {name: value for name, value in given.items() if value is not None}
    if spaces:
        values["spaces"] = named_spaces(spaces)
    run(read_settings(config, values))


@app.command()
def create(
    keys: KeysOption = KEYS,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write, events or admin; repeat it.")
    ] = None,
    space: Annotated[list[str] | None, typer.Option(help="Only this space; repeat it.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain; repeat it.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Filter that everything it reads must pass.")
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Requests at a time.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it: it is shown this once."""
    from isthmus.service.keys import KeyFile, KeyRequest

    given: Values = {"scopes": tuple(scope or ()) or None, "spaces": space, "domains": domain}
    limits: Values = {"where": where, "max_concurrent": max_concurrent}
    values = {key: value for key, value in {**given, **limits}.items() if value is not None}
    request = KeyRequest(name=name, **values)
    text = KeyFile(keys).create(request)
    if as_json:
        say_json({"key": text})
    else:
        say(text)
        say(f"it is not stored and cannot be shown again; {keys} has its hash", err=True)


@app.command(name="list")
def list_keys(keys: KeysOption = KEYS, as_json: JsonOption = False) -> None:
    """List the keys, and what each may do."""
    from isthmus.service.keys import KeyFile

    rows = [key.described() for key in KeyFile(keys).all()]
    if as_json:
        say_json(rows)
        return
    table = DataTable("id", "name", "scopes", "spaces", "domains", "where", "made", "revoked")
    for row in rows:
        shown = ("scopes", "spaces", "domains")
        named = {name: ", ".join(row[name] or ("all",)) for name in shown}
        table.add_row(
            *(row["id"], row["name"], *named.values(), row["where"] or "-"),
            *(row["created"], row["revoked"] or "-"),
        )
    print_table(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")],
    keys: KeysOption = KEYS,
    yes: YesOption = False,
) -> None:
    """Revoke a key; the service refuses it from its next request on."""
    from isthmus.service.keys import KeyFile

    confirm(f"revoke the key {key_id}?", yes=yes)
    KeyFile(keys).revoke(key_id)

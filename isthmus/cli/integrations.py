"""Commands at the edge of a space: import a collection; have a chat model write and rank."""

from __future__ import annotations

from typing import Annotated

import typer

from isthmus.cli.options import (
    DeviceOption,
    JsonOption,
    OptionsOf,
    SpaceOption,
    Values,
    generate_options,
    open_space,
)
from isthmus.cli.show import show_line, show_report
from isthmus.cli.show_reports import show_enrichment
from isthmus.integrations.request import EnrichRequest, ImportRequest
from isthmus.terminal import say, say_json

ModelOption = Annotated[
    str, typer.Option("--model", help="Chat model: openai/NAME?base_url=http://host:8000/v1.")
]


@generate_options
def import_collection(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(ImportRequest, arguments=("source",))],
    as_json: JsonOption = False,
) -> None:
    """Make a space of an existing collection: files, FAISS, Qdrant or Chroma."""
    from isthmus.integrations.importing import import_collection

    report = import_collection(space, ImportRequest(**request), progress=True)
    show_report(report.as_dict(), as_json=as_json)


@generate_options
def enrich(
    space: SpaceOption,
    request: Annotated[Values, OptionsOf(EnrichRequest)],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Have a chat model write a description and typed attributes of items.

    Run it with --dry-run first: it says how many tokens it would take. A run that was interrupted,
    or whose budget is used up, goes on when it is started again. isthmus unenrich removes it.
    """
    from isthmus.integrations.enrich import enrich

    report = enrich(open_space(space, device=device), EnrichRequest(**request), progress=True)
    show_enrichment(report, as_json=as_json)


def mcp(space: SpaceOption, device: DeviceOption = "auto") -> None:
    """Serve a space to a language model by the Model Context Protocol, on stdin and stdout.

    The tools are domains, search, similar, recommend and explain; they only read. With --server,
    it is the space of a service.
    """
    from isthmus.integrations.mcp_server import make_mcp_server

    make_mcp_server(open_space(space, device=device)).run("stdio")


def unenrich(
    space: SpaceOption,
    domain: Annotated[str, typer.Option("--domain", help="Domain of the items.")],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Drop what a chat model wrote about the items of a domain."""
    from isthmus.integrations.enrich import unenrich

    dropped = unenrich(open_space(space, device=device), domain)
    show_line({"dropped": ", ".join(dropped) or "nothing"}, as_json=as_json)


def profile(
    text: Annotated[str, typer.Argument(help="What somebody says they like.")],
    model: ModelOption,
    as_json: JsonOption = False,
) -> None:
    """Have a chat model write a profile of somebody's words, for recommend --text."""
    from isthmus.encoders.models.chat import ChatModel
    from isthmus.integrations.chat_queries import profile

    written = profile(ChatModel.load(model), text).text or ""
    if as_json:
        say_json({"profile": written})
    else:
        say(written)

"""MkDocs hook: the reference of the command line, generated from the commands themselves."""

from __future__ import annotations

from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from isthmus.cli.commands import build_app

PAGE = "reference/cli.md"


def command_reference() -> str:
    """Return the reference of every command as Markdown."""
    command = typer.main.get_command(build_app())
    text: str = get_docs_for_click(obj=command, ctx=typer.Context(command), name="isthmus")
    return text


def on_files(files: Files, config: Any) -> Files:
    """Add the generated page to the site."""
    files.append(File.generated(config, PAGE, content=command_reference()))
    return files

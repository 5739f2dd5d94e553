"""The one way to a terminal: text from data is shown, and never obeyed.

A title may hold escape sequences that rewrite the screen, line breaks that forge a message,
marks that reverse the order of letters, or what Rich reads as markup. What is printed for people
goes through `printable`; what is printed for programs is one JSON document.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH = 160  # characters of a table, where the output is no terminal
MAX_ERROR = 1_200  # characters of an error: what is longer is cut in the middle
SPACES = str.maketrans(dict.fromkeys("\t\n\v\f\r\x85\u2028\u2029", " "))
# Cc: control characters; Cf: marks of direction and other invisible marks; Cs: half characters.
INVISIBLE = frozenset(("Cc", "Cf", "Cs"))
JOINERS = frozenset("\u200c\u200d\u00ad")  # of Persian and Indic words, of emoji; soft hyphens


def printable(value: object) -> str:
    r"""Return a value as one line of text that a terminal shows and does not obey.

    Line breaks and tabs become spaces. Other control characters, marks that change the direction
    of the text and half characters become their escapes.

    Examples
    --------
    >>> print(printable("two\nlines, \x1b[2J and \u202eesrever"))
    two lines, \x1b[2J and \u202eesrever
    """
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text.translate(SPACES)))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in INVISIBLE or letter in JOINERS:
        return letter
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def say(*lines: object, err: bool = False, colour: str | None = None) -> None:
    """Print lines for people, on standard output or standard error."""
    for line in lines:
        typer.secho(printable(line), err=err, fg=colour)


def say_json(value: Any) -> None:
    """Print a value as one JSON document, on one line.

    Numbers that JSON lacks (NaN and the infinities) are null. Where the output cannot hold a
    letter, all letters beyond ASCII are escaped.
    """
    document = json.dumps(as_json(value), ensure_ascii=False, allow_nan=False)
    try:
        document.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        document = json.dumps(json.loads(document))
    typer.echo(document)


def as_json(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Examples
    --------
    >>> as_json({"mean": float("nan"), "at": date(2024, 5, 3), 7: ("a", b"A")})
    {'mean': None, 'at': '2024-05-03', '7': ['a', '41']}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_json(dataclasses.asdict(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return as_json(value.tolist())
    if hasattr(value, "model_dump"):  # pydantic's models
        return as_json(value.model_dump())
    return str(value)


class DataTable(Table):
    """A table whose cells and headings are data: neither markup nor control characters count."""

    def __init__(self, *columns: str, title: str | None = None) -> None:
        super().__init__(
            title=None if title is None else _cell(title),
            title_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for column in columns:
            self.add_column(column)

    def add_column(self, header: RenderableType = "", *rest: Any, **options: Any) -> None:
        """Add a column; what does not fit goes to the next line."""
        header = _cell(header) if isinstance(header, str) else header
        super().add_column(header, *rest, **{"overflow": "fold", **options})

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row; in a text of several lines, each line is shown as one."""
        shown = (_cell(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*shown, **options)


def _cell(text: str) -> Text:
    return Text("\n".join(map(printable, text.split("\n"))))


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal, or as it wants to be where there is none."""
    Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False).print(table)


def shortened(message: str, length: int = MAX_ERROR) -> str:
    """Return a message on one line; of a long one the beginning and the end.

    Examples
    --------
    >>> shortened("no column 'a'; there are b, c, d, e, f, g, h, i and j; give one", 50)
    "no column 'a'; there are ... i and j; give one"
    """
    line = " ".join(message.split())
    if len(line) <= length:
        return line
    first, last = line[: length // 2].rsplit(" ", 1)[0], line[-(length // 2 - 5) :]
    return f"{first} ... {last.split(' ', 1)[-1]}"


def tolerate_encodings() -> None:
    """Show letters that a terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

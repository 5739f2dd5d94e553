"""Templates of the page, in which everything from data is escaped and shown on one line."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.terminal import printable

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
ROOT: Final = "/page"
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@cache
def environment() -> Environment:
    """Return the environment of the templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(static=static_address, root=ROOT)
    made.filters.update(number=number, moment=moment, size=size, percent=percent)
    return made


def visible(value: Any) -> Any:
    """Return what a template prints: of a text, without characters that change how it is read."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value)
    return "" if value is None else value


@cache
def static_address(name: str) -> str:
    """Return the address of a static file, which changes with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{ROOT}/static/{name}?v={digest}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for people.

    Examples
    --------
    >>> number(12345), number(0.12345), number(1234.5, 1), number(None)
    ('12,345', '0.123', '1,234.5', '-')
    """
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as a percentage."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def size(value: float | None) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> size(800), size(3 * 2**20), size(None)
    ('800 B', '3.0 MiB', '-')
    """
    if value is None:
        return "-"
    power = 0
    while value >= 1024 and power < len(UNITS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:.0f} B" if not power else f"{value:.1f} {UNITS[power]}"


def moment(value: str | datetime | date | None) -> str:
    """Return a time to the minute, in UTC as it is stored.

    Examples
    --------
    >>> moment("2026-05-03T10:20:30.5+00:00"), moment(date(2026, 5, 3))
    ('2026-05-03 10:20', '2026-05-03')
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "-" if value is None else value.isoformat()

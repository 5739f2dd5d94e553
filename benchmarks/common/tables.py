"""Plain-text tables and headings, and JSON results."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: the first column left-aligned, the others right-aligned."""
    widths = [max(len(str(row[i])) for row in (headers, *rows)) for i in range(len(headers))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    for row in (headers, rule, *rows):
        cells = [str(row[0]).ljust(widths[0])]
        cells += [str(cell).rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        print("| " + " | ".join(cells) + " |")


def print_heading(title: str, packages: Sequence[str] = ("numpy",)) -> None:
    """Print a title, and the versions of Python and of packages."""
    names = [f"{name} {_version(name)}" for name in packages]
    print(f"\n{title}")
    print(f"Python {platform.python_version()}, {', '.join(names)}", flush=True)


def write_json(path: Path, values: Any) -> None:
    """Write all results as JSON."""
    path.write_text(json.dumps(values, indent=1, default=_plain))
    print(f"results: {path}")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return e of the fit values = c * sizes ** e, by least squares over the logarithms.

    Examples
    --------
    >>> round(exponent([1, 10, 100], [2, 20, 200]), 3)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)

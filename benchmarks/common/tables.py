"""Tables and headings, as plain text."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: the first column to the left, numbers to the right."""
    widths = [max(len(str(row[i])) for row in (heads, *rows)) for i in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    for row in (heads, rule, *rows):
        cells = [str(row[0]).ljust(widths[0])]
        cells += [str(cell).rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        print("| " + " | ".join(cells) + " |")


def print_heading(what: str, packages: Sequence[str] = ("numpy",)) -> None:
    """Print what was measured, and on what."""
    names = [f"{name} {_version(name)}" for name in packages]
    print(f"\n{what}")
    print(f"Python {platform.python_version()}, {', '.join(names)}", flush=True)


def write_json(path: Path, values: Any) -> None:
    """Write everything that was measured."""
    path.write_text(json.dumps(values, indent=1, default=_plain))
    print(f"all of it: {path}")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Fit values = c * sizes ** e by least squares over the logarithms, and give e.

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

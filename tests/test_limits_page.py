"""The page of limits says what the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "limits.md"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "million": 10**6}
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and "`isthmus." in line
]


def value_of(dotted: str) -> float:
    """Return the value of ``package.module.NAME`` or ``package.module.Class.field`` (a default)."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise AssertionError(dotted)


@pytest.mark.parametrize("row", ROWS, ids=[row[2] for row in ROWS])
def test_a_limit_on_the_page_is_the_one_of_the_code(row):
    number, _, unit = row[1].partition(" ")
    stated = float(number.replace(",", "")) * UNITS.get(unit.split(" ")[0], 1)
    assert stated == value_of(row[2].strip("`"))


def test_the_page_has_limits():
    assert len(ROWS) >= 7

"""Notebooks as tests: the first runs with `make test`, the others with the heavy suites."""

from __future__ import annotations

import pytest

# Their verbs have tests of their own; one trains, the other lays out a map.
HEAVY = {"02_cold_start.ipynb", "03_one_space.ipynb"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark notebooks that take most of a minute."""
    for item in items:
        if item.path.name in HEAVY:
            item.add_marker(pytest.mark.heavy)

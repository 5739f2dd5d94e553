"""Notebooks as tests: two run with `make test`, the third with the heavy suites."""

from __future__ import annotations

import pytest

# Its verbs have tests of their own; it loads the offline encoders and lays out a map.
HEAVY = {"03_one_space.ipynb"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark notebooks that take most of a minute."""
    for item in items:
        if item.path.name in HEAVY:
            item.add_marker(pytest.mark.heavy)

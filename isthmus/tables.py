"""Lance tables: what every table of a space needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MANY_FRAGMENTS = 32
VALUES_A_LIST = 5_000


def tidy(dataset: Any) -> None:
    """Merge small fragments where there are many, and drop versions older than two weeks."""
    dataset.checkout_latest()
    if len(dataset.get_fragments()) > MANY_FRAGMENTS:
        dataset.optimize.compact_files()
        dataset.cleanup_old_versions()


def among(column: str, values: Sequence[str]) -> Iterator[str]:
    """Give predicates that together select the rows whose column holds one of the values.

    Examples
    --------
    >>> list(among("item_id", ["a", "it's"]))
    ["item_id IN ('a', 'it''s')"]
    """
    for start in range(0, len(values), VALUES_A_LIST):
        part = values[start : start + VALUES_A_LIST]
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in part)
        yield f"{column} IN ({quoted})"

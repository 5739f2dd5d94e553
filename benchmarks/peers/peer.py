"""The contract of a peer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from common.data import AttributeFilter, Floats, Integers


class Peer(ABC):
    """An index over unit vectors that answers with row numbers.

    Attributes
    ----------
    settings : str
        How it is built, in a few words.
    measured : str
        What `bytes` counts.
    filters : bool
        Whether it supports filtered search.
    """

    settings: ClassVar[str]
    measured: ClassVar[str]
    filters: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Index vectors of shape (n_rows, dim), with an integer for each row and attribute."""

    @abstractmethod
    def grids(self, rows: int) -> list[list[Any]]:
        """Return settings of `tune` in lists, each from the cheapest to the most thorough."""

    @abstractmethod
    def tune(self, parameters: Any) -> None:
        """Apply a setting to later searches."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> Any:
        """Return the nearest items of each query, in the library's result type."""

    def search_one(self, query: Floats, k: int) -> Any:
        """Return the nearest items of one query."""
        return self.search(query[None], k)

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Return the nearest items of each query among the rows that match a filter."""
        raise NotImplementedError

    def search_one_filtered(self, query: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Return the nearest items of one query among the rows that match a filter."""
        return self.search_filtered(query[None], k, row_filter)

    def rows(self, results: Any, queries: int, k: int) -> Integers:
        """Return results as row numbers, shape (queries, k), padded with -1.

        This is not part of the timings.
        """
        return np.asarray(results).astype(np.int64).reshape(queries, k)

    @abstractmethod
    def bytes(self) -> int:
        """Return the size of the index in bytes; `measured` names what it counts."""

    def use_threads(self, threads: int) -> None:
        """Set the threads of later builds and searches, where the library supports it."""
        del threads


def steps(smallest: float, largest: float, ratio: float = 1.25) -> list[int]:
    """Return whole numbers in about equal ratios, both ends included.

    Examples
    --------
    >>> steps(1, 10, 2)
    [1, 2, 4, 8, 10]
    """
    count = int(np.log(max(largest / smallest, 1)) / np.log(ratio)) + 1
    values = [round(smallest * ratio**i) for i in range(count)]
    return sorted({*values, int(largest)})


def padded(lists: list[list[int]], k: int) -> Integers:
    """Return lists of rows as an array of shape (n, k), padded with -1."""
    out = np.full((len(lists), k), -1, np.int64)
    for row, rows in zip(out, lists, strict=True):
        row[: len(rows)] = rows
    return out

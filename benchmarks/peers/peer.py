"""What every peer can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from common.data import Floats, Integers, Kept


class Peer(ABC):
    """An index over unit vectors that answers with row numbers.

    Attributes
    ----------
    settings : str
        How it is built, in a few words.
    measured : str
        What `bytes` counts.
    filters : bool
        Whether it can search the rows that a filter keeps.
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
        """Search with this setting from here on."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> Any:
        """Find the items nearest to each query; the answer is as the library gives it."""

    def search_one(self, query: Floats, k: int) -> Any:
        """Find the items nearest to one query."""
        return self.search(query[None], k)

    def search_filtered(self, queries: Floats, k: int, kept: Kept) -> Any:
        """Do as `search` among the rows that a filter keeps."""
        raise NotImplementedError

    def search_one_filtered(self, query: Floats, k: int, kept: Kept) -> Any:
        """Do as `search_one` among the rows that a filter keeps."""
        return self.search_filtered(query[None], k, kept)

    def rows(self, found: Any, queries: int, k: int) -> Integers:
        """Turn an answer to so many queries into row numbers, shape (queries, k), -1 for none.

        This is no part of what is timed.
        """
        return np.asarray(found).astype(np.int64).reshape(queries, k)

    @abstractmethod
    def bytes(self) -> int:
        """Return the size of the index; `measured` says of what."""

    def use_threads(self, threads: int) -> None:
        """Build or search with so many threads from here on, where the library can be told."""
        del threads


def steps(least: float, most: float, ratio: float = 1.25) -> list[int]:
    """Return whole numbers in about equal ratios, both ends among them.

    Examples
    --------
    >>> steps(1, 10, 2)
    [1, 2, 4, 8, 10]
    """
    count = int(np.log(max(most / least, 1)) / np.log(ratio)) + 1
    values = [round(least * ratio**i) for i in range(count)]
    return sorted({*values, int(most)})


def padded(lists: list[list[int]], k: int) -> Integers:
    """Turn lists of rows into an array of shape (n, k), filled up with -1."""
    out = np.full((len(lists), k), -1, np.int64)
    for row, found in zip(out, lists, strict=True):
        row[: len(found)] = found
    return out

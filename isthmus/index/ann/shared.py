"""What indexes over the same vectors take over from each other, since it is most of their making.

All inverted files have the centres of their cells from one training. All graphs have their links
from one construction, by codes of 8 bits a dimension: a quarter of the memory of the vectors, and
quicker than by coarser codes (docs/search_figures.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from isthmus.index.ann.recipes import LINKS, Family
from isthmus.numerics.arrays import FloatArray


class Shared:
    """Keeps what the first index of a family was made of, for the next; empty at first."""

    def __init__(self) -> None:
        self.centres: FloatArray | None = None
        self._links: Any = None
        self._seconds: dict[Family, float] = {}

    def seconds(self, family: Family) -> float:
        """Give the seconds that making it took, which a next index of the family is spared."""
        return self._seconds.get(family, 0.0)

    @property
    def has_links(self) -> bool:
        """Whether there are links of a graph."""
        return self._links is not None

    def keep_centres(self, centres: FloatArray, seconds: float) -> None:
        """Keep the centres of cells, shape (n_cells, dim), unless there are some."""
        if self.centres is None:
            self.centres, self._seconds["ivf"] = centres, seconds

    def keep_links(self, graph: Any, seconds: float) -> None:
        """Keep the links of an `IndexHNSW`, without the codes of its vectors."""
        faiss: Any = import_module("faiss")
        self._links, self._seconds["hnsw"] = faiss.IndexHNSWFlat(1, LINKS), seconds
        self._links.hnsw = graph.hnsw

    def link(self, graph: Any, rows: int) -> None:
        """Give an `IndexHNSW` that holds the codes of so many vectors, and no links, the links."""
        method = graph.hnsw.search_method
        graph.hnsw = self._links.hnsw
        graph.hnsw.search_method = method
        graph.ntotal = rows

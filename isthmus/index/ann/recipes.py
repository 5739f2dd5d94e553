"""Recipes: the ways to index vectors that the planner chooses between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Family = Literal["flat", "hnsw", "ivf"]
EXACT = "exact fp32"
ROWS_A_CELL = 16  # at least
ROWS_A_ROOT = 250_000  # another square root of cells for so many rows
MOST_ROOTS = 4.0
LINKS = 16  # of a graph's node, twice as many on its lowest level
SIGNS = "RaBitQ"  # one bit for each dimension


@dataclass(frozen=True)
class Recipe:
    """A way to index vectors.

    Attributes
    ----------
    name : str
        What people call it.
    family : str
        ``flat`` (every vector is compared), ``hnsw`` (a graph) or ``ivf`` (cells).
    codes : str
        How FAISS spells the codes within the family.
    refinement : str
        Finer codes that candidates are scored again in, as FAISS spells them; empty for none.
    """

    name: str
    family: Family
    codes: str = ""
    refinement: str = ""

    @property
    def refined(self) -> bool:
        """Whether candidates are scored again."""
        return bool(self.refinement)

    @property
    def signs(self) -> bool:
        """Whether it is a graph of codes so coarse that candidates are scored by their vectors."""
        return self.family == "hnsw" and self.codes == SIGNS

    @property
    def on_gpu(self) -> bool:
        """Whether FAISS has a GPU form of it."""
        return (not self.refined and (self.name == EXACT or self.codes in ("SQfp16", "Flat"))) or (
            self.family == "ivf" and self.codes == "SQ8"
        )

    def suits(self, dim: int) -> bool:
        """Tell whether vectors of this length can be coded so."""
        return "PQ" not in self.codes or dim % 4 == 0

    def factory(self, rows: int, dim: int) -> str:
        """Spell the index for `faiss.index_factory`."""
        base = self.codes.format(half=dim // 2)
        if self.family == "hnsw":
            base = f"HNSW{LINKS}_{base}" if base else f"HNSW{LINKS}"
        if self.family == "ivf":
            base = f"IVF{cells_for(rows)},{base}"
        return f"{base},Refine({self.refinement})" if self.refined else base

    def depths(self) -> tuple[int, ...]:
        """Give the depths worth trying."""
        return (2, 3, 4, 6, 10, 16, 32) if self.refined or self.signs else (1,)


def cells_for(rows: int) -> int:
    """Choose the number of cells of an inverted file: one to four square roots of the rows.

    While the codes of all rows fit into a processor's cache, few large cells are searched faster
    than many small ones at the same recall; past that it is the bytes read that count, and small
    cells leave more of them unread.
    """
    roots = min(max(rows / ROWS_A_ROOT, 1.0), MOST_ROOTS)
    return max(1, min(int(roots * np.sqrt(rows)), rows // ROWS_A_CELL))


GRAPH = Recipe("HNSW SQ8", "hnsw", "SQ8")  # whose links other graphs share
RECIPES = (
    Recipe(EXACT, "flat"),
    Recipe("exact fp16", "flat", "SQfp16"),
    Recipe("exact SQ8 + fp16", "flat", "SQ8", "SQfp16"),
    Recipe("HNSW fp32", "hnsw"),
    GRAPH,
    Recipe("HNSW RaBitQ", "hnsw", SIGNS),
    Recipe("IVF SQ8", "ivf", "SQ8"),
    Recipe("IVF PQ4 fast-scan + SQ8", "ivf", "PQ{half}x4fs", "SQ8"),
    Recipe("IVF PQ4 fast-scan + fp16", "ivf", "PQ{half}x4fs", "SQfp16"),
    Recipe("IVF RaBitQ fast-scan + SQ8", "ivf", "RaBitQfs", "SQ8"),
)
INVERTED_FILE = Recipe("IVF fp32", "ivf", "Flat")  # what releases of the first format hold


def recipe_named(name: str) -> Recipe:
    """Find a recipe by its name."""
    return next(r for r in (*RECIPES, INVERTED_FILE) if r.name == name)


def suitable(dim: int, *, on_gpu: bool = False) -> Iterator[Recipe]:
    """Give the recipes that suit vectors of a length, and a GPU where they are to go there."""
    return (recipe for recipe in RECIPES if recipe.suits(dim) and (recipe.on_gpu or not on_gpu))

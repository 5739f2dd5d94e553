"""The recipes that the planner chooses between. Their names are in manifests on disk."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.index.ann.contract import Recipe
from isthmus.index.ann.flat import FlatIndex
from isthmus.index.ann.hnsw import LINKS_RECIPE, SIGN_CODES, HnswIndex
from isthmus.index.ann.ivf import IvfIndex

EXACT = "exact fp32"
EXACT_HALF = "exact fp16"
RECIPES = (
    Recipe(EXACT, FlatIndex),
    Recipe(EXACT_HALF, FlatIndex, "SQfp16"),
    Recipe("exact SQ8 + fp16", FlatIndex, "SQ8", "SQfp16"),
    Recipe("HNSW fp32", HnswIndex),
    LINKS_RECIPE,
    Recipe("HNSW RaBitQ", HnswIndex, SIGN_CODES),
    Recipe("IVF SQ8", IvfIndex, "SQ8"),
    Recipe("IVF PQ4 fast-scan + SQ8", IvfIndex, "PQ{half}x4fs", "SQ8"),
    Recipe("IVF PQ4 fast-scan + fp16", IvfIndex, "PQ{half}x4fs", "SQfp16"),
    Recipe("IVF RaBitQ fast-scan + SQ8", IvfIndex, "RaBitQfs", "SQ8"),
)


def recipe_named(name: str) -> Recipe:
    """Return the recipe of a name."""
    return next(recipe for recipe in RECIPES if recipe.name == name)


def is_exhaustive(name: str) -> bool:
    """Return whether a recipe compares every vector with a query, and so has nothing to train."""
    return recipe_named(name).family is FlatIndex


def suitable(dim: int, *, on_gpu: bool = False) -> Iterator[Recipe]:
    """Return the recipes for vectors of a dimension; with `on_gpu`, those with a GPU form."""
    return (r for r in RECIPES if r.suits(dim) and (r.has_gpu_form or not on_gpu))

"""Training and filling a FAISS index, as its recipe says."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import numpy as np

from isthmus.index.ann.recipes import GRAPH, Recipe
from isthmus.index.ann.shared import Shared
from isthmus.numerics.arrays import FloatArray
from isthmus.progress import progress_bar

TRAINING_ROWS_A_CELL = 64
TRAINING_ROWS = 65_536
ADDED_AT_ONCE = 65_536
CONSTRUCTION = 100  # candidates for a node's links (efConstruction); with FAISS's 40 they are worse


def train(recipe: Recipe, vectors: FloatArray, shared: Shared) -> Any:
    """Make an empty FAISS index, trained for vectors of shape (n, dim)."""
    faiss: Any = import_module("faiss")
    rows, dim = vectors.shape
    graph = recipe.family == "hnsw"
    metric = faiss.METRIC_L2 if graph else faiss.METRIC_INNER_PRODUCT  # the same at unit norm
    index = faiss.index_factory(dim, recipe.factory(rows, dim), metric)
    if graph:
        index.hnsw.efConstruction = CONSTRUCTION
    cells = _accept_few_points(index, recipe)
    taken = shared.centres is not None and len(shared.centres) == cells
    if taken:
        faiss.extract_index_ivf(index).quantizer.add(shared.centres)  # which then is not trained
    wanted = max(TRAINING_ROWS, 0 if taken else cells * TRAINING_ROWS_A_CELL)
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:wanted])
    start = time.perf_counter()
    index.train(np.ascontiguousarray(vectors[chosen]))
    if cells:
        centres = faiss.extract_index_ivf(index).quantizer.reconstruct_n(0, cells)
        shared.keep_centres(centres, time.perf_counter() - start)
    return index


def fill(
    index: Any, recipe: Recipe, vectors: FloatArray, shared: Shared, progress: str | None
) -> None:
    """Fill an empty FAISS index with the vectors that are shared over.

    A graph has the links that are shared; where there are none they are made first.
    """
    if recipe.family != "hnsw":
        _add(index, vectors, progress)
        return
    if not shared.has_links:
        graph = index if recipe == GRAPH else train(GRAPH, vectors, shared)
        start = time.perf_counter()
        _add(graph, vectors, progress)
        shared.keep_links(graph, time.perf_counter() - start)
        if graph is index:
            return
    faiss: Any = import_module("faiss")
    _add(faiss.downcast_index(index.storage), vectors, None)
    shared.link(index, len(vectors))


def _add(index: Any, vectors: FloatArray, progress: str | None) -> None:
    with progress_bar(progress or "", len(vectors), show=progress is not None) as advance:
        for start in range(0, len(vectors), ADDED_AT_ONCE):
            part = np.ascontiguousarray(vectors[start : start + ADDED_AT_ONCE])
            index.add(part)
            advance(len(part))


def _accept_few_points(index: Any, recipe: Recipe) -> int:
    """Keep FAISS from warning of small training sets on standard error; give the cells."""
    faiss: Any = import_module("faiss")
    if recipe.family != "ivf":
        return 0
    inverted = faiss.downcast_index(faiss.extract_index_ivf(index))
    inverted.cp.min_points_per_centroid = 1
    if hasattr(inverted, "pq"):
        inverted.pq.cp.min_points_per_centroid = 1
    return int(inverted.nlist)

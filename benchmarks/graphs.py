"""Graphs: among how many candidates links are chosen, and what the vectors are coded as.

``python benchmarks/graphs.py --vectors vectors --rows 40000``

Every graph has 16 links a node and is searched on one thread by held-out queries, with the smallest
search parameters that reach the recall. Links are made once for each number of candidates, from
8-bit codes, and shared. hnswlib's graph of float32 vectors, with its 200 candidates, stands beside
them where it is installed. Processor time counts, so that other work on the machine counts for
little.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common.arguments import search_arguments
from common.data import Data, Floats, Integers, read_data, recall, worst_wanted, write_data
from common.tables import print_table

from isthmus.index.ann import hnsw
from isthmus.index.ann.contract import Recipe, SharedTraining, VectorIndex
from isthmus.index.ann.hnsw import LINKS_RECIPE, HnswIndex
from isthmus.index.ann.recipes import RECIPES
from isthmus.index.ann.search_parameters import smallest_sufficient

K = 10
MOST = 400
HEADS = ("graph", "links among", "build s", "bytes/vector", "parameters", "recall@10", "queries/s")

Search = Callable[[int], Integers]


def cheapest(
    data: Data, worst: Floats, search: Search, target: float, repeats: int
) -> tuple[int, float, float]:
    """Return the least number with which a search reaches the recall, the recall, and the rate."""

    def reached(number: int) -> float:
        return recall(data.base, data.queries, search(number), worst)

    number = smallest_sufficient(reached, K, MOST, target) or MOST
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        search(number)
        seconds.append(time.process_time() - start)
    return number, reached(number), len(data.queries) / min(seconds)


def ours(
    data: Data, worst: Floats, candidates: int, target: float, repeats: int
) -> Iterator[tuple[Any, ...]]:
    """Measure our graphs with links chosen among so many candidates."""
    hnsw.EF_CONSTRUCTION = candidates
    shared = SharedTraining()
    others = [r for r in RECIPES if r.family is HnswIndex and r != LINKS_RECIPE]
    for recipe in (LINKS_RECIPE, *others):
        start = time.process_time()
        index = recipe.build(data.base, shared=shared)
        built = time.process_time() - start
        width, refine_factor, reached, rate = _best_parameters(
            index, recipe, data, worst, target, repeats
        )
        parameters = HnswIndex.search_parameters(width, refine_factor)
        yield recipe.name, candidates, built, index.bytes_per_vector, parameters, reached, rate


def _best_parameters(
    index: VectorIndex, recipe: Recipe, data: Data, worst: Floats, target: float, repeats: int
) -> tuple[int, int, float, float]:
    tried = []
    for refine_factor in recipe.refine_factors[:4]:

        def search(width: int, refine_factor: int = refine_factor) -> Integers:
            return index.with_width(width, refine_factor).search(data.queries, K)[1]

        width, reached, rate = cheapest(data, worst, search, target, repeats)
        tried.append((reached >= target, rate, width, refine_factor, reached))
    _, rate, width, refine_factor, reached = max(tried)
    return width, refine_factor, reached, rate


def theirs(data: Data, worst: Floats, target: float, repeats: int) -> tuple[Any, ...]:
    """Measure hnswlib's graph."""
    hnswlib: Any = import_module("hnswlib")
    start = time.process_time()
    graph = hnswlib.Index("ip", data.base.shape[1])
    graph.init_index(len(data.base), M=16, ef_construction=200, random_seed=0)
    graph.add_items(data.base, num_threads=1)
    built = time.process_time() - start

    def search(number: int) -> Integers:
        graph.set_ef(number)
        return np.asarray(graph.knn_query(data.queries, K, num_threads=1)[0], np.int64)

    number, reached, rate = cheapest(data, worst, search, target, repeats)
    size = graph.index_file_size() / len(data.base)
    return "hnswlib, fp32", 200, built, size, f"ef={number}", reached, rate


def main() -> None:
    """Compare."""
    parser = search_arguments(__doc__, Path(tempfile.gettempdir()) / "graphs.json", repeats=5)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--candidates", type=int, nargs="+", default=[40, 100, 200])
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_data(given.vectors, Path(folder), given.rows, given.queries)
        data = read_data(Path(folder))
        worst = worst_wanted(data.base, data.queries, K)
        rows = [
            row
            for candidates in given.candidates
            for row in ours(data, worst, candidates, given.recall, given.repeats)
        ]
        if find_spec("hnswlib"):
            rows.append(theirs(data, worst, given.recall, given.repeats))
    print_table(
        HEADS,
        [
            (name, str(n), f"{s:.1f}", f"{size:,.0f}", str(e), f"{reached:.4f}", f"{rate:,.0f}")
            for name, n, s, size, e, reached, rate in rows
        ],
    )


if __name__ == "__main__":
    main()

"""HNSW graphs: efConstruction, and the codes of the vectors.

``python benchmarks/graphs.py --vectors vectors --rows 40000``

Every graph has 16 links per node and is searched on one thread by held-out queries, with the
smallest search parameters that reach the recall. For each efConstruction the links are built once,
from 8-bit codes, and shared. hnswlib's graph of float32 vectors (efConstruction 200) is included
where it is installed. Times are processor time, to reduce the influence of other processes.
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
from common.data import Data, Floats, Integers, kth_best_scores, read_data, recall, write_data
from common.tables import print_table

from isthmus.index.ann import hnsw
from isthmus.index.ann.contract import Recipe, SharedTraining, VectorIndex
from isthmus.index.ann.hnsw import LINKS_RECIPE, HnswIndex
from isthmus.index.ann.recipes import RECIPES
from isthmus.index.ann.search_parameters import smallest_sufficient

K = 10
MAX_EF = 400
HEADERS = (
    "graph",
    "links among",
    "build s",
    "bytes/vector",
    "parameters",
    "recall@10",
    "queries/s",
)

Search = Callable[[int], Integers]


def smallest_sufficient_ef(
    data: Data, kth_scores: Floats, search: Search, target: float, repeats: int
) -> tuple[int, float, float]:
    """Return the smallest ef that reaches the target recall, the recall, and queries per second."""

    def recall_at(ef: int) -> float:
        return recall(data.base, data.queries, search(ef), kth_scores)

    ef = smallest_sufficient(recall_at, K, MAX_EF, target) or MAX_EF
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        search(ef)
        seconds.append(time.process_time() - start)
    return ef, recall_at(ef), len(data.queries) / min(seconds)


def measure_isthmus(
    data: Data, kth_scores: Floats, candidates: int, target: float, repeats: int
) -> Iterator[tuple[Any, ...]]:
    """Measure the graphs of Isthmus with an efConstruction of `candidates`."""
    hnsw.EF_CONSTRUCTION = candidates
    shared = SharedTraining()
    other_recipes = [r for r in RECIPES if r.family is HnswIndex and r != LINKS_RECIPE]
    for recipe in (LINKS_RECIPE, *other_recipes):
        start = time.process_time()
        index = recipe.build(data.base, shared=shared)
        built = time.process_time() - start
        width, refine_factor, measured_recall, rate = _best_parameters(
            index, recipe, data, kth_scores, target, repeats
        )
        parameters = HnswIndex.search_parameters(width, refine_factor)
        yield (
            recipe.name,
            candidates,
            built,
            index.bytes_per_vector,
            parameters,
            measured_recall,
            rate,
        )


def _best_parameters(
    index: VectorIndex, recipe: Recipe, data: Data, kth_scores: Floats, target: float, repeats: int
) -> tuple[int, int, float, float]:
    trials = []
    for refine_factor in recipe.refine_factors[:4]:

        def search(width: int, refine_factor: int = refine_factor) -> Integers:
            return index.with_width(width, refine_factor).search(data.queries, K)[1]

        width, measured_recall, rate = smallest_sufficient_ef(
            data, kth_scores, search, target, repeats
        )
        trials.append((measured_recall >= target, rate, width, refine_factor, measured_recall))
    _, rate, width, refine_factor, measured_recall = max(trials)
    return width, refine_factor, measured_recall, rate


def measure_hnswlib(data: Data, kth_scores: Floats, target: float, repeats: int) -> tuple[Any, ...]:
    """Measure hnswlib's graph."""
    hnswlib: Any = import_module("hnswlib")
    start = time.process_time()
    graph = hnswlib.Index("ip", data.base.shape[1])
    graph.init_index(len(data.base), M=16, ef_construction=200, random_seed=0)
    graph.add_items(data.base, num_threads=1)
    built = time.process_time() - start

    def search(ef: int) -> Integers:
        graph.set_ef(ef)
        return np.asarray(graph.knn_query(data.queries, K, num_threads=1)[0], np.int64)

    ef, measured_recall, rate = smallest_sufficient_ef(data, kth_scores, search, target, repeats)
    size = graph.index_file_size() / len(data.base)
    return "hnswlib, fp32", 200, built, size, f"ef={ef}", measured_recall, rate


def main() -> None:
    """Compare the graphs, and print the table."""
    parser = search_arguments(__doc__, Path(tempfile.gettempdir()) / "graphs.json", repeats=5)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--candidates", type=int, nargs="+", default=[40, 100, 200])
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_data(arguments.vectors, Path(folder), arguments.rows, arguments.queries)
        data = read_data(Path(folder))
        kth_scores = kth_best_scores(data.base, data.queries, K)
        rows = [
            row
            for candidates in arguments.candidates
            for row in measure_isthmus(
                data, kth_scores, candidates, arguments.recall, arguments.repeats
            )
        ]
        if find_spec("hnswlib"):
            rows.append(measure_hnswlib(data, kth_scores, arguments.recall, arguments.repeats))
    print_table(
        HEADERS,
        [
            (
                name,
                str(candidates),
                f"{seconds:.1f}",
                f"{size:,.0f}",
                str(parameters),
                f"{measured_recall:.4f}",
                f"{rate:,.0f}",
            )
            for name, candidates, seconds, size, parameters, measured_recall, rate in rows
        ],
    )


if __name__ == "__main__":
    main()

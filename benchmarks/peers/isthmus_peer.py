"""Isthmus: a space with precomputed vectors, published for a target recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common.data import AttributeFilter, Floats, Integers
from common.standin import lookup_encoder, write_items

from isthmus import Space
from isthmus.errors import ImpossibleTargets, ReleaseRejected
from isthmus.index.ann.faiss_index import MIN_RESULTS, FaissIndex
from isthmus.index.releases.release import Releases
from peers.peer import Peer

VECTOR_NAME = "text"
WARM_UP_ROWS = 1_000
RECALLS = (0.92, 0.93, 0.94, 0.95, 0.97, 0.99)


class IsthmusPeer(Peer):
    """A `Space`, searched by vector; row numbers are the item ids."""

    settings = "publish(recall=...), reopened"
    measured = "its index file, or its vectors where it searches exactly"
    filters = True

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Fill a space; `tune` publishes."""
        self._path = self.folder / "items.space"
        self._rows, self._dim = vectors.shape
        self._first_vectors = np.array(vectors[:WARM_UP_ROWS])
        self._published: float | None = None
        items = self.folder / "items.parquet"
        mapping = write_items(items, range(self._rows), attributes)
        self._space = Space.create(self._path, {"text": lookup_encoder(vectors)})
        self._space.upsert(items, **mapping)

    def grids(self, rows: int) -> list[list[Any]]:
        """Return recalls to publish for."""
        del rows
        return [list(RECALLS)]

    def tune(self, parameters: Any) -> None:
        """Publish for a recall; the space estimates it on its catalog, not on these queries."""
        if parameters == self._published:
            return
        try:
            self.manifest = self._space.publish(recall=parameters)
        except (ReleaseRejected, ImpossibleTargets) as error:
            raise ValueError(f"recall {parameters} is out of reach: {error}") from error
        self._published = parameters
        self._space = Space.open(self._path)

    def search(self, queries: Floats, k: int) -> Any:
        """Search by many vectors."""
        return self._space.search_batch(queries, k=k)

    def search_one(self, query: Floats, k: int) -> Any:
        """Search by one vector."""
        return self._space.search(vector=query, k=k)

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search with a predicate."""
        return self._space.search_batch(queries, k=k, where=row_filter.sql)

    def search_one_filtered(self, query: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search by one vector with a predicate."""
        return self._space.search(vector=query, k=k, where=row_filter.sql)

    def rows(self, results: Any, queries: int, k: int) -> Integers:
        """Return the row numbers that the item ids of the results name."""
        ids = results.item_ids
        numbers = [-1 if name is None else int(name) for name in ids.ravel()]
        return np.array(numbers, np.int64).reshape(queries, k)

    def bytes(self) -> int:
        """Return the size of the index file, or of the vectors."""
        path = index_path(self._path)
        return path.stat().st_size if path else self._rows * self._dim * 4

    def use_threads(self, threads: int) -> None:
        """Set the threads of FAISS."""
        faiss.omp_set_num_threads(threads)

    def recipe(self) -> str:
        """Name the index that was published."""
        vector = self.manifest.named_vectors[VECTOR_NAME]
        return f"{vector.recipe} {vector.parameters}"

    def upsert_seconds(self, count: int) -> float:
        """Return the seconds of an upsert of new items and of the next search."""
        items = self.folder / "more.parquet"
        mapping = write_items(items, range(self._rows, self._rows + count))
        space = Space.open(self._path, encoder={"text": lookup_encoder(self._first_vectors)})
        space.search(vector=self._first_vectors[0])
        start = time.perf_counter()
        space.upsert(items, **mapping)
        space.search(vector=self._first_vectors[0])
        return time.perf_counter() - start

    def overhead(
        self, queries: Path, k: int, repeats: int, clock: Callable[[], float]
    ) -> dict[str, list[float]] | None:
        """Time Isthmus and direct FAISS calls on the same index, taking turns.

        Returns
        -------
        dict or None
            Seconds of ``batch``, ``raw batch``, ``single`` and ``raw single``; None where the
            space searches exactly, without an index.
        """
        raw = raw_index(self._path, k)
        if raw is None:
            return None
        index, n_results, parameters = raw
        query_vectors = np.load(queries)
        seconds: dict[str, list[float]] = {}
        batch_calls = {
            "batch": lambda: self._space.search_batch(query_vectors, k=k),
            "raw batch": lambda: index.search(query_vectors, n_results, params=parameters),
        }
        single_calls = {
            "single": lambda query: self._space.search(vector=query, k=k),
            "raw single": lambda query: index.search(query[None], n_results, params=parameters),
        }
        for _ in range(repeats):
            for name, call in batch_calls.items():
                seconds.setdefault(name, []).append(_seconds(call, clock))
            for name, call_one in single_calls.items():
                seconds.setdefault(name, []).extend(
                    _seconds(partial(call_one, q), clock) for q in query_vectors
                )
        return seconds


def index_path(space: Path) -> Path | None:
    """Return the path of the current release's FAISS file, or None where search is exact."""
    folder = space / "releases" / (space / "CURRENT").read_text().split()[0]
    return next(iter(sorted(folder.glob(f"{VECTOR_NAME}*.faiss"))), None)


def raw_index(space: Path, k: int) -> tuple[Any, int, Any] | None:
    """Return the current release's FAISS index and its search parameters.

    Returns
    -------
    tuple or None
        The index, and the number of results and the parameters with which Isthmus searches it;
        None where the search is exact.
    """
    release = Releases(space).current()
    index = release.segment.named_vectors[VECTOR_NAME].index if release else None
    if not isinstance(index, FaissIndex) or index.faiss_index is None:
        return None
    n_results = min(max(k, MIN_RESULTS), len(index))
    return index.faiss_index, index.n_rescored(n_results), index.faiss_parameters(n_results)


def _seconds(work: Any, clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start

"""Chroma: a graph over float32 vectors, metadata in SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import chromadb
import numpy as np
from chromadb.api.client import SharedSystemClient
from common.data import AttributeFilter, Floats, Integers

from peers.peer import Peer, padded, steps

NAME = "items"
CHUNK_ROWS = 5_000


class ChromaPeer(Peer):
    """A collection of a `chromadb.PersistentClient`."""

    settings = "max_neighbors=16, ef_construction=200, float32"
    measured = "its graph's files; metadata is beside them"
    filters = True

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Fill a collection."""
        hnsw = {"space": "ip", "ef_construction": 200, "max_neighbors": 16, "ef_search": 10}
        self._items = self._client().create_collection(
            NAME, configuration={"hnsw": hnsw}, embedding_function=None
        )
        for start in range(0, len(vectors), CHUNK_ROWS):
            rows = range(start, min(start + CHUNK_ROWS, len(vectors)))
            self._items.add(
                ids=[str(n) for n in rows],
                embeddings=np.asarray(vectors[start : start + CHUNK_ROWS]),
                metadatas=[{name: int(v[n]) for name, v in attributes.items()} for n in rows],
            )

    def grids(self, rows: int) -> list[list[Any]]:
        """Return values of ef_search."""
        return [steps(10, min(rows, 1_000))]

    def tune(self, parameters: Any) -> None:
        """Set ef_search, and reopen the collection, since it applies from the next opening."""
        self._items.modify(configuration={"hnsw": {"ef_search": parameters}})
        del self._items
        SharedSystemClient.clear_system_cache()
        self._items = self._client().get_collection(NAME, embedding_function=None)

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._run(queries, k, None)

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search with a filter over metadata."""
        return self._run(queries, k, {row_filter.attribute: {"$lt": row_filter.below}})

    def _run(self, queries: Floats, k: int, where: Any) -> Any:
        return self._items.query(query_embeddings=queries, n_results=k, where=where, include=[])

    def rows(self, results: Any, queries: int, k: int) -> Integers:
        """Read the ids."""
        del queries
        return padded([[int(name) for name in names] for names in results["ids"]], k)

    def bytes(self) -> int:
        """Return the size of its graph's files."""
        return sum(f.stat().st_size for f in (self.folder / "chroma").glob("*/*.bin"))

    def _client(self) -> Any:
        settings = chromadb.Settings(anonymized_telemetry=False)
        return chromadb.PersistentClient(str(self.folder / "chroma"), settings)

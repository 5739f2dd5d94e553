"""Qdrant in local mode: exact search with numpy inside this process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from common.data import AttributeFilter, Floats, Integers
from qdrant_client import QdrantClient, models

from peers.peer import Peer, padded

NAME = "items"
CHUNK_ROWS = 10_000


class QdrantPeer(Peer):
    """`QdrantClient(":memory:")`: local mode, which has no index, unlike the server."""

    settings = "local mode, in memory, exact"
    measured = "its float32 matrix"
    filters = True

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Fill a collection."""
        warnings.filterwarnings("ignore", message=".*Local mode.*")
        self._bytes = vectors.size * 4
        self._client = QdrantClient(":memory:")
        shape = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
        self._client.create_collection(NAME, vectors_config=shape)
        for start in range(0, len(vectors), CHUNK_ROWS):
            ids = range(start, min(start + CHUNK_ROWS, len(vectors)))
            payload = [{name: int(v[n]) for name, v in attributes.items()} for n in ids]
            part = np.asarray(vectors[start : start + CHUNK_ROWS])
            self._client.upload_collection(NAME, vectors=part, payload=payload, ids=ids)

    def grids(self, rows: int) -> list[list[Any]]:
        """Return the only setting."""
        del rows
        return [["exact"]]

    def tune(self, parameters: Any) -> None:
        """Do nothing: exact search has no parameters."""

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._run(queries, k, None)

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search with a filter over payloads."""
        condition = models.FieldCondition(
            key=row_filter.attribute, range=models.Range(lt=row_filter.below)
        )
        return self._run(queries, k, models.Filter(must=[condition]))

    def _run(self, queries: Floats, k: int, query_filter: models.Filter | None) -> Any:
        requests = [
            models.QueryRequest(query=q.tolist(), limit=k, filter=query_filter, with_payload=False)
            for q in queries
        ]
        return self._client.query_batch_points(NAME, requests)

    def rows(self, results: Any, queries: int, k: int) -> Integers:
        """Read the ids of points."""
        del queries
        return padded([[int(p.id) for p in answer.points] for answer in results], k)

    def bytes(self) -> int:
        """Return the size of its matrix."""
        return self._bytes

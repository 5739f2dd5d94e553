"""LanceDB: graphs over 8-bit codes in a table on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from common.data import AttributeFilter, Floats, Integers
from lancedb.index import BTree, HnswSq

from peers.peer import Peer, steps


class LancedbPeer(Peer):
    """A table with `HnswSq` over the vectors and `BTree` over the attributes."""

    settings = "HnswSq with the default number of partitions, BTree over attributes"
    measured = "its index files, which it keeps in memory; the float32 vectors stay on disk"
    filters = True

    def build(self, vectors: Floats, attributes: Mapping[str, Integers]) -> None:
        """Write the table and index it."""
        column = pa.FixedSizeListArray.from_arrays(
            np.ascontiguousarray(vectors).ravel(), vectors.shape[1]
        )
        columns = {"row": np.arange(len(vectors)), **attributes, "vector": column}
        database = lancedb.connect(self.folder / "lancedb")
        self._table = database.create_table("items", pa.table(columns))
        self._table.create_index("vector", config=HnswSq(distance_type="dot"))
        for name in attributes:
            self._table.create_index(name, config=BTree())

    def grids(self, rows: int) -> list[list[Any]]:
        """Return triples of nprobes, ef and refine factor."""
        max_ef = min(rows, 1_000)
        return [[(20, ef, factor) for ef in steps(10 * (factor or 1), max_ef)] for factor in (0, 2)]

    def tune(self, parameters: Any) -> None:
        """Set nprobes, ef and the refine factor."""
        self._probes, self._ef, self._factor = parameters

    def search(self, queries: Floats, k: int) -> Any:
        """Search by many vectors in one request."""
        return self._run(queries, k, None)

    def search_filtered(self, queries: Floats, k: int, row_filter: AttributeFilter) -> Any:
        """Search with a prefilter."""
        return self._run(queries, k, row_filter)

    def _run(self, queries: Floats, k: int, row_filter: AttributeFilter | None) -> Any:
        vectors = list(queries) if len(queries) > 1 else queries[0]
        query = self._table.search(vectors).nprobes(self._probes).ef(self._ef).limit(k)
        if self._factor:
            query = query.refine_factor(self._factor)
        if row_filter:
            query = query.where(row_filter.sql, prefilter=True)
        return query.select(["row", "_distance"]).to_arrow()

    def rows(self, results: Any, queries: int, k: int) -> Integers:
        """Return the row numbers of each query from the result table."""
        return _by_query(results, queries, k)

    def bytes(self) -> int:
        """Return the size of the index files."""
        files = (self.folder / "lancedb").rglob("_indices/*/*")
        return sum(file.stat().st_size for file in files)


def _by_query(table: pa.Table, queries: int, k: int) -> Integers:
    out = np.full((queries, k), -1, np.int64)
    rows = table["row"].to_numpy()
    if queries == 1:
        out[0, : len(rows)] = rows
        return out
    query = table["query_index"].to_numpy()
    order = np.lexsort((table["_distance"].to_numpy(), query))
    query, rows = query[order], rows[order]
    position = np.arange(len(query)) - np.searchsorted(query, query)
    out[query, position] = rows
    return out

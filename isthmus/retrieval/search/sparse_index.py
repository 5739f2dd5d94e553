"""The learned sparse vectors of items, as an inverted index in memory.

A query is compared with every item that has one of its terms, exactly.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from isthmus.digests import DigestIndex, keys_of
from isthmus.encoders.embedding_cache import RecordCache
from isthmus.encoders.models.learned_sparse import TERM, TERM_WEIGHT
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import Positions
from isthmus.retrieval.search.query import ScoredRows, order_of
from isthmus.schema import CONTENT_HASH

NO_TEXT = -2
NO_RECORD = -1


class SparseIndex:
    """The terms of contents, by term.

    Parameters
    ----------
    cache : RecordCache
        The records of all contents.
    n_terms : int
        Size of the vocabulary.
    """

    def __init__(self, cache: RecordCache, n_terms: int) -> None:
        from scipy.sparse import csr_array

        hashes: list[bytes] = []
        parts = []
        for batch, records in cache.scan_records():
            hashes += batch
            parts += records
        lengths = [len(records) for records in parts]
        joined = np.concatenate([np.empty(0, cache.dtype), *parts])
        starts = np.cumsum([0, *lengths])
        rows = csr_array((joined[TERM_WEIGHT], joined[TERM], starts), shape=(len(parts), n_terms))
        self._by_term = rows.tocsc()
        self._index = DigestIndex(keys_of(hashes))
        self._positions: WeakKeyDictionary[View, Positions] = WeakKeyDictionary()

    def search(
        self, view: View, query: np.ndarray[Any, Any], depth: int, selection: Selection | None
    ) -> ScoredRows:
        """Rank the rows that share a term with a query by the inner product, at most `depth`."""
        positions = self.positions(view)
        passing = (selection or view.living).rows & (positions >= 0)
        rows = np.flatnonzero(passing)
        terms = self._by_term[:, query[TERM]]
        by_content = np.asarray(terms @ query[TERM_WEIGHT], np.float32)
        scores = by_content[positions[rows]]
        if np.count_nonzero(scores > 0) > depth:
            least = np.partition(scores, -depth)[-depth]
            keep = scores >= least  # all that tie with the last place
        else:
            keep = scores > 0
        rows, scores = rows[keep], scores[keep]
        order = order_of(view, rows, scores)[:depth]
        return rows[order], scores[order]

    def positions(self, view: View) -> Positions:
        """Return the position of each row's content; `NO_RECORD` and `NO_TEXT` where none is."""
        if view not in self._positions:
            column = CONTENT_HASH["text"]
            row_ids = view.row_ids(np.arange(len(view.living.rows)))
            hashes = view.snapshot.fetch(row_ids, [column]).column(column).to_pylist()
            has_text = np.array([value is not None for value in hashes], bool)
            found = np.full(len(hashes), NO_TEXT, np.int64)
            found[has_text] = self._index.find(keys_of(h for h in hashes if h is not None))
            self._positions[view] = found
        return self._positions[view]

    def n_without_record(self, view: View, selection: Selection | None) -> int:
        """Return how many rows have a text and no record."""
        passing = (selection or view.living).rows
        return int((passing & (self.positions(view) == NO_RECORD)).sum())

"""A segment: an immutable set of items with their vectors, searched as one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.encoders.fusion import MaskedVectors
from isthmus.encoders.stack import NamedVector
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import drop, exact_search
from isthmus.index.ann.faiss_index import VectorIndex
from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.catalog.snapshot import RowIds, row_ids_of
from isthmus.index.lru_cache import Recent
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.schema import DOMAIN, ITEM_ID

NEARLY_ALL = 0.9

SUMMED_ROWS = 50_000
ROWS_A_LOOKUP = 60
FEW_NAMES = 40
MOST_KNOWN = 50_000

Names = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Segment:
    """Items with row ids, names, domains and vectors.

    Attributes
    ----------
    row_ids : numpy.ndarray
        uint64, shape (n,): the catalog's stable row ids.
    item_ids : pyarrow.StringArray
        Length n.
    domains : pyarrow.DictionaryArray
        Length n.
    named_vectors : mapping of str to SegmentVectors
        Vectors by named vector.
    """

    row_ids: RowIds
    item_ids: pa.StringArray
    domains: pa.DictionaryArray
    named_vectors: Mapping[str, SegmentVectors] = field(default_factory=dict)
    filtered: Recent[Bitmap] = field(init=False, default_factory=Recent, repr=False)
    _known: dict[str, int] = field(init=False, default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.row_ids)

    def all_rows(self) -> Bitmap:
        """Allow every row."""
        return Bitmap(np.ones(len(self), bool))

    @cached_property
    def _by_row_id(self) -> tuple[RowIds, Positions]:
        order = np.argsort(self.row_ids, kind="stable")
        return self.row_ids[order], order

    def mask_of(self, row_ids: RowIds) -> Mask:
        """Mark the rows whose row id is given, shape (n,)."""
        mask = np.zeros(len(self), bool)
        if len(self) and len(row_ids):
            known, order = self._by_row_id
            at = np.minimum(np.searchsorted(known, row_ids), len(known) - 1)
            mask[order[at[known[at] == row_ids]]] = True
        return mask

    def find(self, item_ids: Sequence[str]) -> Positions:
        """Give the row of each item, or -1 where it has none, shape (len(item_ids),)."""
        if len(item_ids) * ROWS_A_LOOKUP < len(self):
            return np.array([self._found(name) for name in item_ids], np.int64)
        at = pc.index_in(pa.array(item_ids, pa.string()), value_set=self.item_ids)
        return np.asarray(at.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)

    def _found(self, item_id: str) -> int:
        """Look an item up, and remember it: those of histories are asked for again and again."""
        row = self._known.get(item_id)
        if row is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            row = self._known[item_id] = self._look_up(item_id)
        return row

    def _look_up(self, item_id: str) -> int:
        order, names = self._by_item_id, self.item_ids
        at = bisect_left(order, item_id, key=lambda row: names[row].as_py())
        found = at < len(order) and names[order[at]].as_py() == item_id
        return int(order[at]) if found else -1

    @cached_property
    def _by_item_id(self) -> npt.NDArray[np.uint64]:
        return np.asarray(pc.sort_indices(self.item_ids).to_numpy())

    def domains_at(self, rows: Positions) -> Names:
        """Give the domains of rows, str objects of shape (len(rows),)."""
        codes, names = self._domain_codes
        return names[codes[rows]]

    @cached_property
    def _domain_codes(self) -> tuple[npt.NDArray[np.int32], Names]:
        codes = self.domains.indices.to_numpy(zero_copy_only=False)
        return codes, np.array(self.domains.dictionary.to_pylist(), object)

    def mask_of_domains(self, names: Collection[str]) -> Mask:
        """Mark the rows of some domains, shape (n,)."""
        codes = [i for i, d in enumerate(self.domains.dictionary.to_pylist()) if d in names]
        return np.isin(self.domains.indices.to_numpy(zero_copy_only=False), codes)

    @cached_property
    def domain_sums(self) -> dict[str, tuple[npt.NDArray[np.float64], Positions]]:
        """For each named vector, the sum of each domain's vectors and how many they are.

        Shapes (n_domains, dim) and (n_domains, 1); of large segments a sample.
        """
        return {
            name: self._domain_sums(vector_name) for name, vector_name in self.named_vectors.items()
        }

    def _domain_sums(
        self, segment_vectors: SegmentVectors
    ) -> tuple[npt.NDArray[np.float64], Positions]:
        step = max(1, len(segment_vectors.rows) // SUMMED_ROWS)
        codes = self.domains.indices.to_numpy(zero_copy_only=False)[segment_vectors.rows[::step]]
        domains = len(self.domains.dictionary)
        member = np.arange(domains)[:, None] == codes
        sums = member.astype(np.float32) @ np.asarray(segment_vectors.vectors[::step])
        return sums.astype(np.float64), member.sum(axis=1, keepdims=True)

    def without_index(self) -> Segment:
        """Give the same segment, searched exactly."""
        plain = {
            name: replace(vector_name, index=None)
            for name, vector_name in self.named_vectors.items()
        }
        return replace(self, named_vectors=plain)

    def vectors(self, vector_name: str, rows: Positions) -> MaskedVectors:
        """Give the vectors of rows, shape (len(rows), dim); zero where a row has none."""
        own = self.named_vectors[vector_name]
        if len(own.rows) == len(self) and int(rows.min(initial=0)) >= 0:  # every row has one
            return MaskedVectors(
                np.asarray(own.vectors.take(rows, axis=0)), np.ones(len(rows), bool)
            )
        out = np.zeros((len(rows), own.vectors.shape[1]), np.float32)
        if len(own.rows) == 0:
            return MaskedVectors(out, np.zeros(len(rows), bool))
        at = np.minimum(np.searchsorted(own.rows, rows), len(own.rows) - 1)
        present = own.rows[at] == rows
        out[present] = own.vectors[at[present]]
        return MaskedVectors(out, present)


def names_at(names: pa.Array, rows: Positions) -> Names:
    """Give the names at some rows, str objects of shape (len(rows),)."""
    if len(rows) <= FEW_NAMES:  # a call into Arrow costs as much as some fifty names
        out = np.empty(len(rows), object)
        for place, row in enumerate(rows.tolist()):
            out[place] = names[row].as_py()
        return out
    return np.asarray(names.take(pa.array(rows)).to_numpy(zero_copy_only=False), object)


def segment_of(batch: pa.RecordBatch, named_vectors: Sequence[NamedVector]) -> Segment:
    """Make a segment of catalog rows (item_id, domain, row id and vector columns)."""
    return Segment(
        row_ids=row_ids_of(batch),
        item_ids=batch.column(ITEM_ID),
        domains=batch.column(DOMAIN).dictionary_encode(),
        named_vectors={
            named_vector.name: SegmentVectors(
                *dense(batch.column(named_vector.column), named_vector.dim)
            )
            for named_vector in named_vectors
        },
    )


def dense(column: pa.ListArray, dim: int) -> tuple[FloatArray, Positions]:
    """Give the vectors of a column that are there, (n_present, dim), and their rows."""
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(-1, dim), np.float32), rows


def has_vector(batch: pa.RecordBatch, named_vectors: Sequence[NamedVector]) -> pa.BooleanArray:
    """Mark the rows that have a vector in some named vector."""
    return reduce(pc.or_, (pc.is_valid(batch.column(b.column)) for b in named_vectors))


def join_segments(segments: Sequence[Segment], alive: Sequence[Mask]) -> Segment:
    """Make one segment of the living rows of several."""
    keep = [np.flatnonzero(mask) for mask in alive]
    offsets = np.cumsum([0, *map(len, keep)])
    names = list(segments[0].named_vectors)
    return Segment(
        row_ids=np.concatenate([s.row_ids[k] for s, k in zip(segments, keep, strict=True)]),
        item_ids=pa.concat_arrays(
            [s.item_ids.take(pa.array(k)) for s, k in zip(segments, keep, strict=True)]
        ),
        domains=pa.concat_arrays(
            [
                s.domains.take(pa.array(k)).dictionary_decode()
                for s, k in zip(segments, keep, strict=True)
            ]
        ).dictionary_encode(),
        named_vectors={name: _join_vectors(name, segments, keep, offsets) for name in names},
    )


def _join_vectors(
    name: str, segments: Sequence[Segment], keep: Sequence[Positions], offsets: Positions
) -> SegmentVectors:
    parts = [s.vectors(name, k) for s, k in zip(segments, keep, strict=True)]
    rows = [np.flatnonzero(part.present) for part in parts]
    return SegmentVectors(
        np.concatenate([part.vectors[part.present] for part in parts]),
        np.concatenate([r + offset for r, offset in zip(rows, offsets[:-1], strict=True)]),
    )


@dataclass(frozen=True, eq=False)
class SegmentVectors:
    """Vectors of one named vector of a segment.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_vectors, dim); may be memory-mapped.
    rows : numpy.ndarray
        int64, shape (n_vectors,), ascending: the segment's row of each vector.
    index : VectorIndex or None
        Finds vectors approximately; without one, search is exact.
    masked : MaskedCosts or None
        What a filtered search costs; without it, one is exact.
    known_misses : float
        Of the true best ten, how many are missed for an item that the index holds, for each that
        is missed for a content that it does not hold.
    """

    vectors: FloatArray
    rows: Positions
    index: VectorIndex | None = None
    masked: FilterCosts | None = None
    known_misses: float = 1.0

    def search(
        self, queries: FloatArray, k: int, allowed: Bitmap, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Find the best vectors for each query, each result of shape (n_queries, k).

        Never fewer than k are found where k are allowed: what the index leaves short is searched
        exactly.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            How many a query wants.
        allowed : Allowed
            Over the n_vectors.
        search_scale : float
            Share of the effort that the promised recall takes, up to 1.

        Returns
        -------
        scores, rows : numpy.ndarray
            float32 and int64: the segment's rows; -inf and -1 where there are no more.
        """
        scores, found = self._search(queries, k, allowed, search_scale)
        if len(self.rows) and self.rows[-1] == len(self.rows) - 1:
            return scores, found
        return scores, np.where(found >= 0, self.rows[found] if len(self.rows) else -1, -1)

    def _search(
        self, queries: FloatArray, k: int, allowed: Bitmap, search_scale: float
    ) -> tuple[FloatArray, Positions]:
        if self.index is None or allowed.count <= k:
            return exact_search(queries, self.vectors, k, allowed)
        if allowed.everything:
            scores, found = self.index.search(queries, k, search_scale)
        elif allowed.share >= NEARLY_ALL and 2 * k <= len(self.rows):
            scores, found = drop(*self.index.search(queries, 2 * k, search_scale), allowed, k)
        else:
            scores, found = self._search_allowed(queries, k, allowed, search_scale)
        short = (found[:, -1] < 0) if k else np.zeros(len(queries), bool)
        if short.any():
            scores[short], found[short] = exact_search(queries[short], self.vectors, k, allowed)
        return scores, found

    def _search_allowed(
        self, queries: FloatArray, k: int, allowed: Bitmap, search_scale: float
    ) -> tuple[FloatArray, Positions]:
        visits = None
        if self.masked is not None:
            visits = self.masked.visits_for(
                allowed.count, allowed.share, len(queries), search_scale
            )
        if self.index is None or visits is None:
            return exact_search(queries, self.vectors, k, allowed)
        return self.index.search_allowed(queries, k, allowed, visits, search_scale)

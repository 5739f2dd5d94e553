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
from isthmus.index.ann.contract import VectorIndex
from isthmus.index.ann.exact import exact_search, post_filter
from isthmus.index.ann.filter_costs import FilterCosts
from isthmus.index.catalog.snapshot import RowIds, row_ids_of
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.schema import DOMAIN, ITEM_ID

POST_FILTER_FROM = 0.9  # so large a fraction: twice the results are searched, then filtered
MAX_SUMMED_ROWS = 50_000  # for the mean of a domain
ROWS_PER_LOOKUP = 60  # Arrow's scan of so many rows costs as much as the binary search of an item
MAX_SINGLE_LOOKUPS = 40  # a call into Arrow costs as much as some fifty names
MAX_CACHED_ROWS = 50_000

Names = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class SegmentVectors:
    """The vectors of one name in a segment, and the ways to search them.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n_vectors, dim); may be memory-mapped.
    rows : numpy.ndarray
        int64, shape (n_vectors,), ascending: the segment's row of each vector.
    index : VectorIndex or None
        Approximate search; without an index, search is exact.
    filter_costs : FilterCosts or None
        Costs of filtered search; without them it is exact.
    indexed_miss_ratio : float
        The share of true results that is missed for items in the index, over the share that is
        missed for queries that the index does not hold.
    """

    vectors: FloatArray
    rows: Positions
    index: VectorIndex | None = None
    filter_costs: FilterCosts | None = None
    indexed_miss_ratio: float = 1.0

    def search(
        self, queries: FloatArray, k: int, bitmap: Bitmap, search_scale: float = 1.0
    ) -> tuple[FloatArray, Positions]:
        """Return the best vectors for each query, each result of shape (n_queries, k).

        There are never fewer than k results where the bitmap has k vectors: queries for which the
        index returns fewer are searched exactly.

        Parameters
        ----------
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            Number of results per query.
        bitmap : Bitmap
            Over the n_vectors.
        search_scale : float
            Factor on the search parameters that reach the recall target, at most 1.

        Returns
        -------
        scores, rows : numpy.ndarray
            float32 and int64: the segment's rows; -inf and -1 where there are no more.
        """
        scores, positions = self._search(queries, k, bitmap, search_scale)
        if self._has_every_row:
            return scores, positions
        return scores, np.where(positions >= 0, self.rows[positions] if len(self.rows) else -1, -1)

    @cached_property
    def _has_every_row(self) -> bool:
        return len(self.rows) > 0 and bool(self.rows[-1] == len(self.rows) - 1)

    def _search(
        self, queries: FloatArray, k: int, bitmap: Bitmap, search_scale: float
    ) -> tuple[FloatArray, Positions]:
        if self.index is None or bitmap.count <= k:
            return exact_search(queries, self.vectors, k, bitmap)
        if bitmap.is_full:
            scores, positions = self.index.search(queries, k, search_scale)
        elif bitmap.fraction >= POST_FILTER_FROM and 2 * k <= len(self.rows):
            found = self.index.search(queries, 2 * k, search_scale)
            scores, positions = post_filter(*found, bitmap, k)
        else:
            scores, positions = self._search_filtered(queries, k, bitmap, search_scale)
        if k and positions[:, -1].min(initial=0) < 0:
            short = positions[:, -1] < 0
            scores[short], positions[short] = exact_search(queries[short], self.vectors, k, bitmap)
        return scores, positions

    def _search_filtered(
        self, queries: FloatArray, k: int, bitmap: Bitmap, search_scale: float
    ) -> tuple[FloatArray, Positions]:
        n_candidates = None
        if self.filter_costs is not None:
            n_candidates = self.filter_costs.candidates_for(
                bitmap.count, bitmap.fraction, len(queries), search_scale
            )
        if self.index is None or n_candidates is None:
            return exact_search(queries, self.vectors, k, bitmap)
        return self.index.search_filtered(queries, k, bitmap, n_candidates, search_scale)


@dataclass(frozen=True, eq=False)
class Segment:
    """An immutable set of items with row ids, item ids, domains and vectors.

    Attributes
    ----------
    row_ids : numpy.ndarray
        uint64, shape (n,): the catalog's stable row ids.
    item_ids : pyarrow.StringArray
        Length n.
    domains : pyarrow.DictionaryArray
        Length n.
    named_vectors : mapping of str to SegmentVectors
        The vectors by name.
    """

    row_ids: RowIds
    item_ids: pa.StringArray
    domains: pa.DictionaryArray
    named_vectors: Mapping[str, SegmentVectors] = field(default_factory=dict)
    _cached_rows: dict[str, int] = field(init=False, default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.row_ids)

    def all_rows(self) -> Bitmap:
        """Return a full bitmap."""
        return Bitmap(np.ones(len(self), bool))

    @cached_property
    def _by_row_id(self) -> tuple[RowIds, Positions]:
        order = np.argsort(self.row_ids, kind="stable")
        return self.row_ids[order], order

    def mask_of(self, row_ids: RowIds) -> Mask:
        """Return a mask of the rows with these row ids, shape (n,)."""
        mask = np.zeros(len(self), bool)
        if len(self) and len(row_ids):
            ascending, order = self._by_row_id
            at = np.minimum(np.searchsorted(ascending, row_ids), len(ascending) - 1)
            mask[order[at[ascending[at] == row_ids]]] = True
        return mask

    def find(self, item_ids: Sequence[str]) -> Positions:
        """Return the row of each item, -1 for unknown items, shape (len(item_ids),)."""
        if len(item_ids) * ROWS_PER_LOOKUP < len(self):
            return np.array([self._row_of(item_id) for item_id in item_ids], np.int64)
        at = pc.index_in(pa.array(item_ids, pa.string()), value_set=self.item_ids)
        return np.asarray(at.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)

    def _row_of(self, item_id: str) -> int:
        """Return the cached row of an item: items of histories are looked up again and again."""
        row = self._cached_rows.get(item_id)
        if row is None:
            if len(self._cached_rows) >= MAX_CACHED_ROWS:
                self._cached_rows.clear()
            row = self._cached_rows[item_id] = self._look_up(item_id)
        return row

    def _look_up(self, item_id: str) -> int:
        order, item_ids = self._by_item_id, self.item_ids
        at = bisect_left(order, item_id, key=lambda row: item_ids[row].as_py())
        is_known = at < len(order) and item_ids[order[at]].as_py() == item_id
        return int(order[at]) if is_known else -1

    @cached_property
    def _by_item_id(self) -> npt.NDArray[np.uint64]:
        return np.asarray(pc.sort_indices(self.item_ids).to_numpy())

    def domains_at(self, rows: Positions) -> Names:
        """Return the domains of rows, str objects of shape (len(rows),)."""
        codes, names = self._domain_codes
        return names[codes[rows]]

    @cached_property
    def _domain_codes(self) -> tuple[npt.NDArray[np.int32], Names]:
        codes = self.domains.indices.to_numpy(zero_copy_only=False)
        return codes, np.array(self.domains.dictionary.to_pylist(), object)

    def mask_of_domains(self, names: Collection[str]) -> Mask:
        """Return a mask of the rows of some domains, shape (n,)."""
        codes = [i for i, d in enumerate(self.domains.dictionary.to_pylist()) if d in names]
        return np.isin(self.domains.indices.to_numpy(zero_copy_only=False), codes)

    @cached_property
    def domain_sums(self) -> dict[str, tuple[npt.NDArray[np.float64], Positions]]:
        """By name, the sum of each domain's vectors and their number.

        Shapes (n_domains, dim) and (n_domains, 1); of large segments over a sample.
        """
        return {name: self._domain_sums(vectors) for name, vectors in self.named_vectors.items()}

    def _domain_sums(
        self, segment_vectors: SegmentVectors
    ) -> tuple[npt.NDArray[np.float64], Positions]:
        step = max(1, len(segment_vectors.rows) // MAX_SUMMED_ROWS)
        codes = self.domains.indices.to_numpy(zero_copy_only=False)[segment_vectors.rows[::step]]
        domains = len(self.domains.dictionary)
        member = np.arange(domains)[:, None] == codes
        sums = member.astype(np.float32) @ np.asarray(segment_vectors.vectors[::step])
        return sums.astype(np.float64), member.sum(axis=1, keepdims=True)

    def without_index(self) -> Segment:
        """Return the same segment, searched exactly."""
        plain = {name: replace(vectors, index=None) for name, vectors in self.named_vectors.items()}
        return replace(self, named_vectors=plain)

    def vectors(self, vector_name: str, rows: Positions) -> MaskedVectors:
        """Return the vectors of rows, shape (len(rows), dim); zero where a row has none."""
        held = self.named_vectors[vector_name]
        if len(held.rows) == len(self) and int(rows.min(initial=0)) >= 0:  # every row has one
            return MaskedVectors(
                np.asarray(held.vectors.take(rows, axis=0)), np.ones(len(rows), bool)
            )
        out = np.zeros((len(rows), held.vectors.shape[1]), np.float32)
        if len(held.rows) == 0:
            return MaskedVectors(out, np.zeros(len(rows), bool))
        at = np.minimum(np.searchsorted(held.rows, rows), len(held.rows) - 1)
        present = held.rows[at] == rows
        out[present] = held.vectors[at[present]]
        return MaskedVectors(out, present)


def names_at(names: pa.Array, rows: Positions) -> Names:
    """Return the names of some rows, str objects of shape (len(rows),)."""
    if len(rows) <= MAX_SINGLE_LOOKUPS:
        out = np.empty(len(rows), object)
        for i, row in enumerate(rows.tolist()):
            out[i] = names[row].as_py()
        return out
    return np.asarray(names.take(pa.array(rows)).to_numpy(zero_copy_only=False), object)


def segment_of(batch: pa.RecordBatch, named_vectors: Sequence[NamedVector]) -> Segment:
    """Return a segment of catalog rows (item_id, domain, row id and vector columns)."""
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
    """Return the vectors of a column that are not null, (n_present, dim), and their rows."""
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(-1, dim), np.float32), rows


def has_vector(batch: pa.RecordBatch, named_vectors: Sequence[NamedVector]) -> pa.BooleanArray:
    """Return a mask of the rows that have any vector."""
    return reduce(pc.or_, (pc.is_valid(batch.column(b.column)) for b in named_vectors))


def join_segments(segments: Sequence[Segment], masks: Sequence[Mask]) -> Segment:
    """Return one segment of the rows of several that are in their masks, each (n_rows,)."""
    selected = [np.flatnonzero(mask) for mask in masks]
    offsets = np.cumsum([0, *map(len, selected)])
    names = list(segments[0].named_vectors)
    return Segment(
        row_ids=np.concatenate(
            [s.row_ids[rows] for s, rows in zip(segments, selected, strict=True)]
        ),
        item_ids=pa.concat_arrays(
            [s.item_ids.take(pa.array(rows)) for s, rows in zip(segments, selected, strict=True)]
        ),
        domains=pa.concat_arrays(
            [
                s.domains.take(pa.array(rows)).dictionary_decode()
                for s, rows in zip(segments, selected, strict=True)
            ]
        ).dictionary_encode(),
        named_vectors={name: _join_vectors(name, segments, selected, offsets) for name in names},
    )


def _join_vectors(
    name: str, segments: Sequence[Segment], selected: Sequence[Positions], offsets: Positions
) -> SegmentVectors:
    parts = [s.vectors(name, rows) for s, rows in zip(segments, selected, strict=True)]
    present = [np.flatnonzero(part.present) for part in parts]
    return SegmentVectors(
        np.concatenate([part.vectors[part.present] for part in parts]),
        np.concatenate([r + offset for r, offset in zip(present, offsets[:-1], strict=True)]),
    )

"""The view: what can be searched at one moment, the release plus all changes since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.encoders.fusion import MaskedVectors
from isthmus.encoders.stack import NamedVector
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import empty_result, merge_top_k
from isthmus.index.ann.segment import Names, Segment, names_at
from isthmus.index.catalog.filters.compiler import depends_on_time
from isthmus.index.catalog.snapshot import RowIds, Snapshot, require_domain
from isthmus.index.lru_cache import LRUCache
from isthmus.index.releases.filter_results import FilterResults
from isthmus.index.releases.release import Release
from isthmus.numerics.arrays import FloatArray, Mask, Positions

MAX_LOOKED_UP = 10_000  # rows of a segment that a filter fetches by id, rather than scan the table

Sums = npt.NDArray[np.float64]


class Selection:
    """The rows of a view that a filter lets through; immutable.

    Parameters
    ----------
    bitmaps : tuple of Bitmap
        One over the rows of each segment of the view.
    """

    def __init__(self, bitmaps: tuple[Bitmap, ...]) -> None:
        self.bitmaps = bitmaps

    @property
    def count(self) -> int:
        """Number of rows."""
        return sum(bitmap.count for bitmap in self.bitmaps)

    @cached_property
    def rows(self) -> Mask:
        """The selection as one mask over all rows of the view."""
        return np.concatenate([np.zeros(0, bool), *(bitmap.mask for bitmap in self.bitmaps)])


@dataclass(frozen=True)
class RowFilter:
    """A filter of items, evaluated segment by segment; results are cached by segment.

    Attributes
    ----------
    domains : frozenset of str or None
        The item is in one of these domains.
    where : str or None
        This SQL predicate is true of the item.
    attributes : str
        What the names in it mean, see `isthmus.index.catalog.attributes.Attributes.key`.
    """

    domains: frozenset[str] | None
    where: str | None
    attributes: str = ""

    @cached_property
    def is_cacheable(self) -> bool:
        """Whether the result for an item never changes, as it would with the time."""
        if self.where is None:
            return True
        return isinstance(self.where, str) and not depends_on_time(self.where)

    def of_segment(
        self, segment: Segment, alive: Bitmap, results: FilterResults, snapshot: Snapshot
    ) -> Bitmap:
        """Return the living rows of a segment that pass.

        Raises
        ------
        InvalidFilter
            If the predicate is refused.
        """

        def evaluate() -> Bitmap:
            return Bitmap(self._mask(segment, alive, results, snapshot))

        return results.get((self, alive), evaluate) if self.is_cacheable else evaluate()

    def _mask(
        self, segment: Segment, alive: Bitmap, results: FilterResults, snapshot: Snapshot
    ) -> Mask:
        mask = alive.mask
        if self.domains is not None:
            mask = mask & segment.mask_of_domains(self.domains)
        if self.where is None:
            return mask
        where, domains = self.where, self.domains

        def evaluate() -> Bitmap:
            return Bitmap(_matching(segment, where, domains, snapshot))

        def among(rows: Mask) -> Mask:
            return _matching(segment, where, domains, snapshot, rows)

        if not self.is_cacheable:
            return mask & evaluate().mask
        key = (where, domains, self.attributes)
        return mask & results.matching(key, evaluate, among).mask


def _matching(
    segment: Segment,
    where: str,
    domains: frozenset[str] | None,
    snapshot: Snapshot,
    among: Mask | None = None,
) -> Mask:
    """Return the rows of a segment, among some, for which the catalog finds a predicate true.

    An item whose vectors have changed since belongs to a later segment, so the result stays valid
    for the living rows of the segment until attributes of them change.
    """
    row_ids = segment.row_ids if among is None else segment.row_ids[among]
    if len(row_ids) <= MAX_LOOKED_UP:
        return segment.mask_of(snapshot.select_from(where, row_ids, domains))
    selected = segment.mask_of(snapshot.select(where, domains))
    return selected if among is None else selected & among


class DomainMeans:
    """Mean vector of each domain by named vector, over several segments.

    Items deleted since the release still count, and large domains are sampled.

    Parameters
    ----------
    segments : sequence of Segment
        The items.
    named_vectors : sequence of NamedVector
        Their named vectors.
    """

    def __init__(self, segments: Sequence[Segment], named_vectors: Sequence[NamedVector]) -> None:
        self._segments, self._named_vectors = segments, named_vectors

    @cached_property
    def vectors(self) -> dict[str, FloatArray]:
        """Means by named vector, shape (n_domains, dim); zeros where a domain has no vectors."""
        return {
            name: np.asarray(sums / np.maximum(counts, 1), np.float32)
            for name, (sums, counts) in self._sums.items()
        }

    @cached_property
    def others(self) -> dict[str, FloatArray]:
        """Whether the mean of a domain is of more than one item, 0 or 1, shape (n_domains,)."""
        return {
            name: np.asarray(counts[:, 0] > 1, np.float32)
            for name, (_, counts) in self._sums.items()
        }

    @cached_property
    def segment_codes(self) -> list[Positions]:
        """For each segment, the row of each of its domains among the means, (n_domains,)."""
        position = {name: i for i, name in enumerate(self._names)}
        return [
            np.array([position[n] for n in s.domains.dictionary.to_pylist()], np.int64)
            for s in self._segments
        ]

    @cached_property
    def _names(self) -> list[str]:
        return sorted({n for s in self._segments for n in s.domains.dictionary.to_pylist()})

    @cached_property
    def _sums(self) -> dict[str, tuple[Sums, Sums]]:
        """Sum and number of the vectors of each domain in each named vector."""
        totals = {}
        for named_vector in self._named_vectors:
            sums = np.zeros((len(self._names), named_vector.dim))
            counts = np.zeros((len(self._names), 1))
            for segment, codes in zip(self._segments, self.segment_codes, strict=True):
                segment_sums, segment_counts = segment.domain_sums[named_vector.name]
                sums[codes] += segment_sums
                counts[codes] += segment_counts
            totals[named_vector.name] = sums, counts
        return totals


@dataclass(frozen=True, eq=False)
class View:
    """An immutable snapshot of what can be searched in a space.

    Rows are numbered over all segments: first those of the release, then those of the deltas.

    Attributes
    ----------
    snapshot : Snapshot
        The catalog at the view's version.
    named_vectors : tuple of NamedVector
        The named vectors of the items.
    release : Release or None
        The release that the first segment comes from.
    segments : tuple of Segment
        Release first, then deltas.
    alive : tuple of Bitmap
        For each segment, the rows neither deleted nor replaced since.
    filter_results : tuple of FilterResults
        For each segment, the cached results of filters; by default none yet.
    """

    snapshot: Snapshot
    named_vectors: tuple[NamedVector, ...]
    release: Release | None
    segments: tuple[Segment, ...]
    alive: tuple[Bitmap, ...]
    filter_results: tuple[FilterResults, ...] = field(default=(), repr=False)
    filter_cache: LRUCache[Selection] = field(init=False, default_factory=LRUCache, repr=False)

    def __post_init__(self) -> None:
        if len(self.filter_results) != len(self.segments):
            results = tuple(FilterResults() for _ in self.segments)
            object.__setattr__(self, "filter_results", results)

    def __len__(self) -> int:
        return self.living.count

    def keep(self) -> None:
        """Keep the version of the catalog and the release until the end of the lease scope.

        What reads the catalog or the files of the release does so itself. A verb that keeps the
        view first can rely on it to the end.

        Raises
        ------
        VersionGone
            If one of them was removed since the view was made.
        """
        self.snapshot.keep()
        if self.release is not None:
            self.release.keep()

    @property
    def release_number(self) -> int:
        """Number of the release; 0 before the first."""
        return 0 if self.release is None else self.release.number

    @property
    def release_rows(self) -> int:
        """Number of rows of the release; later rows are of deltas, and may be renumbered."""
        return 0 if self.release is None else len(self.segments[0])

    @property
    def delta(self) -> int:
        """Number of searchable items that are newer than the release."""
        start = 0 if self.release is None else 1
        return sum(bitmap.count for bitmap in self.alive[start:])

    @cached_property
    def domains(self) -> dict[str, int]:
        """Number of searchable items of each domain."""
        counts: dict[str, int] = {}
        for segment, alive in zip(self.segments, self.alive, strict=True):
            codes = segment.domains.indices.to_numpy(zero_copy_only=False)[alive.mask]
            for name, n in zip(
                segment.domains.dictionary.to_pylist(),
                np.bincount(codes, minlength=len(segment.domains.dictionary)).tolist(),
                strict=True,
            ):
                counts[name] = counts.get(name, 0) + n
        return {name: n for name, n in sorted(counts.items()) if n}

    @cached_property
    def living(self) -> Selection:
        """The rows that are neither deleted nor replaced."""
        return Selection(self.alive)

    @cached_property
    def _offsets(self) -> Positions:
        return np.cumsum([0, *map(len, self.segments)])

    def search(
        self,
        vector_name: str,
        queries: FloatArray,
        k: int,
        selection: Selection | None = None,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Return the best living rows for each query by inner product in one named vector.

        Parameters
        ----------
        vector_name : str
            Name of the named vector.
        queries : numpy.ndarray
            float32, shape (n_queries, dim).
        k : int
            Number of rows per query.
        selection : Selection, optional
            The rows to consider, from `select`; by default all living rows.
        search_scale : float
            Factor on the search parameters that reach the recall target, at most 1. Below 1 fewer
            of the true best are found.

        Returns
        -------
        scores, rows : numpy.ndarray
            float32 and int64, shape (n_queries, k); -inf and -1 where there are no more rows.
        """
        parts = []
        bitmaps = (self.living if selection is None else selection).bitmaps
        for offset, segment, bitmap in zip(self._offsets, self.segments, bitmaps, strict=False):
            vectors = segment.named_vectors[vector_name]
            if bitmap.count and len(vectors.rows):
                of_vectors = bitmap.of_vectors(vector_name, vectors.rows)
                scores, rows = vectors.search(queries, k, of_vectors, search_scale)
                parts.append((scores, np.where(rows >= 0, rows + offset, -1) if offset else rows))
        if len(parts) == 1:
            return parts[0]
        return merge_top_k(parts, k) if parts else empty_result(len(queries), k)

    def exact(
        self, vector_name: str, queries: FloatArray, k: int, selection: Selection | None = None
    ) -> tuple[FloatArray, Positions]:
        """Search as `search` does, (n_queries, k), without an index: the ground truth of recall."""
        exact = replace(self, segments=tuple(s.without_index() for s in self.segments))
        return exact.search(vector_name, queries, k, selection)

    def select(
        self, domains: Sequence[str] | None = None, where: str | None = None
    ) -> Selection | None:
        """Return the living rows that a filter lets through; None for no filter.

        The result for a segment is cached, so a repeated filter costs next to nothing, and after
        an upsert only what is new or changed is evaluated.

        Raises
        ------
        InvalidInput
            If a domain is unknown.
        InvalidFilter
            If the predicate is refused.
        """
        if domains is None and where is None:
            return None
        self._require_domains(domains or [])
        key = "" if where is None else self.snapshot.attributes.key
        row_filter = RowFilter(None if domains is None else frozenset(domains), where, key)

        def evaluate() -> Selection:
            segments = zip(self.segments, self.alive, self.filter_results, strict=True)
            return Selection(
                tuple(row_filter.of_segment(*segment, self.snapshot) for segment in segments)
            )

        cacheable = row_filter.is_cacheable
        return self.filter_cache.get(row_filter, evaluate) if cacheable else evaluate()

    def select_mask(self, rows: Mask) -> Selection:
        """Return the living rows of a mask over all rows, shape (n_rows,)."""
        parts = np.split(rows, self._offsets[1:-1]) if self.segments else []
        return Selection(
            tuple(Bitmap(a.mask & part) for a, part in zip(self.alive, parts, strict=True))
        )

    def find(self, item_ids: Sequence[str]) -> Positions:
        """Return the row of each item, -1 for unknown items, shape (len(item_ids),)."""
        rows = np.full(len(item_ids), -1, np.int64)
        for i, segment in enumerate(self.segments):
            found = segment.find(item_ids)
            is_alive = found >= 0
            is_alive[is_alive] = self.alive[i].mask[found[is_alive]]
            rows[is_alive] = found[is_alive] + self._offsets[i]
        return rows

    def vectors(self, vector_name: str, rows: Positions) -> MaskedVectors:
        """Return the vectors of rows, shape (len(rows), dim); zero where a row has none."""
        if len(self.segments) == 1:
            return self.segments[0].vectors(vector_name, rows)
        dim = next(b.dim for b in self.named_vectors if b.name == vector_name)
        out, present = np.zeros((len(rows), dim), np.float32), np.zeros(len(rows), bool)
        for i, local, where in self._by_segment(rows):
            part = self.segments[i].vectors(vector_name, local)
            out[where], present[where] = part.vectors, part.present
        return MaskedVectors(out, present)

    def item_ids(self, rows: Positions) -> Names:
        """Return the item ids of rows, str objects of shape (len(rows),)."""
        return self._gather(rows, lambda segment, local: names_at(segment.item_ids, local))

    def item_domains(self, rows: Positions) -> Names:
        """Return the domains of rows, str objects of shape (len(rows),)."""
        return self._gather(rows, lambda segment, local: segment.domains_at(local))

    def present(self, vector_name: str, rows: Positions) -> Mask:
        """Return which rows have a vector of a name, shape (len(rows),)."""
        present = np.zeros(len(rows), bool)
        for i, local, where in self._by_segment(rows):
            present[where] = np.isin(local, self.segments[i].named_vectors[vector_name].rows)
        return present

    def has_vectors(self, vector_name: str, selection: Selection | None = None) -> bool:
        """Return whether any selected row has a vector of a name."""
        bitmaps = (self.living if selection is None else selection).bitmaps
        return any(
            bool(bitmap.mask[segment.named_vectors[vector_name].rows].any())
            for segment, bitmap in zip(self.segments, bitmaps, strict=False)
        )

    def row_ids(self, rows: Positions) -> RowIds:
        """Return the catalog's row ids of rows, uint64 of shape (len(rows),)."""
        out = np.zeros(len(rows), np.uint64)
        for i, local, where in self._by_segment(rows):
            out[where] = self.segments[i].row_ids[local]
        return out

    @cached_property
    def domain_means(self) -> DomainMeans:
        """The mean vectors of the domains."""
        return DomainMeans(self.segments, self.named_vectors)

    def domain_codes(self, rows: Positions) -> Positions:
        """Return the row of each row's domain in `domain_means`, shape (len(rows),)."""
        out = np.zeros(len(rows), np.int64)
        for i, local, where in self._by_segment(rows):
            indices = self.segments[i].domains.indices.take(pa.array(local))
            codes = self.domain_means.segment_codes[i]
            out[where] = codes[indices.to_numpy(zero_copy_only=False)]
        return out

    def _require_domains(self, names: Sequence[str]) -> None:
        present = self.domains if names else {}
        for name in names:
            if name not in present:
                require_domain(name, self.snapshot.known_domains)

    def _by_segment(self, rows: Positions) -> Iterator[tuple[int, Positions, Mask]]:
        if len(self.segments) == 1:
            yield 0, rows, np.ones(len(rows), bool)
            return
        owner = np.searchsorted(self._offsets, rows, side="right") - 1
        for i in np.unique(owner).tolist():
            where = owner == i
            yield i, rows[where] - self._offsets[i], where

    def _gather(self, rows: Positions, take: Callable[[Segment, Positions], Names]) -> Names:
        if len(self.segments) == 1:
            return take(self.segments[0], rows)
        out = np.empty(len(rows), object)
        for i, local, where in self._by_segment(rows):
            out[where] = take(self.segments[i], local)
        return out

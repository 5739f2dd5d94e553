"""The view: what can be searched at one moment, the release plus all that came after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from isthmus.encoders.fusion import MaskedVectors
from isthmus.encoders.stack import NamedVector
from isthmus.errors import InvalidInput
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import merge_best, nothing
from isthmus.index.ann.segment import Names, Segment, names_at
from isthmus.index.catalog.snapshot import RowIds, Snapshot
from isthmus.index.lru_cache import Recent
from isthmus.numerics.arrays import FloatArray, Mask, Positions

if TYPE_CHECKING:
    from isthmus.index.releases.release import Release
import numpy.typing as npt

from isthmus.index.catalog.filters import depends_on_time

FEW_ROWS = 10_000

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """An immutable picture of a space.

    Rows are numbered over all segments: first those of the release, then those of the deltas.

    Attributes
    ----------
    snapshot : Snapshot
        The catalog at the view's version.
    named_vectors : tuple of NamedVector
        The named vectors of the item vectors.
    release : Release or None
        The release that the first segment comes from.
    segments : tuple of Segment
        Release first, then deltas.
    alive : tuple of Allowed
        For each segment, the rows neither deleted nor changed since.
    """

    snapshot: Snapshot
    named_vectors: tuple[NamedVector, ...]
    release: Release | None
    segments: tuple[Segment, ...]
    alive: tuple[Bitmap, ...]
    filtered: Recent[Selection] = field(init=False, default_factory=Recent, repr=False)

    def __len__(self) -> int:
        return self.living.count

    @property
    def release_rows(self) -> int:
        """Number of rows of the release; those after them are of deltas, and may be renumbered."""
        return 0 if self.release is None else len(self.segments[0])

    @property
    def delta(self) -> int:
        """Number of searchable items that are newer than the release."""
        start = 0 if self.release is None else 1
        return sum(allowed.count for allowed in self.alive[start:])

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
        allowed: Selection | None = None,
        search_scale: float = 1.0,
    ) -> tuple[FloatArray, Positions]:
        """Find the best living rows for each query by inner product in one named vector.

        Parameters
        ----------
        vector_name : str
            Name of the named vector.
        queries : numpy.ndarray
            float32, shape (n_queries, dim of the named vector).
        k : int
            How many rows a query wants.
        allowed : Selection, optional
            Which rows, as `select` gives them; by default all that live.
        search_scale : float
            Share of the effort that the promised recall takes, up to 1: with less, what is found
            are candidates.

        Returns
        -------
        scores, rows : numpy.ndarray
            float32 and int64, shape (n_queries, k); -inf and -1 where there are no more rows.
        """
        parts = []
        masks = (self.living if allowed is None else allowed).masks
        for offset, segment, mask in zip(self._offsets, self.segments, masks, strict=False):
            own = segment.named_vectors[vector_name]
            if mask.count and len(own.rows):
                scores, rows = own.search(queries, k, mask.at(vector_name, own.rows), search_scale)
                parts.append((scores, np.where(rows >= 0, rows + offset, -1) if offset else rows))
        if len(parts) == 1:
            return parts[0]
        return merge_best(parts, k) if parts else nothing(len(queries), k)

    def exact(
        self, vector_name: str, queries: FloatArray, k: int, allowed: Selection | None = None
    ) -> tuple[FloatArray, Positions]:
        """Search as `search` does, without any index: the yardstick of recall."""
        plain = replace(self, segments=tuple(s.without_index() for s in self.segments))
        return plain.search(vector_name, queries, k, allowed)

    def select(
        self, domains: Sequence[str] | None = None, where: str | None = None
    ) -> Selection | None:
        """Give the living rows that a filter lets through; None where there is no filter.

        What a predicate selects of a segment is kept with the segment, so repeating a filter
        costs next to nothing, and after an upsert only what is new is looked at.

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
        wanted = RowFilter(None if domains is None else frozenset(domains), where)

        def work_out() -> Selection:
            segments = zip(self.segments, self.alive, strict=True)
            return Selection(tuple(wanted.of_segment(s, a, self.snapshot) for s, a in segments))

        return self.filtered.get(wanted, work_out) if wanted.lasts else work_out()

    def only(self, rows: Mask) -> Selection:
        """Give the living rows that a mask over all rows marks."""
        parts = np.split(rows, self._offsets[1:-1]) if self.segments else []
        return Selection(
            tuple(Bitmap(a.mask & part) for a, part in zip(self.alive, parts, strict=True))
        )

    def find(self, item_ids: Sequence[str]) -> Positions:
        """Give the row of each item, or -1 where it has none, shape (len(item_ids),)."""
        rows = np.full(len(item_ids), -1, np.int64)
        for i, segment in enumerate(self.segments):
            found = segment.find(item_ids)
            there = found >= 0
            there[there] = self.alive[i].mask[found[there]]
            rows[there] = found[there] + self._offsets[i]
        return rows

    def vectors(self, vector_name: str, rows: Positions) -> MaskedVectors:
        """Give the vectors of rows in a named vector, shape (len(rows), dim)."""
        if len(self.segments) == 1:
            return self.segments[0].vectors(vector_name, rows)
        dim = next(b.dim for b in self.named_vectors if b.name == vector_name)
        out, present = np.zeros((len(rows), dim), np.float32), np.zeros(len(rows), bool)
        for i, local, where in self._by_segment(rows):
            part = self.segments[i].vectors(vector_name, local)
            out[where], present[where] = part.vectors, part.present
        return MaskedVectors(out, present)

    def item_ids(self, rows: Positions) -> Names:
        """Give the item ids of rows, str objects of shape (len(rows),)."""
        return self._gather(rows, lambda segment, local: names_at(segment.item_ids, local))

    def item_domains(self, rows: Positions) -> Names:
        """Give the domains of rows, str objects of shape (len(rows),)."""
        return self._gather(rows, lambda segment, local: segment.domains_at(local))

    def present(self, vector_name: str, rows: Positions) -> Mask:
        """Tell which rows have a vector in a named vector, shape (len(rows),)."""
        present = np.zeros(len(rows), bool)
        for i, local, where in self._by_segment(rows):
            present[where] = np.isin(local, self.segments[i].named_vectors[vector_name].rows)
        return present

    def holds(self, vector_name: str, allowed: Selection | None = None) -> bool:
        """Tell whether any of the allowed rows has a vector in a named vector."""
        masks = (self.living if allowed is None else allowed).masks
        return any(
            bool(mask.mask[segment.named_vectors[vector_name].rows].any())
            for segment, mask in zip(self.segments, masks, strict=False)
        )

    def row_ids(self, rows: Positions) -> RowIds:
        """Give the catalog's row ids of rows."""
        out = np.zeros(len(rows), np.uint64)
        for i, local, where in self._by_segment(rows):
            out[where] = self.segments[i].row_ids[local]
        return out

    @cached_property
    def domain_means(self) -> DomainMeans:
        """The mean vectors of the domains."""
        return DomainMeans(self.segments, self.named_vectors)

    def domain_codes(self, rows: Positions) -> Positions:
        """Give a number for the domain of each row, as `domain_means` counts them."""
        out = np.zeros(len(rows), np.int64)
        for i, local, where in self._by_segment(rows):
            own = self.segments[i].domains.indices.take(pa.array(local))
            codes = self.domain_means.segment_codes[i]
            out[where] = codes[own.to_numpy(zero_copy_only=False)]
        return out

    def _require_domains(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.domains:
                known = ", ".join(self.domains) or "none yet"
                raise InvalidInput(f"no domain {name!r} in this space; its domains are: {known}")

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


class Selection:
    """Living rows of a view; immutable.

    Parameters
    ----------
    masks : tuple of Allowed
        One for each segment of the view.
    """

    def __init__(self, masks: tuple[Bitmap, ...]) -> None:
        self.masks = masks

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(mask.count for mask in self.masks)

    @cached_property
    def rows(self) -> Mask:
        """The same as one mask over all rows of the view."""
        return np.concatenate([np.zeros(0, bool), *(allowed.mask for allowed in self.masks)])


class DomainMeans:
    """Mean vector of each domain in each named vector, over several segments.

    Items deleted since the release still count, and of large domains a sample does.

    Parameters
    ----------
    segments : sequence of Segment
        The items.
    named_vectors : sequence of NamedVector
        The named vectors of their vectors.
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
        """Whether a domain's mean tells of more than one item, 0 or 1, shape (n_domains,)."""
        return {
            name: np.asarray(counts[:, 0] > 1, np.float32)
            for name, (_, counts) in self._sums.items()
        }

    @cached_property
    def segment_codes(self) -> list[Positions]:
        """For each segment, the row of each of its domains among the means."""
        place = {name: i for i, name in enumerate(self._names)}
        return [
            np.array([place[n] for n in s.domains.dictionary.to_pylist()], np.int64)
            for s in self._segments
        ]

    @cached_property
    def _names(self) -> list[str]:
        return sorted({n for s in self._segments for n in s.domains.dictionary.to_pylist()})

    @cached_property
    def _sums(self) -> dict[str, tuple[Sums, Sums]]:
        """Sum and number of the vectors of each domain in each named vector."""
        found = {}
        for named_vector in self._named_vectors:
            sums = np.zeros((len(self._names), named_vector.dim))
            counts = np.zeros((len(self._names), 1))
            for segment, codes in zip(self._segments, self.segment_codes, strict=True):
                own_sums, own_counts = segment.domain_sums[named_vector.name]
                sums[codes] += own_sums
                counts[codes] += own_counts
            found[named_vector.name] = sums, counts
        return found


@dataclass(frozen=True)
class RowFilter:
    """What items must be to pass.

    Attributes
    ----------
    domains : frozenset of str or None
        In one of these domains.
    where : str or None
        Selected by this SQL predicate.
    """

    domains: frozenset[str] | None
    where: str | None

    @cached_property
    def lasts(self) -> bool:
        """Whether what it says of an item holds for ever; else no answer may be kept."""
        if self.where is None:
            return True
        return isinstance(self.where, str) and not depends_on_time(self.where)

    def of_segment(self, segment: Segment, alive: Bitmap, snapshot: Snapshot) -> Bitmap:
        """Give the living rows of a segment that pass.

        Raises
        ------
        InvalidFilter
            If the predicate is refused.
        """

        def work_out() -> Bitmap:
            return Bitmap(self._mask(segment, alive, snapshot))

        return segment.filtered.get((self, alive), work_out) if self.lasts else work_out()

    def _mask(self, segment: Segment, alive: Bitmap, snapshot: Snapshot) -> Mask:
        mask = alive.mask
        if self.domains is not None:
            mask = mask & segment.mask_of_domains(self.domains)
        if self.where is None:
            return mask
        where = self.where

        def work_out() -> Bitmap:
            return _matching(segment, where, snapshot)

        found = segment.filtered.get(where, work_out) if self.lasts else work_out()
        return mask & found.mask


def _matching(segment: Segment, where: str, snapshot: Snapshot) -> Bitmap:
    """Ask the catalog which rows of a segment a predicate selects.

    A row whose item has changed since belongs to a later segment, so the answer holds for the
    segment's living rows for ever.
    """
    if len(segment) > FEW_ROWS:
        return Bitmap(segment.mask_of(snapshot.select(where)))
    return Bitmap(segment.mask_of(snapshot.select_among(where, segment.row_ids)))

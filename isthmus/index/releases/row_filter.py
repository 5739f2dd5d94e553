"""A filter as it is applied to a view, segment by segment, each answer worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from isthmus.index.ann.bitmap import Allowed
from isthmus.index.ann.exact import Mask
from isthmus.index.ann.segment import Segment
from isthmus.index.catalog.filters import depends_on_time
from isthmus.index.catalog.snapshot import Snapshot

FEW_ROWS = 10_000


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

    def of_segment(self, segment: Segment, alive: Allowed, snapshot: Snapshot) -> Allowed:
        """Give the living rows of a segment that pass.

        Raises
        ------
        InvalidFilter
            If the predicate is refused.
        """

        def work_out() -> Allowed:
            return Allowed(self._mask(segment, alive, snapshot))

        return segment.filtered.get((self, alive), work_out) if self.lasts else work_out()

    def _mask(self, segment: Segment, alive: Allowed, snapshot: Snapshot) -> Mask:
        mask = alive.mask
        if self.domains is not None:
            mask = mask & segment.mask_of_domains(self.domains)
        if self.where is None:
            return mask
        where = self.where

        def work_out() -> Allowed:
            return _matching(segment, where, snapshot)

        found = segment.filtered.get(where, work_out) if self.lasts else work_out()
        return mask & found.mask


def _matching(segment: Segment, where: str, snapshot: Snapshot) -> Allowed:
    """Ask the catalog which rows of a segment a predicate selects.

    A row whose item has changed since belongs to a later segment, so the answer holds for the
    segment's living rows for ever.
    """
    if len(segment) > FEW_ROWS:
        return Allowed(segment.mask_of(snapshot.select(where)))
    return Allowed(segment.mask_of(snapshot.select_among(where, segment.row_ids)))

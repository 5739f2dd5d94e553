"""Results of filters over the rows of a segment, cached for one state of its attributes."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.lru_cache import LRUCache
from isthmus.numerics.arrays import Mask


class FilterResults:
    """Cached results of filters over the rows of one segment.

    A segment is immutable, but attributes of its items may change. The results of the new state
    are made from those of the former one: a filter is evaluated again only for the rows that
    changed.

    Parameters
    ----------
    former : FilterResults, optional
        Results of the former state.
    outdated : numpy.ndarray, optional
        bool, shape (n_rows,): the rows that have changed since.
    """

    def __init__(self, former: FilterResults | None = None, outdated: Mask | None = None) -> None:
        self._cache: LRUCache[Bitmap] = LRUCache()
        self._former: LRUCache[Bitmap] | None = None
        self._outdated = outdated
        if former is not None and outdated is not None:
            self._former, self._outdated = former.outdated_by(outdated)

    def get(self, key: Hashable, evaluate: Callable[[], Bitmap]) -> Bitmap:
        """Return the result of a filter; evaluate it where it is not cached."""
        return self._cache.get(key, evaluate)

    def matching(
        self, key: Hashable, evaluate: Callable[[], Bitmap], among: Callable[[Mask], Mask]
    ) -> Bitmap:
        """Return the rows that a predicate selects; `among` has shape (n_rows,).

        Parameters
        ----------
        key : hashable
            The predicate, and what its names mean.
        evaluate : callable
            Evaluates it for every row.
        among : callable
            Evaluates it for the rows of a mask, and returns a mask of those that it selects.
        """

        def compute() -> Bitmap:
            before = None if self._former is None else self._former.peek(key)
            if before is None or self._outdated is None:
                return evaluate()
            return Bitmap((before.mask & ~self._outdated) | among(self._outdated))

        return self._cache.get(key, compute)

    def outdated_by(self, changed: Mask) -> tuple[LRUCache[Bitmap], Mask]:
        """Return the newest results that there are, and the rows for which they do not hold."""
        if len(self._cache) or self._former is None or self._outdated is None:
            return self._cache, changed
        return self._former, self._outdated | changed

"""Business rules of a list: boosts, pins, bans and caps, on the rows of a view.

A boost acts on the place that an item has without the rules, not on its score: scores of different
rankers are on different scales (cosines, sums of reciprocal ranks, shares of probabilities), and a
place means the same for all of them. An item at place ``p`` is put in order by ``p / f - a``, where
``f`` is the product of the factors of the predicates that hold for it, and ``a`` the sum of their
additions. Of equal ones the item that was lower comes first, so that an addition of 6 alone moves
an item just 6 places.

No item beyond place ``d`` can come before ``(d + 1) / F - A``, where ``F`` is the product of all
factors over 1 and ``A`` the sum of all additions over 0; so candidates are asked for until the
places of the list are certain, as in the threshold algorithm of Fagin, Lotem and Naor, "Optimal
Aggregation Algorithms for Middleware", PODS 2001.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from isthmus.errors import InvalidInput, listed
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Mask, Positions
from isthmus.retrieval.search.query import NO_ROWS, ScoredRows, scores_of
from isthmus.retrieval.search.request import ListOptions
from isthmus.retrieval.search.results import Hit
from isthmus.retrieval.search.rule_request import Boost, parse_boost

MAX_CANDIDATES: Final = 5_000  # that the rules look at, where they leave too few for a list
WIDENING: Final = 4
PINNED, BOOSTED = "pinned", "boosted"


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of one list.

    Attributes
    ----------
    view : View
        What is searched.
    boosts : tuple of (numpy.ndarray, Boost)
        For each predicate, which rows it holds for, bool, shape (n_rows,).
    pinned : numpy.ndarray
        int64: the rows of the first places.
    removed : numpy.ndarray
        int64: rows that are not in the list.
    caps : mapping of str to int
        Most items with one value of an attribute.
    missing : tuple of str
        Pinned items that are not in the list.
    min_relevance : float
        Least score as a share of the best one.
    """

    view: View
    boosts: tuple[tuple[Mask, Boost], ...] = ()
    pinned: Positions = field(default_factory=lambda: NO_ROWS[0])
    removed: Positions = field(default_factory=lambda: NO_ROWS[0])
    caps: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    min_relevance: float = 0.0

    @classmethod
    def of(
        cls,
        view: View,
        options: ListOptions,
        selections: Sequence[Selection | None],
        min_relevance: float = 0.0,
    ) -> Rules | None:
        """Return the rules that a request states; None where it states none.

        Parameters
        ----------
        view : View
            What is searched.
        options : ListOptions
            The request.
        selections : sequence of Selection or None
            The rows that pass its filter, in one of several parts.
        min_relevance : float
            Least score as a share of the best one.

        Raises
        ------
        InvalidInput
            If no domain has a capped attribute.
        InvalidFilter
            If the predicate of a boost is refused.
        """
        if not options.ruled and not min_relevance:
            return None
        attributes = view.snapshot.attributes
        for name in options.caps or {}:
            if not attributes.columns_of(name):
                raise InvalidInput(
                    f"there is a cap of attribute {name!r}, which no domain has; there are: "
                    f"{listed(attributes.names, name)}"
                )
        boosts = []
        for predicate, value in (options.boost or {}).items():
            selection = view.select(options.domains, predicate)
            if selection is not None:
                boosts.append((selection.rows, parse_boost(predicate, value)))
        banned = view.find(options.ban)
        pinned = view.find(options.pin)
        shown = pinned >= 0
        for at in np.flatnonzero(shown).tolist():
            row = pinned[at]
            shown[at] = any(one is None or one.rows[row] for one in selections)
        missing = [item for item, is_shown in zip(options.pin, shown, strict=True) if not is_shown]
        return cls(
            view,
            tuple(boosts),
            pinned[shown],
            banned[banned >= 0],
            dict(options.caps or {}),
            tuple(missing),
            min_relevance,
        )

    def without(self, rows: Positions) -> Rules:
        """Return the same rules for a list that has none of some rows."""
        rows = rows[rows >= 0]
        if not len(rows):
            return self
        pinned = self.pinned[~np.isin(self.pinned, rows)]
        return replace(self, pinned=pinned, removed=np.concatenate([self.removed, rows]))

    @property
    def notes(self) -> list[str]:
        """A note of pinned items that are not in the list."""
        if not self.missing:
            return []
        names = ", ".join(self.missing)
        return [f"no such item passes the filter, so it is not pinned: {names}"]

    @property
    def _bounds(self) -> tuple[float, float]:
        """The largest factor and the largest addition that an item can have."""
        factor = math.prod(max(1.0, boost.factor) for _, boost in self.boosts)
        return factor, sum(max(0.0, boost.places) for _, boost in self.boosts)

    def first_depth(self, n: int) -> int:
        """Return how many candidates probably leave n."""
        factor, places = self._bounds
        spare = n if self.caps else 0
        return math.ceil(factor * (n + places)) + len(self.removed) + len(self.pinned) + spare

    def floor(self, lists: Sequence[ScoredRows]) -> float:
        """Return the least score that the minimum relevance leaves."""
        best = max((float(scores.max(initial=0)) for _, scores in lists), default=0.0)
        return self.min_relevance * best if self.min_relevance and best > 0 else -math.inf

    def candidates(
        self, rows: Positions, scores: FloatArray, floor: float, *, complete: bool
    ) -> ScoredRows:
        """Return the candidates of a list in the order of the rules, as far as it is certain.

        Parameters
        ----------
        rows, scores : numpy.ndarray
            The candidates, best first, shape (n,).
        floor : float
            Least score of a candidate.
        complete : bool
            Whether there are no more.

        Returns
        -------
        rows, scores : numpy.ndarray
            At most n; the scores are those of the places, so that they fall as before.
        """
        certain, order = len(rows), np.arange(len(rows))
        if self.boosts:
            keys = self._keys(rows)
            order = np.lexsort((-order, keys))  # of equals, the one that moved up
            if not complete:
                factor, places = self._bounds
                certain = int((keys < (len(rows) + 1) / factor - places).sum())
        order, of_places = order[:certain], scores[:certain]
        moved = rows[order]
        left = ~np.isin(moved, np.concatenate([self.removed, self.pinned]))
        left &= scores[order] >= floor
        return moved[left], of_places[left]

    def _keys(self, rows: Positions) -> FloatArray:
        factors, places = np.ones(len(rows)), np.zeros(len(rows))
        for mask, boost in self.boosts:
            factors[mask[rows]] *= boost.factor
            places[mask[rows]] += boost.places
        return np.asarray(np.arange(1, len(rows) + 1) / factors - places)

    def pins(self, lists: Sequence[ScoredRows]) -> ScoredRows:
        """Return the pinned rows with their scores; 0 for one that is no candidate."""
        return self.pinned, scores_of(lists, self.pinned)

    def within_caps(self, rows: Positions, before: Positions) -> Mask:
        """Return which candidates, best first, the caps leave, shape (n,).

        Parameters
        ----------
        rows : numpy.ndarray
            The candidates.
        before : numpy.ndarray
            The first places of the list, which stay.
        """
        left = np.ones(len(rows), bool)
        if not self.caps:
            return left
        values = self._capped_values(np.concatenate([before, rows]))
        counts: Counter[tuple[str, Any]] = Counter()
        for of_item in values[: len(before)]:
            counts.update(of_item)
        for at, of_item in enumerate(values[len(before) :]):
            left[at] = all(counts[value] < self.caps[value[0]] for value in of_item)
            if left[at]:
                counts.update(of_item)
        return left

    def _capped_values(self, rows: Positions) -> list[set[tuple[str, Any]]]:
        """Return the capped attributes and values of rows; each of a list counts."""
        attributes = self.view.snapshot.attributes
        columns = list(dict.fromkeys(c for name in self.caps for c in attributes.columns_of(name)))
        table = self.view.snapshot.fetch(self.view.row_ids(rows), columns).to_pylist()
        domains = self.view.item_domains(rows).tolist()
        out = []
        for row, domain in zip(table, domains, strict=True):
            by_name = attributes.columns.get(domain, {})
            values = ((n, one) for n in self.caps for one in _each(row.get(by_name.get(n, ""))))
            out.append({(name, value) for name, value in values if value is not None})
        return out

    def is_pinned(self, rows: Positions) -> Mask:
        """Return which rows are pinned, shape (len(rows),)."""
        return np.isin(rows, self.pinned)

    def marked(self, rows: Positions, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits that say which rule put them where they are."""
        pinned = self.is_pinned(rows)
        boosted = np.zeros(len(rows), bool)
        for mask, _ in self.boosts:
            boosted |= mask[rows]
        return [
            replace(hit, rule=PINNED if is_pinned else BOOSTED) if is_pinned or is_boosted else hit
            for hit, is_pinned, is_boosted in zip(
                hits, pinned.tolist(), boosted.tolist(), strict=True
            )
        ]


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

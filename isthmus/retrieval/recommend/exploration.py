"""Exploration: a stated share of the places of a list goes to new items.

At each place, with probability `share`, an item is drawn by Thompson sampling on counts: a new item
with the probability that its click rate is the largest of all new items, its posterior being
Beta(1 + clicks, 1 + impressions - clicks). It stands in the place of the ranker's item, unless it
stands higher already. Places are drawn independently, so the propensities are known exactly: where
``e`` is the share, that of a new item with the probability ``q`` at place ``j`` is
``e q (1 - e q) ** (j - 1)``, and that of the ranker's item is what is left.

An item is new up to 100 impressions. The ranker's own first places, at most 200, are not drawn, and
the list ends with them; so no item comes twice. The draw depends on the user and the day, so all
pages and lengths of a list agree.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import IMPRESSIONS, canonical, default_weight
from isthmus.data.interactions.store import InteractionStore
from isthmus.digests import digest
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import Mask, Positions
from isthmus.numerics.thompson import best_probabilities
from isthmus.retrieval.search.query import ScoredRows
from isthmus.retrieval.search.results import Hit
from isthmus.schema import EVENT, ITEM_ID

EXPLORED: Final = "explored"
COUNTED_FOR_S: Final = 60.0
NEW_BELOW: Final = 100  # impressions
MAX_PLACES: Final = 200
MIN_PLACES: Final = 20

Floats = npt.NDArray[np.float64]


class ItemCounts(NamedTuple):
    """How often items were shown and clicked, by item.

    Attributes
    ----------
    impressions, clicks : mapping of str to int
        Events of the kinds of impressions; events that count as positive.
    """

    impressions: Mapping[str, int]
    clicks: Mapping[str, int]

    @classmethod
    def of(cls, events: pa.Table) -> ItemCounts:
        """Count the events of a table with the columns item_id and event."""
        kinds = pc.unique(events.column(EVENT)).to_pylist()
        shown = [kind for kind in kinds if canonical(kind) in IMPRESSIONS]
        clicked = [kind for kind in kinds if default_weight(kind) > 0]
        return cls(_counts(events, shown), _counts(events, clicked))


def _counts(events: pa.Table, kinds: list[str]) -> dict[str, int]:
    chosen = events.filter(pc.is_in(events.column(EVENT), value_set=pa.array(kinds, pa.string())))
    pairs = pc.value_counts(chosen.column(ITEM_ID)).to_pylist()
    return {pair["values"]: pair["counts"] for pair in pairs}


@dataclass(frozen=True, eq=False)
class NewItems:
    """The new items of a view, in groups of equal counts.

    Attributes
    ----------
    successes, trials : numpy.ndarray
        int64, shape (n_groups,).
    groups : numpy.ndarray
        int64, shape (n_rows,): the group of each row; -1 for an item that is not new.
    """

    successes: Positions
    trials: Positions
    groups: Positions

    @classmethod
    def of(cls, view: View, counts: ItemCounts) -> NewItems:
        """Group the items of a view by their counts."""
        n_rows = len(view.living.rows)
        clicks, trials = np.zeros(n_rows, np.int64), np.zeros(n_rows, np.int64)
        for target, by_item in ((clicks, counts.clicks), (trials, counts.impressions)):
            rows = view.find(list(by_item))
            numbers = np.array(list(by_item.values()), np.int64)
            target[rows[rows >= 0]] = numbers[rows >= 0]
        trials = np.maximum(trials, clicks)  # a click without an impression was shown too
        new = view.living.rows & (trials < NEW_BELOW)
        keys, codes = np.unique(clicks * NEW_BELOW + trials, return_inverse=True)
        clicks_of, trials_of = np.divmod(keys, NEW_BELOW)
        # Items that are not new share keys with nobody that counts.
        return cls(clicks_of, trials_of, np.where(new, codes, -1))


class CountedItems:
    """The new items of a space, by counts that are at most a minute old.

    Parameters
    ----------
    interactions : InteractionStore
        The stored events.
    """

    def __init__(self, interactions: InteractionStore) -> None:
        self._interactions = interactions
        self._counted: tuple[int, float, ItemCounts] | None = None
        self._of: tuple[View, NewItems] | None = None

    def of(self, view: View) -> NewItems:
        """Return the new items of a view."""
        known, version, now = self._counted, self._interactions.version, time.monotonic()
        if known is None or (known[0] != version and now - known[1] > COUNTED_FOR_S):
            counts = ItemCounts.of(self._interactions.table(ITEM_ID, EVENT))
            known = self._counted = version, now, counts
            self._of = None
        if self._of is None or self._of[0] is not view:
            self._of = view, NewItems.of(view, known[2])
        return self._of[1]


class Explored(NamedTuple):
    """A list with explored places; all arrays have the shape (n,).

    Attributes
    ----------
    rows, scores : numpy.ndarray
        int64 and float32; the score of an explored item is 0.
    explored : numpy.ndarray
        bool: the item was drawn.
    propensities : numpy.ndarray
        float64: the probability with which the item stood at its place.
    """

    rows: Positions
    scores: npt.NDArray[np.float32]
    explored: Mask
    propensities: Floats

    def page(self, offset: int, n: int) -> Explored:
        """Return n places after the first ones."""
        there = slice(offset, offset + n)
        explored, propensities = self.explored[there], self.propensities[there]
        return Explored(self.rows[there], self.scores[there], explored, propensities)

    def marked(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits that say which of them were drawn."""
        pairs = zip(hits, self.explored.tolist(), strict=True)
        return [replace(hit, rule=EXPLORED) if drawn else hit for hit, drawn in pairs]


def certain(found: ScoredRows) -> Explored:
    """Return a list in which nothing was left to chance."""
    n = len(found[0])
    return Explored(*found, np.zeros(n, bool), np.ones(n))


def places_of(n_eligible: int) -> int:
    """Return how many places a list has from which new items are left out."""
    return min(MAX_PLACES, max(MIN_PLACES, n_eligible // 2))


def seed_of(user: object, moment: float) -> int:
    """Return the seed of the draw for a user on the day of a moment."""
    day = datetime.fromtimestamp(moment, UTC).date().isoformat()
    return int.from_bytes(digest(f"{day} {user}")[:8], "little")


def explore(
    found: ScoredRows, new: NewItems, allowed: Mask, share: float, seed: int, pinned: int = 0
) -> Explored:
    """Assign a share of the places of a list to new items.

    Parameters
    ----------
    found : rows, scores
        The list of the ranker.
    new : NewItems
        The new items.
    allowed : numpy.ndarray
        bool, shape (n_rows,): the rows that may be in the list.
    share : float
        Share of the places.
    seed : int
        Seed of the draw.
    pinned : int
        First places that stay.
    """
    rows, scores = found[0].copy(), found[1].copy()
    explored, propensities = np.zeros(len(rows), bool), np.ones(len(rows))
    drawn_from = allowed & (new.groups >= 0)
    drawn_from[rows] = False
    items = np.flatnonzero(drawn_from)
    if not len(items) or pinned >= len(rows):
        return Explored(rows, scores, explored, propensities)
    items = items[np.argsort(new.groups[items], kind="stable")]
    arms = np.bincount(new.groups[items], minlength=len(new.trials))
    chances = share * best_probabilities(new.successes, new.trials, arms)  # e q, an item a group
    ends = np.cumsum(arms)
    cumulative = np.cumsum(arms * chances)
    places = len(rows) - pinned
    drawn: set[int] = set()
    uniform = np.random.default_rng(seed).random((places, 2))
    for place in range(places):
        before = place  # places that could have shown the item
        group = int(np.searchsorted(cumulative, uniform[place, 0], side="right"))
        item = -1
        if group < len(arms):
            first = ends[group] - arms[group]
            item = int(items[first + int(uniform[place, 1] * arms[group])])
        at = pinned + place
        if item >= 0 and item not in drawn:
            rows[at], scores[at], explored[at] = item, 0.0, True
            propensities[at] = chances[group] * (1 - chances[group]) ** before
        else:
            propensities[at] = 1 - float((arms * chances * (1 - chances) ** before).sum())
        drawn.add(item)
    return Explored(rows, scores, explored, propensities)

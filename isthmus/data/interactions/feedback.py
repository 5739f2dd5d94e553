"""Feedback: what each event says of its item: liked, seen or disliked, and how strongly.

An event counts by its kind (a view less than a purchase, a dislike against the item), by its value
where it has one, and, if asked for, by its age. The rule of each kind is made before a training,
shown with counts, stored with the recommender, and used for histories too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from isthmus.errors import InvalidInput
from isthmus.requests import is_finite, require_mapping
from isthmus.schema import EVENT, TIME, VALUE, WEIGHT

# By name, in small letters and without what is no letter: "Add to cart" is addtocart.
IMPRESSIONS: Final = ("impression", "exposure", "shown")
DISMISSALS: Final = ("dismiss", "dismissed", "skip")
DEFAULT_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    dict.fromkeys((*IMPRESSIONS, *DISMISSALS, "removefromcart", "unlike", "undislike"), 0.0)
    | dict.fromkeys(("view", "pageview", "productview", "viewitem", "detail", "visit"), 0.1)
    | dict.fromkeys(("click", "open", "read"), 0.3)
    | dict.fromkeys(("addtocart", "cart", "basket", "begincheckout"), 0.5)
    | dict.fromkeys(("wishlist", "addtowishlist", "save", "bookmark", "share", "preview"), 0.5)
    | dict.fromkeys(("play", "watch", "listen", "stream", "download", "install"), 0.7)
    | dict.fromkeys(("purchase", "buy", "order", "transaction", "checkout", "borrow"), 1.0)
    | dict.fromkeys(("like", "love", "favorite", "favourite", "upvote", "subscribe", "follow"), 1.0)
    | dict.fromkeys(("dislike", "downvote", "hide", "block", "thumbsdown", "notinterested"), -1.0)
)
OTHER_WEIGHT: Final = 1.0  # of any other kind: interaction, rating, review, ...
POSITIVE_SHARE: Final = 0.8  # of the largest rating: four of five stars
SMALL_SCALE: Final = 10.0  # ratings go up to this, or
LARGE_SCALE: Final = 100.0  # up to this if half of them reach a third of the largest
US_PER_DAY: Final = 86_400e6
PLAIN: Final = ("interaction", "rating", "rate", "rated", "review", "score")

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def canonical(event: str) -> str:
    """Return a kind of event as the default weights spell it.

    Examples
    --------
    >>> canonical("Add to Cart"), canonical("add_to_cart")
    ('addtocart', 'addtocart')
    """
    return "".join(filter(str.isalnum, event.casefold()))


class EventRule(BaseModel):
    """How events of one kind count.

    Attributes
    ----------
    weight : float
        What an event counts; 0 for not at all, below 0 for a dislike.
    positive_from : float or None
        The smallest value that is positive; smaller ones count as seen. None where any above
        zero is.
    amount : bool
        Whether values are amounts (hours, pieces), whose logarithm counts, and no ratings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float
    positive_from: float | None = None
    amount: bool = False


class EventLabels:
    """What each event of a table says; all arrays have the shape (n_events,).

    Attributes
    ----------
    used : numpy.ndarray
        bool: the event counts at all.
    liked, disliked : numpy.ndarray
        bool: neither means that the item was only seen.
    strengths : numpy.ndarray
        float32: weight times value (1 where it has none) times the weight of the row.
    """

    def __init__(self, used: Bools, liked: Bools, disliked: Bools, strengths: Floats) -> None:
        self.used, self.liked, self.disliked = used, liked, disliked
        self.strengths = strengths


class Feedback(BaseModel):
    """How the events of a log count.

    Attributes
    ----------
    rules : dict of str to EventRule
        By kind of event; another kind has its default weight and no threshold.
    half_life_days : float or None
        Days after which an event counts half; None for no decay.
    until : float or None
        The newest time of the log, in microseconds since 1970, from which ages count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rules: dict[str, EventRule]
    half_life_days: float | None = None
    until: float | None = None

    @classmethod
    def of(
        cls,
        interactions: pa.Table,
        event_weights: Mapping[str, float] | None = None,
        positive_from: float | None = None,
        half_life_days: float | None = None,
    ) -> Feedback:
        """Return how the events of a log count.

        Parameters
        ----------
        interactions : pyarrow.Table
            Columns event, value and time.
        event_weights : mapping of str to float, optional
            Weight of kinds of event, in the place of the default ones.
        positive_from : float, optional
            Smallest positive value of the kinds whose values differ from 1. By default 0.8 of the
            largest rating of the kind, and no threshold for amounts.
        half_life_days : float, optional
            Days after which an event counts half.

        Raises
        ------
        InvalidInput
            If a weight is not finite, or the threshold not above zero.
        """
        if positive_from is not None and not positive_from > 0:
            raise InvalidInput(f"positive_from is {positive_from}; give a value above zero")
        if event_weights is not None:
            require_mapping(event_weights, "event_weights")
        given = {canonical(name): weight for name, weight in (event_weights or {}).items()}
        for name, weight in given.items():
            if not is_finite(weight):
                raise InvalidInput(f"the weight of event {name!r} is {weight!r}; give a number")
        kinds = pc.unique(interactions.column(EVENT)).to_pylist()
        weights = {kind: given.get(canonical(kind), default_weight(kind)) for kind in kinds}
        # Relative to the strongest kind: a log of views alone is a log of plain interactions.
        scale = max((weight for weight in weights.values() if weight > 0), default=1.0)
        newest = pc.max(interactions.column(TIME)).as_py() if half_life_days else None
        return cls(
            rules={
                kind: _rule(interactions, kind, weights[kind] / scale, positive_from)
                for kind in sorted(kinds)
            },
            half_life_days=half_life_days,
            until=None if newest is None else newest.timestamp() * 1e6,
        )

    @classmethod
    def plain(cls, interactions: pa.Table) -> Feedback:
        """Return that all kinds of event count the same, and any value above zero is positive."""
        kinds = PLAIN[:1]
        if EVENT in interactions.column_names:
            kinds = pc.unique(interactions.column(EVENT)).to_pylist()
        return cls(rules={kind: EventRule(weight=1.0) for kind in kinds})

    def rule(self, event: str) -> EventRule:
        """Return the rule of a kind of event."""
        return self.rules.get(event) or EventRule(weight=default_weight(event))

    def label(self, interactions: pa.Table) -> EventLabels:
        """Return what each event says.

        A dislike is an event with a weight, or a value, below zero.

        Parameters
        ----------
        interactions : pyarrow.Table
            Columns event, value, weight and time.
        """
        if EVENT not in interactions.column_names:
            interactions = interactions.append_column(EVENT, _one_kind(len(interactions)))
        coded = _combined(interactions.column(EVENT)).dictionary_encode()
        codes = coded.indices.to_numpy()
        rules = [self.rule(kind) for kind in coded.dictionary.to_pylist()]
        weights = _taken([rule.weight for rule in rules], codes)
        thresholds = _taken([rule.positive_from or 0.0 for rule in rules], codes)
        amounts = np.array([rule.amount for rule in rules], bool)[codes]
        values = np.asarray(interactions.column(VALUE).to_numpy(), np.float32)  # null is NaN
        valued = ~np.isnan(values)
        values = np.where(valued, values, np.float32(1))
        sizes = np.where(amounts, np.log2(1 + np.maximum(values, 0)), values)
        disliked = (weights < 0) | ((weights > 0) & (values < 0))
        liked = (weights > 0) & (values > 0) & (~valued | (values >= thresholds))
        rows = np.asarray(interactions.column(WEIGHT).to_numpy(), np.float32)
        strengths = weights * sizes.astype(np.float32) * rows * self._decay(interactions)
        return EventLabels(weights != 0, liked, disliked, np.asarray(strengths, np.float32))

    def _decay(self, interactions: pa.Table) -> Floats | np.float32:
        if self.half_life_days is None:
            return np.float32(1)
        times = interactions.column(TIME).cast(pa.int64())
        micros = np.asarray(pc.cast(times, pa.float64(), safe=False).to_numpy(), np.float64)
        newest = np.nanmax(micros, initial=self.until or -np.inf)
        days = np.nan_to_num((newest - micros) / US_PER_DAY)  # without a time: no decay
        return np.asarray(0.5 ** (days / self.half_life_days), np.float32)


def default_weight(event: str) -> float:
    """Return the default weight of a kind of event."""
    return DEFAULT_WEIGHTS.get(canonical(event), OTHER_WEIGHT)


def _rule(
    interactions: pa.Table, kind: str, weight: float, positive_from: float | None
) -> EventRule:
    of_kind = pc.equal(interactions.column(EVENT), kind)
    values = interactions.column(VALUE).filter(of_kind).drop_null()
    extremes = pc.min_max(values.filter(pc.greater(values, 0)))
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if weight <= 0 or high is None or low == high == 1:
        return EventRule(weight=weight)
    amount = not _are_ratings(values, kind, high)
    if positive_from is None and low != high and not amount:
        positive_from = POSITIVE_SHARE * high
    return EventRule(weight=weight, positive_from=positive_from, amount=amount and low != high)


def _are_ratings(values: pa.ChunkedArray, kind: str, high: float) -> bool:
    """Return whether values are on a scale of ratings, and no amounts such as hours."""
    if canonical(kind) in DEFAULT_WEIGHTS:  # views, purchases, plays have amounts
        return False
    if high <= SMALL_SCALE:
        return True
    reached = pc.mean(pc.greater_equal(values, high / 3).cast(pa.float64())).as_py()
    return bool(high <= LARGE_SCALE and reached >= 0.5)


def _taken(numbers: list[float], codes: npt.NDArray[np.int32]) -> Floats:
    return np.asarray(np.array(numbers, np.float32)[codes])


def _one_kind(n: int) -> pa.Array:
    return pa.repeat(pa.scalar(PLAIN[0], pa.string()), n)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


class EventCounts(BaseModel):
    """How the events of one kind are used.

    Attributes
    ----------
    event : str
        The kind.
    rule : EventRule
        How they count.
    events, positive, seen, disliked, without_value : int
        All of them; those that are positive, that count as seen only, that are dislikes; and those
        that have no value though others of the kind have one.
    is_default : bool
        Whether a weight is known for such a name, or was given.
    """

    event: str
    rule: EventRule
    events: int
    positive: int
    seen: int
    disliked: int
    without_value: int
    is_default: bool

    def describe(self) -> str:
        """Return the counts in words."""
        rule = self.rule
        if rule.weight == 0:
            return f"{self.events:,} {self.event} not used: weight 0"
        parts = []
        if self.positive:
            by = "" if rule.positive_from is None else f" by value >= {rule.positive_from:g}"
            weight = "" if rule.weight == 1 else f", weight {rule.weight:.3g}"
            amount = " times the logarithm of the value" if rule.amount else ""
            unknown = "" if self.is_default else " (no weight is known for this kind: it counts 1)"
            parts.append(f"{self.positive:,} {self.event} positive{by}{weight}{amount}{unknown}")
        if self.without_value and rule.positive_from is not None:
            parts.append(f"{self.without_value:,} of them without a value")
        if self.seen:
            parts.append(f"{self.seen:,} {self.event} below count as seen")
        if self.disliked:
            parts.append(f"{self.disliked:,} {self.event} exclude the item and what is like it")
        return ", ".join(parts)


@dataclass(frozen=True)
class EventSummary:
    """How a training uses the events of a log.

    Attributes
    ----------
    kinds : tuple of EventCounts
        By kind of event, the most frequent first.
    half_life_days : float or None
        Days after which an event counts half.
    waiting : int
        Events with items that the space does not hold; they are not used yet.
    """

    kinds: tuple[EventCounts, ...]
    half_life_days: float | None = None
    waiting: int = 0

    @classmethod
    def of(
        cls,
        interactions: pa.Table,
        feedback: Feedback,
        event_weights: Mapping[str, float] | None = None,
        waiting: int = 0,
    ) -> EventSummary:
        """Count how events are used."""
        labels = feedback.label(interactions)
        coded = _combined(interactions.column(EVENT)).dictionary_encode()
        kinds, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
        missing = _combined(interactions.column(VALUE)).is_null().to_numpy(zero_copy_only=False)
        given = {canonical(name) for name in event_weights or {}}

        def count(mask: Bools) -> list[int]:
            return [int(n) for n in np.bincount(codes[mask], minlength=len(kinds))]

        everything, nothing = count(np.ones(len(codes), bool)), count(missing)
        positive, disliked = count(labels.liked), count(labels.disliked)
        seen = count(labels.used & ~labels.liked & ~labels.disliked)
        counts = [
            EventCounts(
                event=kind,
                rule=feedback.rule(kind),
                events=everything[at],
                positive=positive[at],
                seen=seen[at],
                disliked=disliked[at],
                without_value=nothing[at] if nothing[at] < everything[at] else 0,
                is_default=canonical(kind) in {*DEFAULT_WEIGHTS, *given, *PLAIN},
            )
            for at, kind in enumerate(kinds)
        ]
        counts.sort(key=lambda one: (-one.events, one.event))
        return cls(tuple(counts), feedback.half_life_days, waiting)

    @property
    def events(self) -> int:
        """All events."""
        return sum(kind.events for kind in self.kinds)

    @property
    def positives(self) -> int:
        """Events that are positive."""
        return sum(kind.positive for kind in self.kinds)

    def describe(self) -> str:
        """Return the counts in words, on one line.

        Examples
        --------
        >>> log = pa.table({"event": ["rate", "rate", "view"], "value": [5.0, 2.0, None],
        ...                 "weight": [1.0, 1.0, 1.0], "time": pa.nulls(3, pa.timestamp("us"))})
        >>> feedback = Feedback.of(log, {"view": 0}, positive_from=4)
        >>> print(EventSummary.of(log, feedback).describe())
        3 events -> 1 positives: 1 rate positive by value >= 4, 1 rate below count as seen; 1 view \
not used: weight 0
        """
        head = f"{self.events:,} events -> {self.positives:,} positives"
        parts = "; ".join(kind.describe() for kind in self.kinds)
        decay = f"; half weight after {self.half_life_days:g} days" if self.half_life_days else ""
        wait = f"; {self.waiting:,} wait for their item" if self.waiting else ""
        return f"{head}: {parts}{decay}{wait}"

    def as_dict(self) -> dict[str, object]:
        """Return the counts as plain values."""
        return {
            "events": self.events,
            "positives": self.positives,
            "waiting": self.waiting,
            "half_life_days": self.half_life_days,
            "kinds": [kind.model_dump() for kind in self.kinds],
        }

"""Interactions in a fixed order, to split for protocols, and which of them are positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.feedback import POSITIVE_SHARE, Feedback
from isthmus.data.interactions.ratings import latest_events
from isthmus.digests import digest, keys_of
from isthmus.errors import InvalidInput, command_in
from isthmus.evaluation.task import INTERACTION_COLUMNS
from isthmus.numerics.arrays import Counts, Mask, Positions
from isthmus.schema import EVENT, ITEM_ID, TIME, USER_ID, VALUE, WEIGHT


class InteractionLog:
    """Interactions sorted by user, time and item, with the domain of each.

    Parameters
    ----------
    table : pyarrow.Table
        user_id, item_id, value, time; a time may be null.
    domains : mapping of str to str
        The domain of every item.

    Raises
    ------
    InvalidInput
        If a column is absent, an id is null, or an item has no domain.
    """

    def __init__(self, table: pa.Table, domains: Mapping[str, str]) -> None:
        _check(table)
        keys = [(name, "ascending") for name in (USER_ID, TIME, ITEM_ID, VALUE)]
        order = pc.sort_indices(table, sort_keys=keys)
        self.table = table.select(INTERACTION_COLUMNS).take(order).combine_chunks()
        self.user_ids, self.users = _encode(self.table.column(USER_ID))
        self.item_ids, self.items = _encode(self.table.column(ITEM_ID))
        absent = [item for item in self.item_ids if item not in domains]
        if absent:
            raise InvalidInput(
                f"{len(absent)} items have no domain, the first is {absent[0]!r}; name the domain "
                "of every item"
            )
        self.domains = domains
        self.domain_of_item = np.array([domains[item] for item in self.item_ids], object)
        self._pairs = self.users * max(1, len(self.item_ids)) + self.items

    def __len__(self) -> int:
        return len(self.table)

    def in_domain(self, domain: str | None) -> Mask:
        """Return which interactions, (n,), are with items of a domain; all, where it is None."""
        if domain is None:
            return np.ones(len(self), bool)
        return np.asarray(self.domain_of_item == domain, bool)[self.items]

    def candidates(self, domain: str | None) -> list[str]:
        """Return all items of a domain, used or not, in the order of their ids."""
        items = self.domains.items()
        return sorted(item for item, of in items if domain is None or of == domain)

    def first_of_pairs(self, mask: Mask) -> Mask:
        """Return, of the interactions in the mask, (n,), the first of each user with each item."""
        rows = np.flatnonzero(mask)
        _, first = np.unique(self._pairs[rows], return_index=True)
        is_first = np.zeros(len(self), bool)
        is_first[rows[first]] = True
        return is_first

    def counts(self, mask: Mask) -> Counts:
        """Return the number of distinct items of each user in the mask, shape (n_users,)."""
        return np.bincount(self.users[self.first_of_pairs(mask)], minlength=len(self.user_ids))

    def with_pairs_of(self, mask: Mask, other: Mask) -> Mask:
        """Return which interactions in a mask, (n,), have a pair of user and item of the other."""
        return np.asarray(mask & np.isin(self._pairs, self._pairs[other]))

    def items_by_user(self, mask: Mask) -> dict[int, tuple[str, ...]]:
        """Return the distinct items of each user in the mask, in the order of the log."""
        rows = np.flatnonzero(self.first_of_pairs(mask))
        users, starts = np.unique(self.users[rows], return_index=True)
        by_user = zip(users.tolist(), np.split(self.items[rows], starts[1:]), strict=False)
        return {user: tuple(self.item_ids[i] for i in items) for user, items in by_user}

    def values_by_user(self, mask: Mask) -> dict[int, tuple[float, ...]]:
        """Return the values that belong to `items_by_user`."""
        rows = np.flatnonzero(self.first_of_pairs(mask))
        values = self.table.column(VALUE).cast(pa.float64()).to_numpy()[rows]
        users, starts = np.unique(self.users[rows], return_index=True)
        by_user = zip(users.tolist(), np.split(values, starts[1:]), strict=False)
        return {user: tuple(of_user.tolist()) for user, of_user in by_user}

    def pair_hashes(self, seed: int, mask: Mask) -> npt.NDArray[np.float64]:
        """Return a hash in [0, 1) of user and item of interactions in a mask, (n,), else NaN."""
        out = np.full(len(self), np.nan)
        rows = np.flatnonzero(mask)
        users, items = self.users[rows].tolist(), self.items[rows].tolist()
        pairs = zip(users, items, strict=True)
        out[rows] = hash_uniform(
            [f"{self.user_ids[u]}\0{self.item_ids[i]}" for u, i in pairs], seed
        )
        return out

    def times(self) -> npt.NDArray[Any]:
        """Return the times as numbers, shape (n,).

        Raises
        ------
        InvalidInput
            If one is null.
        """
        column = self.table.column(TIME)
        if column.null_count:
            raise InvalidInput(
                f"{column.null_count} interactions have no time; a split by time needs all of them"
            )
        temporal = pa.types.is_temporal(column.type)
        return np.asarray(column.cast(pa.int64()) if temporal else column)


def hash_uniform(ids: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """Return a hash in [0, 1) of each id and the seed.

    Examples
    --------
    >>> hash_uniform(["a", "b"], 0)[1] == hash_uniform(["b"], 0)[0], hash_uniform([], 0).shape
    (np.True_, (0,))
    """
    return np.asarray(keys_of(digest(f"{seed}\0{i}") for i in ids) / 2.0**64, np.float64)


def _check(table: pa.Table) -> None:
    for name in INTERACTION_COLUMNS:
        if name not in table.column_names:
            raise InvalidInput(
                f"the interactions have no column {name}; they need "
                f"{', '.join(INTERACTION_COLUMNS)}"
            )
    for name in (USER_ID, ITEM_ID):
        if table.column(name).null_count:
            raise InvalidInput(f"{table.column(name).null_count} interactions have no {name}")


def _encode(column: pa.ChunkedArray) -> tuple[list[str], Positions]:
    """Return the sorted distinct ids, and the index of each row's id among them."""
    ids = pc.unique(column.cast(pa.string())).sort()
    return ids.to_pylist(), np.asarray(
        pc.index_in(column.cast(pa.string()), value_set=ids), np.int64
    )


@dataclass(frozen=True, eq=False)
class Positives:
    """The positive interactions.

    Attributes
    ----------
    table : pyarrow.Table
        The positive interactions.
    threshold : float or None
        The smallest value that is positive; None where every interaction is.
    n_interactions : int
        Number of all interactions.
    """

    table: pa.Table
    threshold: float | None
    n_interactions: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of the threshold."""
        threshold = "any value (all are equal)" if self.threshold is None else f"{self.threshold:g}"
        return {
            "positive from": threshold,
            "positive": f"{len(self.table):,} of {self.n_interactions:,}",
        }


def select_positives(interactions: pa.Table, positive_from: float | None = None) -> Positives:
    """Select the positive interactions.

    Parameters
    ----------
    interactions : pyarrow.Table
        With a column value.
    positive_from : float, optional
        The smallest value that is positive. By default every interaction is where all values are
        equal, and else those of 0.8 of the largest value or more: 4 of 5 stars, as is usual
        where ratings become implicit feedback (Liang et al., WWW 2018).

    Raises
    ------
    InvalidInput
        If no value is above zero and no threshold is given, or nothing is positive.

    Examples
    --------
    >>> select_positives(pa.table({"value": [5.0, 4.0, 3.5]})).facts
    {'positive from': '4', 'positive': '2 of 3'}
    """
    values = interactions.column(VALUE)
    if {EVENT, WEIGHT, TIME} <= {*interactions.column_names} and (
        values.null_count or pc.count_distinct(interactions.column(EVENT)).as_py() > 1
    ):
        return _by_feedback(interactions, positive_from)
    if positive_from is None:
        bounds = pc.min_max(values)
        smallest, largest = bounds["min"].as_py(), bounds["max"].as_py()
        if smallest == largest:
            return Positives(_once(interactions), None, len(interactions))
        positive_from = _default_threshold(values)
        if largest <= 0:
            raise InvalidInput(
                f"the largest value is {largest:g}, so the threshold of positives is unclear; give "
                "positive_from (--positive-from)"
            )
        if positive_from is None:  # the values are zero and one other
            positive_from = largest
    positive = np.asarray(values.to_numpy(), np.float32) >= np.float32(positive_from)
    if not positive.any():
        raise InvalidInput(
            f"no value reaches {positive_from:g}, from which they are positive; the largest is "
            f"{pc.max(values).as_py():g}: give a smaller positive_from (--positive-from)"
        )
    positives = _once(interactions.filter(pa.array(positive)))
    return Positives(positives, positive_from, len(interactions))


def _once(interactions: pa.Table) -> pa.Table:
    """Return the latest event of each user and item: an item is found, or is not, once."""
    if not {USER_ID, ITEM_ID, TIME} <= {*interactions.column_names}:
        return interactions
    return latest_events(interactions)


def _default_threshold(values: pa.ChunkedArray) -> float | None:
    extremes = pc.min_max(values.filter(pc.greater(values, 0)))
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    return None if low is None or low == high else POSITIVE_SHARE * high


def _by_feedback(interactions: pa.Table, positive_from: float | None) -> Positives:
    """Select the positive events of a log of several kinds, or of some without a value."""
    feedback = Feedback.of(interactions, positive_from=positive_from)
    liked = feedback.label(interactions).liked
    if not liked.any():
        raise InvalidInput(
            "no event of the log is positive; how they count is shown by: "
            f"{command_in(None, 'events')}"
        )
    positives = _once(interactions.filter(pa.array(liked)))
    at = positives.schema.get_field_index(VALUE)
    values = positives.column(VALUE).fill_null(1.0)
    return Positives(positives.set_column(at, VALUE, values), positive_from, len(interactions))

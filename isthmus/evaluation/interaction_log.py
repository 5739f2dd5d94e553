"""Interactions in one order, whatever order they came in, to split for protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ratings import default_positive_from
from isthmus.digests import digest, keys_of
from isthmus.errors import InvalidInput
from isthmus.evaluation.task import INTERACTION_COLUMNS
from isthmus.schema import ITEM_ID, TIME, USER_ID, VALUE

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


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
        """Tell which interactions are with items of a domain; with any, where it is None."""
        if domain is None:
            return np.ones(len(self), bool)
        return np.asarray(self.domain_of_item == domain, bool)[self.items]

    def candidates(self, domain: str | None) -> list[str]:
        """Give all items of a domain, used or not, in the order of their ids."""
        return sorted(i for i, own in self.domains.items() if domain is None or own == domain)

    def firsts(self, mask: Mask) -> Mask:
        """Keep, of the interactions in the mask, the first of each user with each item."""
        rows = np.flatnonzero(mask)
        _, first = np.unique(self._pairs[rows], return_index=True)
        kept = np.zeros(len(self), bool)
        kept[rows[first]] = True
        return kept

    def counts(self, mask: Mask) -> Codes:
        """Count the distinct items of each user in the mask, shape (n_users,)."""
        return np.bincount(self.users[self.firsts(mask)], minlength=len(self.user_ids))

    def known(self, mask: Mask, among: Mask) -> Mask:
        """Tell which interactions in the mask repeat a pair of user and item that is in another."""
        return np.asarray(mask & np.isin(self._pairs, self._pairs[among]))

    def items_by_user(self, mask: Mask) -> dict[int, tuple[str, ...]]:
        """Give the distinct items of each user in the mask, in the order of the log."""
        rows = np.flatnonzero(self.firsts(mask))
        users, starts = np.unique(self.users[rows], return_index=True)
        parts = np.split(self.items[rows], starts[1:])
        named = zip(users.tolist(), parts, strict=False)
        return {user: tuple(self.item_ids[i] for i in items) for user, items in named}

    def values_by_user(self, mask: Mask) -> dict[int, tuple[float, ...]]:
        """Give the values that belong to `items_by_user`."""
        rows = np.flatnonzero(self.firsts(mask))
        values = self.table.column(VALUE).cast(pa.float64()).to_numpy()[rows]
        users, starts = np.unique(self.users[rows], return_index=True)
        named = zip(users.tolist(), np.split(values, starts[1:]), strict=False)
        return {user: tuple(own.tolist()) for user, own in named}

    def pair_chances(self, seed: int, mask: Mask) -> npt.NDArray[np.float64]:
        """Give a number in [0, 1) from user and item to each interaction in the mask, else NaN."""
        out = np.full(len(self), np.nan)
        rows = np.flatnonzero(mask)
        users, items = self.users[rows].tolist(), self.items[rows].tolist()
        pairs = zip(users, items, strict=True)
        out[rows] = chances([f"{self.user_ids[u]}\0{self.item_ids[i]}" for u, i in pairs], seed)
        return out

    def times(self) -> npt.NDArray[Any]:
        """Give the times as numbers.

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


def chances(ids: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """Give each id a number in [0, 1) that depends on it and the seed alone.

    Examples
    --------
    >>> chances(["a", "b"], 0)[1] == chances(["b"], 0)[0], chances([], 0).shape
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


def _encode(column: pa.ChunkedArray) -> tuple[list[str], Codes]:
    """Give the distinct ids in their order, and the place of each row's among them."""
    ids = pc.unique(column.cast(pa.string())).sort()
    return ids.to_pylist(), np.asarray(
        pc.index_in(column.cast(pa.string()), value_set=ids), np.int64
    )


@dataclass(frozen=True, eq=False)
class Positives:
    """The positive interactions among all.

    Attributes
    ----------
    table : pyarrow.Table
        The positive ones.
    least : float or None
        The least value that is positive; None where every interaction is.
    of : int
        How many interactions there are in all.
    """

    table: pa.Table
    least: float | None
    of: int

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it."""
        least = "any value (all are equal)" if self.least is None else f"{self.least:g}"
        return {"positive from": least, "positive": f"{len(self.table):,} of {self.of:,}"}


def positives_of(interactions: pa.Table, positive_from: float | None = None) -> Positives:
    """Choose the positive interactions.

    Parameters
    ----------
    interactions : pyarrow.Table
        With a column value.
    positive_from : float, optional
        The least value that is positive. By default every interaction is where all values are
        equal, and else those of 0.8 of the largest value or more: 4 of 5 stars, as is usual
        where ratings become implicit feedback (Liang et al., WWW 2018).

    Raises
    ------
    InvalidInput
        If no value is above zero and nothing is told, or nothing is positive.

    Examples
    --------
    >>> positives_of(pa.table({"value": [5.0, 4.0, 3.5]})).facts
    {'positive from': '4', 'positive': '2 of 3'}
    """
    values = interactions.column(VALUE)
    if positive_from is None:
        found = pc.min_max(values)
        smallest, largest = found["min"].as_py(), found["max"].as_py()
        if smallest == largest:  # of two zeros one may be negative, so they are compared
            return Positives(interactions, None, len(interactions))
        positive_from = default_positive_from(interactions)
        if largest <= 0:
            raise InvalidInput(
                f"the largest value is {largest:g}, so what is positive must be told; give "
                "positive_from (--positive-from)"
            )
        if positive_from is None:  # zero and one other value
            positive_from = largest
    kept = np.asarray(values.to_numpy(), np.float32) >= np.float32(positive_from)
    if not kept.any():
        raise InvalidInput(
            f"no value reaches {positive_from:g}, from which they are positive; the largest is "
            f"{pc.max(values).as_py():g}: give a smaller positive_from (--positive-from)"
        )
    return Positives(interactions.filter(pa.array(kept)), positive_from, len(interactions))

"""k-anonymity of what is shown: nothing that rests on fewer users than the space demands.

A list is ranked as ever. What is shown of it besides, a reason or a row of popular items, is left
out where only a few users stand behind it, who could be recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from isthmus.data.interactions.store import InteractionStore
from isthmus.numerics.arrays import Counts, Mask
from isthmus.retrieval.search.results import Explanation, Hit
from isthmus.schema import ITEM_ID, USER_ID


class Anonymity:
    """Says what enough users stand behind.

    Parameters
    ----------
    interactions : InteractionStore
        The stored events.
    min_users : int
        Users that anything shown must rest on; 1 shows everything.
    """

    def __init__(self, interactions: InteractionStore, min_users: int) -> None:
        self._interactions, self._min_users = interactions, min_users
        self._counted: tuple[object, dict[str, int]] | None = None

    @property
    def demanded(self) -> bool:
        """Whether anything may have to be left out."""
        return self._min_users > 1

    def users_of(self, item_ids: Sequence[str]) -> Counts:
        """Return the number of users with an event of each item, int64, shape (n_items,)."""
        version = self._interactions.version
        if self._counted is None or self._counted[0] != version:
            events = self._interactions.table(USER_ID, ITEM_ID)
            pairs = events.group_by([USER_ID, ITEM_ID]).aggregate([])
            counts = pc.value_counts(pairs.column(ITEM_ID))
            names, users = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
            self._counted = version, dict(zip(names, users, strict=True))
        return np.array([self._counted[1].get(name, 0) for name in item_ids], np.int64)

    def is_shown(self, users: Counts) -> Mask:
        """Return what may be shown that rests on these numbers of users, or on none."""
        return np.asarray((users == 0) | (users >= self._min_users))

    def shown(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits without the explanations, and the reasons in them, that rest on too few.

        An item that has users, but too few, has no explanation. An item of the history is no
        reason for an item that too few users have in common with it; a pair without a common user
        rests on its contents.
        """
        if not self.demanded:
            return list(hits)
        known = self.is_shown(self.users_of([hit.item_id for hit in hits]))
        return [
            hit
            if hit.explanation is None
            else replace(
                hit, explanation=self._pruned(hit.item_id, hit.explanation) if enough else None
            )
            for hit, enough in zip(hits, known.tolist(), strict=True)
        ]

    def _pruned(self, item_id: str, explanation: Explanation) -> Explanation:
        others = [reason.item_id for reason in explanation.history]
        kept = self.is_shown(self._common_users(item_id, others)).tolist()
        reasons = zip(explanation.history, kept, strict=True)
        return replace(explanation, history=tuple(reason for reason, enough in reasons if enough))

    def _common_users(self, item_id: str, others: Sequence[str]) -> Counts:
        """Return how many users have an item and each of some others, shape (n_others,)."""
        events = self._interactions.of_items([item_id, *others])
        users = pc.unique(events.filter(pc.equal(events.column(ITEM_ID), item_id)).column(USER_ID))
        common = events.filter(pc.is_in(events.column(USER_ID), users))
        pairs = common.group_by([USER_ID, ITEM_ID]).aggregate([])
        counts = pc.value_counts(pairs.column(ITEM_ID))
        names, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
        found = dict(zip(names, numbers, strict=True))
        return np.array([found.get(name, 0) for name in others], np.int64)

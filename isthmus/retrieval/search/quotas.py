"""Quotas: which domain each place of a list goes to.

A quota asks for a share of the places (0.5) or for a number of them on each page of k. Which domain
a place belongs to depends on the quotas and the places before it alone, so a longer list begins
with the shorter one. Every prefix of a list has less than one place more or less of a domain than
the quotas ask for. The places are given by earliest deadline first, as items are sequenced in just-
in-time production (Steiner and Yeomans, "Level Schedules for Mixed-Model, Just-in-Time Processes",
Management Science 1993).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from isthmus.ids import is_whole
from isthmus.numerics.arrays import Mask, Positions
from isthmus.retrieval.search.quota_request import ROUNDING, Quotas

CACHED_TURNS: Final = 64


@dataclass(frozen=True)
class Pace:
    """How many of the first n places a quota asks for: ``target(n)``, which never falls.

    Each page of `page` places repeats the pace: none until place `start`, then `rate` a place, at
    most `most` a page.

    Attributes
    ----------
    page : float
        Places of a page.
    start, rate, most : float
        See above.
    """

    page: float
    start: float
    rate: float
    most: float

    def target(self, place: int) -> float:
        """Return how many of the first places it asks for."""
        pages, rest = divmod(place, self.page)
        return float(pages * self.most + min(self.most, max(0.0, rest - self.start) * self.rate))

    def deadline(self, count: int) -> float:
        """Return the first place at which it asks for `count` items; infinite if it never does."""
        if self.most < ROUNDING:
            return math.inf
        pages = math.ceil(count / self.most - ROUNDING) - 1
        rest = (count - pages * self.most) / self.rate
        return math.ceil(pages * self.page + self.start + rest - ROUNDING)


def quota_turns(quotas: Quotas, k: int, n: int) -> Positions:
    """Return the quota that each place of a list belongs to.

    Numbers of places come first, at the pace that the shares leave them; the places that are left
    then belong to the domains without a quota. Of equals the quota named first has its turn.

    Parameters
    ----------
    quotas : mapping of str to int or float
        Quota of each domain.
    k : int
        Places of a page, for numbers of places.
    n : int
        Places of the list.

    Returns
    -------
    numpy.ndarray
        int64, shape (n,): positions in `quotas`; ``len(quotas)`` for the other domains.

    Examples
    --------
    >>> quota_turns({"films": 0.5, "books": 0.25}, 8, 8).tolist()
    [0, 1, 0, 2, 0, 1, 0, 2]
    >>> quota_turns({"films": 2, "books": 1}, 5, 5).tolist()
    [0, 0, 1, 2, 2]
    """
    # One place (1) and all of them (1.0) are equal keys; so it says which is meant.
    return _turns(tuple((name, q, is_whole(q)) for name, q in quotas.items()), k, n)


@lru_cache(maxsize=CACHED_TURNS)
def _turns(quotas: tuple[tuple[str, int | float, bool], ...], k: int, n: int) -> Positions:
    paces = _paces({name: quota for name, quota, _ in quotas}, k)
    given = [0] * len(paces)
    turns = np.empty(n, np.int64)
    for place in range(1, n + 1):
        open_ = [at for at, pace in enumerate(paces) if pace.target(place) > given[at] + ROUNDING]
        turn = min(open_, key=lambda at: paces[at].deadline(given[at] + 1))  # the first of equals
        given[turn] += 1
        turns[place - 1] = turn
    turns.flags.writeable = False  # the users of a batch share it
    return turns


def _paces(quotas: Quotas, k: int) -> list[Pace]:
    """Return the pace of each quota, and last that of the domains without one."""
    shares = [0.0 if is_whole(quota) else float(quota) for quota in quotas.values()]
    numbers = sum(float(quota) for quota in quotas.values() if is_whole(quota))
    left = max(0.0, 1.0 - sum(shares))  # of each place, for numbers first
    filled = min(numbers / left, float(k)) if numbers else 0.0  # the place where they have all
    paces = [
        Pace(k, 0.0, share, share * k) if share else Pace(k, 0.0, quota / filled, float(quota))
        for quota, share in zip(quotas.values(), shares, strict=True)
    ]
    return [*paces, Pace(k, filled, left, left * (k - filled))]


@dataclass(frozen=True, eq=False)
class Turns:
    """Which candidates may take a place, where those of its own quota may have run out.

    Attributes
    ----------
    turns : numpy.ndarray
        int64, shape (n,): the quota of each place.
    n_quotas : int
        Number of quotas; candidates of the other domains have this number for their quota.
    """

    turns: Positions
    n_quotas: int

    def eligible(self, place: int, left: Positions) -> Mask:
        """Return which quotas may have a place, from 0, given the candidates that each has left.

        The one whose turn it is; without candidates, the other quotas; and only when those have
        none either, the domains without a quota.

        Parameters
        ----------
        place : int
            The place, from 0.
        left : numpy.ndarray
            int64, shape (n_quotas + 1,).
        """
        has, turn = left > 0, self.turns[place]
        if has[turn]:
            return np.asarray(np.arange(len(left)) == turn)
        if has[: self.n_quotas].any():
            has[-1] = False
        return has

    def fill(self, quota_ids: Positions, first: int) -> Positions:
        """Choose candidates for the places from `first` on, the best one that may have each.

        Parameters
        ----------
        quota_ids : numpy.ndarray
            int64, shape (n_candidates,): the quota of each candidate, best first.
        first : int
            The first place.

        Returns
        -------
        numpy.ndarray
            int64: positions of candidates; fewer than places only where there are fewer.

        Examples
        --------
        >>> Turns(np.array([0, 1, 1, 1]), 2).fill(np.array([2, 1, 0, 0, 2]), 0).tolist()
        [2, 1, 3, 0]
        """
        queues = [np.flatnonzero(quota_ids == quota) for quota in range(self.n_quotas + 1)]
        lengths, taken = np.array([len(queue) for queue in queues]), np.zeros(len(queues), np.int64)
        chosen = []
        for place in range(first, min(len(self.turns), first + len(quota_ids))):
            quotas = np.flatnonzero(self.eligible(place, lengths - taken)).tolist()
            quota = min(quotas, key=lambda quota: queues[quota][taken[quota]])
            chosen.append(queues[quota][taken[quota]])
            taken[quota] += 1
        return np.array(chosen, np.int64)

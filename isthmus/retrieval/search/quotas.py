"""Quotas: how many places of a list each domain gets.

Shares become places by the method of the largest remainder (Hamilton's, Hare quota).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import Positions

Quotas = Mapping[str, int | float]
TINY = 1e-9


def allot(quotas: Quotas, k: int) -> list[int]:
    """Give the places of each domain, and last those that are left for all the others.

    A whole number is a number of places, a fraction a share of k. Every share, and what is left
    for the others, gets its whole part; the places that remain go to the largest remainders, of
    equals to the one named first.

    Parameters
    ----------
    quotas : mapping of str to int or float
        Quota of each domain.
    k : int
        Places there are.

    Returns
    -------
    list of int
        Length len(quotas) + 1; they sum to k.

    Raises
    ------
    InvalidInput
        If a quota is no good, or they ask for more places than there are.

    Examples
    --------
    >>> allot({"films": 3, "books": 0.25, "songs": 0.25}, 10)
    [3, 3, 2, 2]
    """
    if not quotas:
        return [k]
    wanted = [_places(domain, quota, k) for domain, quota in quotas.items()]
    left = k - sum(wanted)
    if left < -TINY:
        raise InvalidInput(f"the quotas ask for {sum(wanted):g} places, but k is {k}")
    exact = np.array([*wanted, max(left, 0.0)])
    places = np.floor(exact + TINY)
    largest = np.argsort(-(exact - places).round(9), kind="stable")
    places[largest[: k - int(places.sum())]] += 1
    return [int(n) for n in places]


def fill(places: list[int], parties: Positions, k: int) -> Positions:
    """Say how many items each party gets, given the candidates there are.

    Places that a party cannot fill go to the best candidates of the other parties that have
    places, and only when those have no more, to the best of the rest.

    Parameters
    ----------
    places : list of int
        Places of each party; they sum to k.
    parties : numpy.ndarray
        int64, shape (n,): party of each candidate, best first.
    k : int
        Places in all.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_parties,); they sum to k where there are k candidates.

    Examples
    --------
    >>> fill([2, 2, 0], np.array([0, 2, 0, 0, 1]), 4).tolist()
    [3, 1, 0]
    """
    own = np.array(places)
    got = np.minimum(own, np.bincount(parties, minlength=len(own)))
    order = places_within(parties)
    for may_have_more in (own > 0, own == 0):
        waiting = parties[(order >= got[parties]) & may_have_more[parties]]
        got = got + np.bincount(waiting[: k - got.sum()], minlength=len(own))
    return np.asarray(got, np.int64)


def places_within(parties: Positions) -> Positions:
    """Give the place of each candidate among those of its party, from 0, shape (n,).

    Examples
    --------
    >>> places_within(np.array([1, 0, 1, 1, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    out = np.zeros(len(parties), np.int64)
    for party in np.unique(parties).tolist():
        own = parties == party
        out[own] = np.arange(own.sum())
    return out


def _places(domain: str, quota: int | float, k: int) -> float:
    if isinstance(quota, (int, np.integer)) and not isinstance(quota, bool) and quota >= 1:
        return float(quota)
    if isinstance(quota, (float, np.floating)) and 0 < quota <= 1:
        return float(quota) * k
    raise InvalidInput(
        f"the quota of domain {domain!r} is {quota!r}; give a whole number of places from 1, or "
        "a share of k over 0.0 and up to 1.0"
    )

"""Quotas: how the places of a list are filled when a domain has too few items."""

from __future__ import annotations

import numpy as np

from isthmus.index.ann.exact import Positions


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

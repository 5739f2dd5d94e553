"""What is learned from, what is chosen on and what is measured on, told apart by digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.digests import digest

Rows = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]  # shape (n_pairs, 2): rows of contents

LEARNING: Final = 0
CHOOSING: Final = 1
MEASURING: Final = 2

LARGE_GROUP: Final = 0.05  # of all contents: so many that hang together are told apart one by one


def draw_parts(keys: Sequence[bytes], choosing: float, held_out: float, seed: int) -> Rows:
    """Give the part of each key, by its digest: the same whatever else is given.

    Parameters
    ----------
    keys : sequence of bytes
        What decides; equal keys fall into one part.
    choosing, held_out : float
        Shares of the parts `CHOOSING` and `MEASURING`; the rest is for `LEARNING`.
    seed : int
        Of the draw.

    Examples
    --------
    >>> draw_parts([b"a", b"b", b"a"], 0.4, 0.4, 0).tolist()
    [2, 1, 2]
    """
    salt = seed.to_bytes(8, "little", signed=True)
    draws = np.array([int.from_bytes(digest(salt + key)[:8], "little") for key in keys]) / 2.0**64
    parts = np.full(len(keys), LEARNING, np.int64)
    parts[draws < choosing + held_out] = CHOOSING
    parts[draws < held_out] = MEASURING
    return parts


def keys_by_pairs(digests: Sequence[bytes], pairs: Pairs) -> list[bytes]:
    """Give a key for each content, so that what hangs together by pairs is kept together.

    Where most hangs together with most, as items that users share do, every content has a key of
    its own, and pairs across two parts are of no use.

    Parameters
    ----------
    digests : sequence of bytes
        Of each content.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(digests)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups = connected_components(links, directed=False)[1]
    if np.bincount(groups, minlength=1).max() > max(LARGE_GROUP * count, 2):
        return list(digests)
    least: dict[int, bytes] = {}
    for group, own in zip(groups.tolist(), digests, strict=True):
        least[group] = min(own, least.get(group, own))
    return [least[group] for group in groups.tolist()]


def pairs_within(pairs: Pairs, parts: Rows, part: int) -> Pairs:
    """Give the pairs both of whose contents are in a part."""
    within: Pairs = pairs[(parts[pairs] == part).all(axis=1)]
    return within

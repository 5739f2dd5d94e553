"""The pool: what all sources found for each user, without repeats, and what each says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import unique_sorted
from isthmus.retrieval.candidates.scorer import Scorer, TopK

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """Candidates of many users.

    Attributes
    ----------
    sources : tuple of str
        Who was asked.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the candidates of user *i* are ``starts[i]`` to
        ``starts[i + 1]``.
    items : numpy.ndarray
        int64, shape (n_candidates,): ascending for each user.
    scores : numpy.ndarray
        float32, shape (n_sources, n_candidates): what each source says of every candidate,
        whoever found it.
    ranks : numpy.ndarray
        int32, shape (n_sources, n_candidates): its place in a source's list, from 1; 0 where the
        source did not propose it.
    """

    sources: tuple[str, ...]
    starts: Columns
    items: Columns
    scores: FloatArray
    ranks: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def owners(self) -> Columns:
        """The user of each candidate, shape (n_candidates,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def filter(self, kept: Mask) -> CandidatePool:
        """Keep some candidates, shape (n_candidates,)."""
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts]
        return CandidatePool(
            self.sources, starts, self.items[kept], self.scores[:, kept], self.ranks[:, kept]
        )


def candidate_pool(
    scorers: Mapping[str, Scorer], n: int, allowed: Mask, seen: csr_array
) -> CandidatePool:
    """Ask every source for its best, and every source of all that were found.

    Parameters
    ----------
    opinions : mapping of str to Opinion
        What each source thinks of items for these users.
    n : int
        Items that each source may propose to a user.
    allowed : numpy.ndarray
        bool, shape (n_items,): what may be proposed.
    seen : scipy.sparse.csr_array
        Non-zero where a user has seen an item, shape (n_users, n_items).
    """
    users, width = seen.shape
    lists = [scorer.top_k(n, allowed, seen) for scorer in scorers.values()]
    keys = [_keys(found, width) for found in lists]
    every = np.concatenate([np.empty(0, np.int64), *keys])
    union = unique_sorted(every)
    owners, items = np.divmod(union, width)
    ranks = np.zeros((len(lists), len(union)), np.int32)
    proposers = np.repeat(np.arange(len(lists)), [len(key) for key in keys])
    ranks[proposers, np.searchsorted(union, every)] = np.concatenate([*map(_places, lists)])
    scores = np.zeros((len(lists), len(union)), np.float32)
    for source, scorer in enumerate(scorers.values()):
        scores[source] = scorer.score_pairs(owners, items)
    starts = np.searchsorted(owners, np.arange(users + 1))
    return CandidatePool(tuple(scorers), starts, items, scores, ranks)


def _places(found: TopK) -> Columns:
    """Give each item its place in its list, from 1."""
    return np.arange(1, len(found.items) + 1) - np.repeat(found.starts[:-1], np.diff(found.starts))


def _keys(found: TopK, width: int) -> Columns:
    owners = np.repeat(np.arange(len(found.starts) - 1), np.diff(found.starts))
    return owners * width + found.items

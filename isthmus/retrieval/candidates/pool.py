"""The candidate pool: the union of what all generators retrieve, scored by all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import lengths_of, starts_of, unique_sorted
from isthmus.retrieval.candidates.scorer import Scorer, TopK

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROUNDING: Final = 1e-6


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """Candidates of many users.

    Attributes
    ----------
    generators : tuple of str
        The names of the generators.
    starts : numpy.ndarray
        int64, shape (n_users + 1,): the candidates of user *i* are ``starts[i]`` to
        ``starts[i + 1]``.
    items : numpy.ndarray
        int64, shape (n_candidates,), ascending for each user.
    scores : numpy.ndarray
        float32, shape (n_generators, n_candidates): the score of every candidate by each
        generator, also where another one retrieved it.
    ranks : numpy.ndarray
        int32, shape (n_generators, n_candidates): the rank in the list of a generator, from 1; 0
        where it did not retrieve the candidate. Equal scores have the best of their ranks, also
        the one after which the list ends.
    """

    generators: tuple[str, ...]
    starts: Columns
    items: Columns
    scores: FloatArray
    ranks: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.starts) - 1

    @property
    def owners(self) -> Columns:
        """The user of each candidate, shape (n_candidates,)."""
        return np.repeat(np.arange(len(self)), lengths_of(self.starts))

    def filter(self, mask: Mask) -> CandidatePool:
        """Return the candidates where a mask of shape (n_candidates,) is true; users stay."""
        starts = starts_of(mask)[self.starts]
        scores, ranks = self.scores[:, mask], self.ranks[:, mask]
        return CandidatePool(self.generators, starts, self.items[mask], scores, ranks)


def candidate_pool(
    scorers: Mapping[str, Scorer], n: int, allowed: Mask, seen: csr_array
) -> CandidatePool:
    """Return the best items of every scorer, and the scores of all of them by every scorer.

    Parameters
    ----------
    scorers : mapping of str to Scorer
        The scorer of each generator for these users.
    n : int
        Items that each scorer retrieves for a user, at most.
    allowed : numpy.ndarray
        bool, shape (n_items,): items that may be candidates.
    seen : scipy.sparse.csr_array
        Non-zero where a user has seen an item, shape (n_users, n_items).
    """
    n_users, n_items = seen.shape
    lists = [scorer.top_k(n, allowed, seen) for scorer in scorers.values()]
    keys = [_keys(top, n_items) for top in lists]  # a user and an item, as one number
    union = unique_sorted(np.concatenate([np.empty(0, np.int64), *keys]))
    owners, items = np.divmod(union, n_items)
    scores = np.zeros((len(lists), len(union)), np.float32)
    for row, scorer in enumerate(scorers.values()):
        scores[row] = scorer.score_pairs(owners, items)
    ranks = _ranks(lists, [np.searchsorted(union, key) for key in keys], scores, owners)
    starts = np.searchsorted(owners, np.arange(n_users + 1))
    return CandidatePool(tuple(scorers), starts, items, scores, ranks)


def _ranks(
    lists: Sequence[TopK], places: Sequence[Columns], scores: FloatArray, owners: Columns
) -> npt.NDArray[np.int32]:
    """Return the rank of each candidate in the list of each generator.

    The lists of all generators are ranked at once, as if each were of users of its own: a single
    user has short ones, and each call of NumPy takes as long as what it does with one of them.

    Parameters
    ----------
    lists : sequence of TopK
        What each generator found.
    places : sequence of numpy.ndarray
        int64: where in the pool these candidates are, for each generator.
    scores : numpy.ndarray
        float32, shape (n_generators, n_candidates).
    owners : numpy.ndarray
        int64, shape (n_candidates,): the user of each candidate.

    Returns
    -------
    numpy.ndarray
        int32, shape (n_generators, n_candidates), see `CandidatePool`.
    """
    n_lists, n_candidates = scores.shape
    if not n_candidates:
        return np.zeros(scores.shape, np.int32)
    n_users = len(lists[0].starts) - 1
    lengths = np.concatenate([lengths_of(top.starts) for top in lists])  # (n_lists * n_users,)
    starts = starts_of(lengths)
    listed = np.concatenate([at + row * n_candidates for row, at in enumerate(places)])
    lists_of = (owners + n_users * np.arange(n_lists)[:, None]).ravel()  # of each score
    flat = scores.ravel()
    ranks = np.zeros(len(flat), np.int32)
    order, of_list, filled = np.arange(len(listed)), flat[listed], lengths > 0
    heads = np.where(filled, listed[starts[:-1] % len(listed)], 0)
    ends = np.where(filled, listed[starts[1:] - 1], 0)
    last = np.where(filled, flat[ends], np.nan)
    # The terms of a small score may be as large as those of the best, and they are rounded.
    rounding = ROUNDING * np.maximum(np.abs(flat[heads]), np.abs(last))
    is_new = np.ones(len(listed), bool)
    steps = np.abs(of_list[1:] - of_list[:-1])
    is_new[1:] = ~(steps <= np.repeat(rounding, lengths)[1:])
    is_new[starts[:-1][filled]] = True
    first = np.maximum.accumulate(np.where(is_new, order, 0))
    ranks[listed] = first - np.repeat(starts[:-1], lengths) + 1
    ends_with = np.abs(flat - last[lists_of]) <= rounding[lists_of]  # NaN is not
    tied = (ranks == 0) & (flat != 0) & ends_with  # 0 is no score
    ranks[tied] = ranks[ends[lists_of[tied]]]
    return ranks.reshape(scores.shape)


def _keys(top: TopK, n_items: int) -> Columns:
    owners = np.repeat(np.arange(len(top.starts) - 1), lengths_of(top.starts))
    return owners * n_items + top.items

"""The candidate pool: the union of what all generators retrieve, scored by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import unique_sorted
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
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def filter(self, mask: Mask) -> CandidatePool:
        """Return the candidates where a mask of shape (n_candidates,) is true; users stay."""
        starts = np.concatenate([[0], np.cumsum(mask)])[self.starts]
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
    ranks = np.zeros((len(lists), len(union)), np.int32)
    scores = np.zeros((len(lists), len(union)), np.float32)
    for row, scorer in enumerate(scorers.values()):
        scores[row] = scorer.score_pairs(owners, items)
        listed = np.searchsorted(union, keys[row])
        ranks[row] = _ranks(lists[row].starts, listed, scores[row], owners)
    starts = np.searchsorted(owners, np.arange(n_users + 1))
    return CandidatePool(tuple(scorers), starts, items, scores, ranks)


def _ranks(
    starts: Columns, listed: Columns, scores: FloatArray, owners: Columns
) -> npt.NDArray[np.int32]:
    """Return the rank of each candidate in the list of a generator.

    Parameters
    ----------
    starts : numpy.ndarray
        int64, shape (n_users + 1,): where the list of each user starts.
    listed : numpy.ndarray
        int64: the listed candidates of all users, best first for each.
    scores, owners : numpy.ndarray
        Shape (n_candidates,): the score and the user of each candidate.
    """
    ranks = np.zeros(len(scores), np.int32)
    lengths = np.diff(starts)
    places, of_list = np.arange(len(listed)), scores[listed]
    heads = np.where(lengths > 0, listed[starts[:-1] % len(listed)] if len(listed) else 0, 0)
    ends = np.where(lengths > 0, listed[starts[1:] - 1] if len(listed) else 0, 0)
    last = np.where(lengths > 0, scores[ends] if len(scores) else 0, np.nan)
    # The terms of a small score may be as large as those of the best, and they are rounded.
    rounding = ROUNDING * np.maximum(np.abs(scores[heads] if len(scores) else 0), np.abs(last))
    is_new = np.ones(len(listed), bool)
    steps = np.abs(of_list[1:] - of_list[:-1])
    is_new[1:] = ~(steps <= np.repeat(rounding, lengths)[1:])
    is_new[starts[:-1][lengths > 0]] = True
    first = np.maximum.accumulate(np.where(is_new, places, 0))
    ranks[listed] = first - np.repeat(starts[:-1], lengths) + 1
    ends_with = np.abs(scores - last[owners]) <= rounding[owners]  # NaN is not
    tied = (ranks == 0) & (scores != 0) & ends_with  # 0 is no score
    ranks[tied] = ranks[ends[owners[tied]]]
    return ranks


def _keys(top: TopK, n_items: int) -> Columns:
    owners = np.repeat(np.arange(len(top.starts) - 1), np.diff(top.starts))
    return owners * n_items + top.items

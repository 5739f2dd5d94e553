"""A trained recommender: candidate generators, item statistics, a ranker for each target domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.data.interactions.feedback import Feedback
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ratings.model import RatingModel

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isthmus.retrieval.ranker.ranker import Ranker

DEPTH = 200
CANDIDATES_PER_PLACE = 4
MIN_CANDIDATES = 60
ROUNDING = 2e-6  # of scores, relative to them and at least absolute


@dataclass(frozen=True, eq=False)
class RankedPool:
    """The ranked candidates of a batch of users.

    Attributes
    ----------
    pool : CandidatePool
        The candidates, with the scores and ranks of every generator.
    scores : numpy.ndarray
        float32, shape (n_candidates,): log-odds that the user likes the candidate.
    """

    pool: CandidatePool
    scores: FloatArray

    def rows_of(self, user: int) -> slice:
        """Return where the candidates of a user are."""
        return slice(self.pool.starts[user], self.pool.starts[user + 1])

    def best(self, user: int, n: int) -> tuple[Columns, FloatArray]:
        """Return the n best items of a user and their scores, both (n,), best first."""
        rows = self.rows_of(user)
        top = top_k(self.scores[rows], n)
        return self.pool.items[rows][top], self.scores[rows][top]

    def scores_of(self, user: int) -> FloatArray:
        """Return the scores of all candidates of a user, float32, shape (n_candidates,)."""
        return self.scores[self.rows_of(user)]

    def proposed_by(self, generator: str, user: int, n: int) -> Columns:
        """Return what a generator proposed to a user, int64, best first, at most n items."""
        rows = self.rows_of(user)
        ranks = self.pool.ranks[self.pool.generators.index(generator), rows]
        order = np.argsort(ranks, kind="stable")
        return self.pool.items[rows][order[ranks[order] > 0]][:n]


@dataclass(frozen=True, eq=False)
class Recommender:
    """Everything that was learned of items and domains.

    Attributes
    ----------
    item_ids : numpy.ndarray
        str objects, shape (n_items,): the items it learned from, in the order of its columns.
    domain_names : tuple of str
        The domains, by code.
    domains : numpy.ndarray
        int64, shape (n_items,): codes.
    generators : CandidateGenerators
        The candidate generators.
    statistics : ItemStatistics
        Statistics of the items.
    rankers : mapping of str to Ranker
        The ranker of each target domain.
    content_graph : scipy.sparse.csr_array
        The content k-nearest-neighbour graph of the items, see `TrainingData.content_graph`.
    feedback : Feedback or None
        How events count; None where all kinds count the same.
    ignored : mapping of str to sequence of str
        For a target domain, the domains whose histories hurt there and are ignored.
    rating : RatingModel or None
        Predicts values, if the values that it learned from differ.
    vector_names : tuple of str
        The named vectors of the items that it learned from.
    rated_events : tuple of str or None
        The kinds of event whose values are ratings; None where all are.
    """

    item_ids: npt.NDArray[np.object_]
    domain_names: tuple[str, ...]
    domains: Columns
    generators: CandidateGenerators
    statistics: ItemStatistics
    rankers: Mapping[str, Ranker]
    content_graph: csr_array
    feedback: Feedback | None = None
    ignored: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rating: RatingModel | None = None
    vector_names: tuple[str, ...] = ()
    rated_events: tuple[str, ...] | None = None

    def rank(
        self,
        data: TrainingData,
        histories: UserHistories,
        domain: str,
        allowed: Mask,
        *,
        depth: int = DEPTH,
    ) -> RankedPool:
        """Generate candidates and rank them.

        Parameters
        ----------
        data : TrainingData
            The items: those it learned from, then new ones.
        histories : UserHistories
            The users.
        domain : str
            The target domain; it must have a ranker.
        allowed : numpy.ndarray
            bool, shape (n_items,): the items of the domain that may be recommended.
        depth : int
            Candidates of each generator.
        """
        target = self.domain_names.index(domain)
        histories = self.without_ignored(data, histories, domain)
        scorers = self.generators.scorers(data, histories, target)
        pool = candidate_pool(scorers, depth, allowed, histories.seen(len(data)))
        scores = self.rankers[domain].score(data, histories, pool, self.statistics, target)
        return RankedPool(pool, level_scores(scores, pool.owners))

    def without_ignored(
        self, data: TrainingData, histories: UserHistories, domain: str
    ) -> UserHistories:
        """Return histories without the domains that are ignored for a target domain."""
        ignored = [self.domain_names.index(name) for name in self.ignored.get(domain, ())]
        if not ignored:
            return histories
        return histories.filter(~np.isin(data.domains[histories.columns], ignored))


def level_scores(scores: FloatArray, owners: Columns) -> FloatArray:
    """Return scores of which those that differ by rounding alone are equal, shape (n_candidates,).

    Matrix products round by the place of a row, so equal items leave the network with scores that
    differ in the last digits.

    Examples
    --------
    >>> level_scores(np.array([1.0, 2.0, 1.0000001], np.float32), np.zeros(3, np.int64)).tolist()
    [1.0, 2.0, 1.0]
    """
    order = np.lexsort((scores, owners))
    ordered, users = scores[order], owners[order]
    is_new = np.ones(len(order), bool)
    gaps = ordered[1:] - ordered[:-1]
    is_new[1:] = (gaps > ROUNDING * np.maximum(1, np.abs(ordered[1:]))) | (users[1:] != users[:-1])
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    leveled = np.empty_like(scores)
    leveled[order] = ordered[first]
    return leveled


def depth_of(n: int) -> int:
    """Return the candidates of each generator for a list of n: four a place, from 60 to 200."""
    return max(min(CANDIDATES_PER_PLACE * n, DEPTH), MIN_CANDIDATES, n)

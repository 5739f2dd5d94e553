"""A trained recommender: sources, facts, and a ranking head for each target domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ratings.model import RatingModel

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from isthmus.retrieval.ranker.ranker import RankingHead

DEPTH = 200
CANDIDATES_A_PLACE = 5
FEWEST_CANDIDATES = 60


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found for a batch of users.

    Attributes
    ----------
    pool : Pool
        The candidates, with what every source says of them.
    scores : numpy.ndarray
        float32, shape (n_candidates,): the head's.
    """

    pool: CandidatePool
    scores: FloatArray

    def best(self, user: int, n: int) -> tuple[Columns, FloatArray]:
        """Give a user's n best items and their scores."""
        own = slice(self.pool.starts[user], self.pool.starts[user + 1])
        top = top_k(self.scores[own], n)
        return self.pool.items[own][top], self.scores[own][top]

    def scores_of(self, user: int) -> FloatArray:
        """Give the scores of all candidates of a user."""
        return self.scores[self.pool.starts[user] : self.pool.starts[user + 1]]

    def found_by(self, user: int, source: str, n: int) -> Columns:
        """Give what a source proposed to a user, best first, at most n items."""
        own = slice(self.pool.starts[user], self.pool.starts[user + 1])
        ranks = self.pool.ranks[self.pool.sources.index(source), own]
        order = np.argsort(ranks, kind="stable")
        return self.pool.items[own][order[ranks[order] > 0]][:n]


@dataclass(frozen=True, eq=False)
class Recommender:
    """Everything that was learned of the items and domains of a corpus.

    Attributes
    ----------
    item_ids : numpy.ndarray
        str objects, shape (n_items,): the items it learned from, in the order of its columns.
    domain_names : tuple of str
        The domains, by code.
    domains : numpy.ndarray
        int64, shape (n_items,).
    sources : Sources
        The sources of candidates.
    facts : ItemFacts
        What is known of items.
    heads : mapping of str to RankingHead
        The head of each target domain.
    alike : scipy.sparse.csr_array
        The items nearest in content, see `TrainingData.content_graph`.
    positive_from : float or None
        Least value of an interaction that counts as liked; None where all above zero do.
    ignored : mapping of str to sequence of str
        For a target domain, the domains whose histories do harm there, and are not looked at.
    rating : RatingModel or None
        Predicts values, where those that it learned from differ.
    vector_names : tuple of str
        The named vectors of the item vectors that it learned from.
    rated_events : tuple of str or None
        The kinds of event whose values are ratings; None where all are.
    """

    item_ids: npt.NDArray[np.object_]
    domain_names: tuple[str, ...]
    domains: Columns
    sources: CandidateGenerators
    facts: ItemFacts
    heads: Mapping[str, RankingHead]
    alike: csr_array
    positive_from: float | None = None
    ignored: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rating: RatingModel | None = None
    vector_names: tuple[str, ...] = ()
    rated_events: tuple[str, ...] | None = None

    def answer(
        self,
        corpus: TrainingData,
        histories: UserHistories,
        domain: str,
        allowed: Mask,
        *,
        depth: int = DEPTH,
    ) -> Answer:
        """Find and rank candidates.

        Parameters
        ----------
        corpus : Corpus
            The items: those it learned from, then those that are new.
        histories : Histories
            The users.
        domain : str
            Where to recommend; one that it has a head for.
        allowed : numpy.ndarray
            bool, shape (n_items,): which items of the domain may be recommended.
        depth : int
            Candidates of each source.
        """
        target = self.domain_names.index(domain)
        histories = self.shown(corpus, histories, domain)
        scorers = self.sources.scorers(corpus, histories, target)
        pool = candidate_pool(scorers, depth, allowed, histories.seen(len(corpus)))
        head = self.heads[domain]
        return Answer(pool, head.score(corpus, histories, pool, self.facts, target))

    def shown(self, corpus: TrainingData, histories: UserHistories, domain: str) -> UserHistories:
        """Give histories without the domains that are ignored for a target."""
        ignored = [self.domain_names.index(name) for name in self.ignored.get(domain, ())]
        if not ignored:
            return histories
        return histories.filter(~np.isin(corpus.domains[histories.columns], ignored))


def depth_of(n: int) -> int:
    """Give how many candidates a list of n wants of each source: five a place, from 60 to 200."""
    return max(min(CANDIDATES_A_PLACE * n, DEPTH), FEWEST_CANDIDATES, n)

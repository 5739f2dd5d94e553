"""A ranker that learns in seconds, with which to tell what a piece of history is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.cold_start_episodes import Case

DEPTH = 200
FIRST = 10
SMOOTHING = 60.0
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
USERS_AT_ONCE = 512

Figures = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class QuickRanker:
    """Popularity, item neighbours and a few factors, fused by their ranks.

    An item scores ``1 / (60 + rank)`` in each list that has it (reciprocal rank fusion: Cormack,
    Clarke and Büttcher, SIGIR 2009), popularity with weight 1, the two personal ones with each
    of `WEIGHTS` in turn. Weight 0 is popularity alone.

    Attributes
    ----------
    corpus : Corpus
        What it learned from.
    sources : Sources
        The three.
    """

    corpus: TrainingData
    sources: CandidateGenerators

    @classmethod
    def of(cls, corpus: TrainingData, seed: int) -> QuickRanker:
        """Learn from a corpus."""
        neighbours = ItemKNN("neighbours", own=1.0, other=0.0, shrink=100.0)
        factors = ALS(factors=32, iterations=6, seed=seed)
        return cls(corpus, CandidateGenerators([Popularity(), neighbours, factors]).fit(corpus))

    def figures(self, case: Case, users: Columns, histories: UserHistories, target: int) -> Figures:
        """Measure the lists of some users of a case.

        Parameters
        ----------
        case : Case
            What may be ranked, and what they liked.
        users : numpy.ndarray
            int64, shape (n_users,): which of the case's users, ascending.
        histories : Histories
            What is shown of these.
        target : int
            Code of the domain.

        Returns
        -------
        numpy.ndarray
            Shape (2, n_users, n_weights): NDCG@10 and recall@200 with each weight.
        """
        wanted = np.bincount(case.owners, minlength=len(case.users))[users]
        keys = case.owners * len(self.corpus) + case.labels
        parts = [
            self._some(case, users[at], histories.take_users(at), wanted[at], keys, target)
            for at in np.split(
                np.arange(len(users)), range(USERS_AT_ONCE, len(users), USERS_AT_ONCE)
            )
        ]
        return np.concatenate(parts, axis=1)

    def _some(
        self,
        case: Case,
        users: Columns,
        histories: UserHistories,
        wanted: Columns,
        keys: Columns,
        target: int,
    ) -> Figures:
        scorers = self.sources.scorers(self.corpus, histories, target)
        pool = candidate_pool(scorers, DEPTH, case.allowed, histories.seen(len(self.corpus)))
        liked = np.isin(users[pool.owners] * len(self.corpus) + pool.items, keys)
        fused = np.where(pool.ranks > 0, 1 / (SMOOTHING + pool.ranks), 0)
        personal = fused[1:].mean(axis=0)
        measured = [_measure(pool, fused[0] + w * personal, liked, wanted) for w in WEIGHTS]
        return np.stack(measured, axis=-1)


def _measure(
    pool: CandidatePool, scores: Figures, liked: npt.NDArray[np.bool_], wanted: Columns
) -> Figures:
    """Give NDCG@10 and recall@200 of the candidates ranked by scores, shape (2, n_users)."""
    owners = pool.owners
    order = np.lexsort((-scores, owners))
    places = np.arange(len(order)) - pool.starts[owners]
    hits = liked[order]
    discounts = 1 / np.log2(np.arange(2, FIRST + 2))
    gains = np.where(places < FIRST, hits / np.log2(places + 2), 0)
    ideal = discounts.cumsum()[np.minimum(wanted, FIRST) - 1]
    found = np.bincount(owners, hits & (places < DEPTH), len(wanted))
    return np.stack([np.bincount(owners, gains, len(wanted)) / ideal, found / wanted])

"""Lift: what the histories of another domain are worth to cold-start users of a target domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import PerUser, ndcg, recall
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.situations import CROSS_DOMAIN
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.cold_start_episodes import Episodes, make_episodes, make_folds

MIN_USERS = 20
ENOUGH_USERS = 500
MAX_USERS = 2_000
FOLDS = 5
RESAMPLES = 2_000
DEPTH = 200
LIST_LENGTH = 10
SMOOTHING = 60.0
PERSONAL_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
USERS_PER_CHUNK = 512

Verdict = Literal["helps", "hurts", "undecided", "unmeasured"]
Figures = npt.NDArray[np.float64]


class Gain(BaseModel):
    """A metric with the history of a domain shown, and with it hidden.

    Attributes
    ----------
    shown, hidden : float
        Mean over the users.
    low, high : float
        Confidence interval of the difference shown minus hidden: 95 % over all source domains of
        the target together.
    """

    model_config = ConfigDict(extra="forbid")
    shown: float
    hidden: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Shown minus hidden."""
        return self.shown - self.hidden


class Lift(BaseModel):
    """What a source domain is worth to cold-start users of a target domain.

    Attributes
    ----------
    users : int
        Simulated cold-start users of the target who liked something of the source.
    verdict : str
        ``"helps"`` or ``"hurts"`` if the interval of NDCG@10 is above or below zero,
        ``"undecided"`` if it contains zero, ``"unmeasured"`` with fewer than 20 users.
    ndcg, recall : Gain or None
        NDCG@10 and recall@200 of these users.
    """

    model_config = ConfigDict(extra="forbid")
    users: int
    verdict: Verdict
    ndcg: Gain | None = None
    recall: Gain | None = None


class _Trial(NamedTuple):
    """Cold-start users, and a ranker that has not seen what they did in the domain."""

    ranker: QuickRanker
    episodes: Episodes


class _Pair(NamedTuple):
    """Metrics of the same users with and without the history of a domain, (2, n_users, weights)."""

    shown: Figures
    hidden: Figures


def measure_lifts(data: TrainingData, target: int, *, seed: int = 0) -> dict[str, Lift]:
    """Measure the lift of every other domain for cold-start users of a target domain.

    Users of the target are simulated as cold-start users (see `make_folds`): what they did there
    is hidden from everything that learns. A quick ranker recommends to them with their histories
    in all other domains, and in all but one. Each side takes the weight of the personal lists,
    beside popularity, that is best for the other half of the users, so a domain is not blamed for
    evidence that a trained ranker would learn to ignore. Differences are paired by user, and their
    interval is a percentile bootstrap, corrected for the number of domains (Bonferroni).

    Of the domains that hurt, the worst is removed and the others are measured again, until none
    hurts. So two domains that do the same harm do not hide each other, and the lift of a domain
    is that in the context in which it will be used.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    target : int
        Code of the domain.
    seed : int
        Seed of the simulation and of the bootstrap.

    Returns
    -------
    dict of str to Lift
        For every other domain. A fifth of the users with likes in another domain is simulated,
        2,000 at most; if a fifth is less than 500, all are, a fifth at a time.
    """
    others = [code for code in range(len(data.domain_names)) if code != target]
    measurable = [code for code in others if _n_shared(data, code, target) >= MIN_USERS]
    trials = list(_cold_start_trials(data, target, seed)) if measurable else []
    level = 1 - 0.05 / max(len(measurable), 1)
    lifts = {code: Lift(users=0, verdict="unmeasured") for code in others}
    removed: list[int] = []
    while True:
        lifts |= _measure(trials, measurable, removed, target, level, seed)
        worst = min(measurable, key=lambda code: _harm(lifts[code]), default=-1)
        if worst < 0 or not _harm(lifts[worst]):
            return {data.domain_names[code]: lift for code, lift in lifts.items()}
        removed.append(worst)
        measurable.remove(worst)


def harmful(lifts: Mapping[str, Lift]) -> list[str]:
    """Return the domains whose histories hurt."""
    return [name for name, lift in lifts.items() if lift.verdict == "hurts"]


def _n_shared(data: TrainingData, source: int, target: int) -> int:
    return int((data.domain_users(source) & data.domain_users(target)).sum())


def _cold_start_trials(data: TrainingData, target: int, seed: int) -> Iterator[_Trial]:
    """Simulate the cold-start users of a domain."""
    many = int(data.domain_users(target).sum()) >= FOLDS * ENOUGH_USERS
    for number, fold in enumerate(make_folds(data, target, 1 if many else FOLDS, seed)):
        for episodes in make_episodes(data, fold, target, seed + number, max_users=MAX_USERS):
            if episodes.situation == CROSS_DOMAIN:
                yield _Trial(QuickRanker.of(data.without_entries(fold.hidden), seed), episodes)


def _measure(
    trials: Sequence[_Trial],
    codes: Sequence[int],
    removed: Sequence[int],
    target: int,
    level: float,
    seed: int,
) -> dict[int, Lift]:
    """Measure some domains, with the histories of the removed ones hidden."""
    pairs: dict[int, list[_Pair]] = {code: [] for code in codes}
    for trial in trials:
        for code, pair in _compare(*trial, codes, removed, target):
            pairs[code].append(pair)
    return {code: _lift(of_code, level, seed) for code, of_code in pairs.items()}


def _harm(lift: Lift) -> float:
    """Return the loss by a domain that hurts, below zero; 0 for any other."""
    return lift.ndcg.difference if lift.ndcg is not None and lift.verdict == "hurts" else 0.0


def _compare(
    ranker: QuickRanker,
    episodes: Episodes,
    codes: Sequence[int],
    removed: Sequence[int],
    target: int,
) -> Iterator[tuple[int, _Pair]]:
    """Measure the users with all remaining domains, and without each one that they liked."""
    whole = episodes.histories.without_items(np.isin(ranker.data.domains, removed))
    shown = ranker.figures(episodes, np.arange(len(whole)), whole, target)
    for code in codes:
        inside = ranker.data.in_domain(code)
        users = np.flatnonzero(whole.counts(inside) > 0)
        if len(users):
            rest = whole.without_items(inside).take_users(users)
            yield code, _Pair(shown[:, users], ranker.figures(episodes, users, rest, target))


def _lift(pairs: list[_Pair], level: float, seed: int) -> Lift:
    users = sum(pair.shown.shape[1] for pair in pairs)
    if users < MIN_USERS:
        return Lift(users=users, verdict="unmeasured")
    shown = np.concatenate([pair.shown for pair in pairs], axis=1)
    hidden = np.concatenate([pair.hidden for pair in pairs], axis=1)
    ndcg, recall = (_gain(shown[at], hidden[at], level, seed) for at in range(2))
    return Lift(users=users, verdict=_verdict(ndcg), ndcg=ndcg, recall=recall)


def _gain(shown: Figures, hidden: Figures, level: float, seed: int) -> Gain:
    """Compare the two sides, each at its best weight; arrays of shape (n_users, n_weights)."""
    half = np.random.default_rng(seed).permutation(len(shown)) % 2
    with_history, without = _at_best_weight(shown, half), _at_best_weight(hidden, half)
    means = resampled_means((with_history - without)[:, None], RESAMPLES, seed)[:, 0]
    low, high = interval(means, level)
    return Gain(shown=float(with_history.mean()), hidden=float(without.mean()), low=low, high=high)


def _at_best_weight(figures: Figures, half: npt.NDArray[np.int64]) -> PerUser:
    """Return the metric of each half of the users at the weight that is best for the other half."""
    best = np.array([figures[half != side].mean(axis=0).argmax() for side in range(2)])
    return np.asarray(figures[np.arange(len(figures)), best[half]])


def _verdict(gain: Gain) -> Verdict:
    if gain.low > 0:
        return "helps"
    return "hurts" if gain.high < 0 else "undecided"


@dataclass(frozen=True, eq=False)
class QuickRanker:
    """A ranker that is fitted in seconds: popularity, item-KNN and ALS, fused by their ranks.

    An item scores ``1 / (60 + rank)`` in each list that contains it (reciprocal rank fusion:
    Cormack, Clarke and Büttcher, SIGIR 2009). Popularity has the weight 1, the mean of the two
    personal lists each of `PERSONAL_WEIGHTS` in turn. Weight 0 is popularity alone.

    Attributes
    ----------
    data : TrainingData
        What it was fitted on.
    generators : CandidateGenerators
        The three candidate generators; popularity is the first.
    """

    data: TrainingData
    generators: CandidateGenerators

    @classmethod
    def of(cls, data: TrainingData, seed: int) -> QuickRanker:
        """Fit to training data."""
        neighbours = ItemKNN("neighbours", alpha=1.0, beta=0.0, shrink=100.0)
        factors = ALS(factors=32, iterations=6, seed=seed)
        return cls(data, CandidateGenerators([Popularity(), neighbours, factors]).fit(data))

    def figures(
        self, episodes: Episodes, users: Columns, histories: UserHistories, target: int
    ) -> Figures:
        """Measure the lists of some users of episodes.

        Parameters
        ----------
        episodes : Episodes
            What is ranked, and what is relevant.
        users : numpy.ndarray
            int64, shape (n_users,): positions of the users in the episodes, ascending.
        histories : UserHistories
            What is shown of these users.
        target : int
            Code of the domain.

        Returns
        -------
        numpy.ndarray
            Shape (2, n_users, n_weights): NDCG@10 and recall@200 with each weight.
        """
        n_relevant = np.bincount(episodes.owners, minlength=len(episodes.users))[users]
        keys = episodes.owners * len(self.data) + episodes.relevant
        cuts = range(USERS_PER_CHUNK, len(users), USERS_PER_CHUNK)
        parts = [
            self._chunk_figures(
                episodes, users[at], histories.take_users(at), n_relevant[at], keys, target
            )
            for at in np.split(np.arange(len(users)), cuts)
        ]
        return np.concatenate(parts, axis=1)

    def _chunk_figures(
        self,
        episodes: Episodes,
        users: Columns,
        histories: UserHistories,
        n_relevant: Columns,
        keys: Columns,
        target: int,
    ) -> Figures:
        data = self.data
        scorers = self.generators.scorers(data, histories, target)
        pool = candidate_pool(scorers, DEPTH, episodes.allowed, histories.seen(len(data)))
        relevant = np.isin(users[pool.owners] * len(data) + pool.items, keys)
        fused = np.where(pool.ranks > 0, 1 / (SMOOTHING + pool.ranks), 0)  # (3, n_candidates)
        personal = fused[1:].mean(axis=0)
        figures = [
            _pool_figures(pool, fused[0] + weight * personal, relevant, n_relevant)
            for weight in PERSONAL_WEIGHTS
        ]
        return np.stack(figures, axis=-1)


def _pool_figures(
    pool: CandidatePool, scores: Figures, relevant: npt.NDArray[np.bool_], n_relevant: Columns
) -> Figures:
    """Return NDCG@10 and recall@200 of the candidates ranked by scores, shape (2, n_users)."""
    owners = pool.owners
    order = np.lexsort((-scores, owners))
    places = np.arange(len(order)) - pool.starts[owners]
    hits = np.zeros((len(n_relevant), DEPTH), bool)
    listed = places < DEPTH
    hits[owners[listed], places[listed]] = relevant[order][listed]
    return np.stack([ndcg(hits, n_relevant, LIST_LENGTH), recall(hits, n_relevant, DEPTH)])

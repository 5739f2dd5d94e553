"""What the histories of another domain are worth to cold users of a domain, measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from isthmus.numerics.arrays import Columns
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.cold_start_episodes import Case, make_cases, make_folds

DEPTH = 200
FIRST = 10
SMOOTHING = 60.0
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
USERS_AT_ONCE = 512
Figures = npt.NDArray[np.float64]

LEAST_USERS = 20
ENOUGH_USERS = 500
MOST_USERS = 2_000
FIFTHS = 5
RESAMPLES = 2_000
COLD = "0"

Verdict = Literal["helps", "hurts", "undecided", "unmeasured"]


class Gain(BaseModel):
    """A figure with a domain's history shown, and without.

    Attributes
    ----------
    shown, hidden : float
        Mean over the users.
    low, high : float
        Interval of the difference shown minus hidden: 95 % over all source domains of the
        target together.
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
    """What a source domain is worth to cold users of a target domain.

    Attributes
    ----------
    users : int
        Simulated cold users of the target who liked something of the source.
    verdict : str
        ``"helps"`` or ``"hurts"`` if the interval of NDCG@10 is above or below zero,
        ``"undecided"`` if it holds zero, ``"unmeasured"`` where there are fewer than 20 users.
    ndcg, recall : Gain or None
        NDCG@10 and recall@200 of these users.
    """

    model_config = ConfigDict(extra="forbid")
    users: int
    verdict: Verdict
    ndcg: Gain | None = None
    recall: Gain | None = None


class _Trial(NamedTuple):
    """Cold users, and a ranker that saw nothing of what they did in the domain."""

    ranker: QuickRanker
    case: Case


class _Pair(NamedTuple):
    """Figures of the same users with and without a domain's history, see `QuickRanker.figures`."""

    shown: Figures
    hidden: Figures


def measure_lifts(corpus: TrainingData, target: int, *, seed: int = 0) -> dict[str, Lift]:
    """Measure what every other domain's history is worth to cold users of a domain.

    Users of the target are simulated as strangers (see `make_folds`): what they did there is
    hidden from all that is learned. A quick ranker answers with all that they did elsewhere, and
    with all but one domain. Each side takes the weight of the personal lists, beside popularity,
    that is best for the other half of the users, so that a domain is not blamed for evidence
    that a ranking head would learn to pass over. Differences are paired by user, and their
    interval is a percentile bootstrap, corrected for the number of domains (Bonferroni).

    Of the domains that hurt, the worst is left out for good and the others are measured anew,
    until none hurts: where two do the same harm, neither hides the other, and what a domain is
    worth is said as it will be used.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    target : int
        Code of the domain.
    seed : int
        Of the simulation and the resamples.

    Returns
    -------
    dict of str to Lift
        For every other domain. A fifth of the users is simulated, 2,000 at most; where a fifth
        is less than 500, all are, a fifth at a time.
    """
    others = [code for code in range(len(corpus.domain_names)) if code != target]
    able = [code for code in others if _shared(corpus, code, target) >= LEAST_USERS]
    trials = list(_cold_users(corpus, target, seed)) if able else []
    level = 1 - 0.05 / max(len(able), 1)
    lifts = {code: Lift(users=0, verdict="unmeasured") for code in others}
    off: list[int] = []
    while True:
        lifts |= _measure(trials, able, off, target, level, seed)
        worst = min(able, key=lambda code: _harm(lifts[code]), default=-1)
        if worst < 0 or not _harm(lifts[worst]):
            return {corpus.domain_names[code]: own for code, own in lifts.items()}
        off.append(worst)
        able.remove(worst)


def harmful(lifts: Mapping[str, Lift]) -> list[str]:
    """Name the domains whose histories hurt."""
    return [name for name, lift in lifts.items() if lift.verdict == "hurts"]


def _shared(corpus: TrainingData, source: int, target: int) -> int:
    return int((corpus.domain_users(source) & corpus.domain_users(target)).sum())


def _cold_users(corpus: TrainingData, target: int, seed: int) -> Iterator[_Trial]:
    """Simulate the cold users of a domain."""
    many = int(corpus.domain_users(target).sum()) >= FIFTHS * ENOUGH_USERS
    folds = make_folds(corpus, target, 1 if many else FIFTHS, seed, MOST_USERS)
    for number, fold in enumerate(folds):
        case = next(make_cases(corpus, fold, target, seed + number), None)
        if case is not None and case.name == COLD:
            yield _Trial(QuickRanker.of(corpus.without_entries(fold.hidden), seed), case)


def _measure(
    trials: Sequence[_Trial],
    codes: Sequence[int],
    off: Sequence[int],
    target: int,
    level: float,
    seed: int,
) -> dict[int, Lift]:
    """Measure some domains, while the histories of others are left out."""
    pairs: dict[int, list[_Pair]] = {code: [] for code in codes}
    for trial in trials:
        for code, pair in _compare(*trial, codes, off, target):
            pairs[code].append(pair)
    return {code: _lift(own, level, seed) for code, own in pairs.items()}


def _harm(lift: Lift) -> float:
    """Give the loss of a domain that hurts, below zero; 0 for any other."""
    return lift.ndcg.difference if lift.ndcg is not None and lift.verdict == "hurts" else 0.0


def _compare(
    ranker: QuickRanker, case: Case, codes: Sequence[int], off: Sequence[int], target: int
) -> Iterator[tuple[int, _Pair]]:
    """Measure users with all that is left in, and those that it concerns without each domain."""
    whole = case.histories.without_items(np.isin(ranker.corpus.domains, off))
    shown = ranker.figures(case, np.arange(len(whole)), whole, target)
    for code in codes:
        inside = ranker.corpus.in_domain(code)
        users = np.flatnonzero(whole.counts(inside) > 0)
        if len(users):
            rest = whole.without_items(inside).take_users(users)
            yield code, _Pair(shown[:, users], ranker.figures(case, users, rest, target))


def _lift(pairs: list[_Pair], level: float, seed: int) -> Lift:
    users = sum(pair.shown.shape[1] for pair in pairs)
    if users < LEAST_USERS:
        return Lift(users=users, verdict="unmeasured")
    shown = np.concatenate([pair.shown for pair in pairs], axis=1)
    hidden = np.concatenate([pair.hidden for pair in pairs], axis=1)
    ndcg, recall = (_gain(shown[at], hidden[at], level, seed) for at in range(2))
    return Lift(users=users, verdict=_verdict(ndcg), ndcg=ndcg, recall=recall)


def _gain(shown: Figures, hidden: Figures, level: float, seed: int) -> Gain:
    """Compare the two sides, each at its best weight, arrays of shape (n_users, n_weights)."""
    half = np.random.default_rng(seed).permutation(len(shown)) % 2
    ours, theirs = _at_best(shown, half), _at_best(hidden, half)
    means = resampled_means((ours - theirs)[:, None], RESAMPLES, seed)[:, 0]
    low, high = interval(means, level)
    return Gain(shown=float(ours.mean()), hidden=float(theirs.mean()), low=low, high=high)


def _at_best(figures: Figures, half: np.typing.NDArray[np.int64]) -> PerUser:
    """Give each half of the users their figures at the weight that is best for the other."""
    best = np.array([figures[half != own].mean(axis=0).argmax() for own in range(2)])
    return np.asarray(figures[np.arange(len(figures)), best[half]])


def _verdict(gain: Gain) -> Verdict:
    if gain.low > 0:
        return "helps"
    return "hurts" if gain.high < 0 else "undecided"


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
        neighbours = ItemKNN("neighbours", alpha=1.0, beta=0.0, shrink=100.0)
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
        measured = [_measure_pool(pool, fused[0] + w * personal, liked, wanted) for w in WEIGHTS]
        return np.stack(measured, axis=-1)


def _measure_pool(
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

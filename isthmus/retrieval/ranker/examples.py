"""Examples for the ranking head: pools of simulated users, as the sources meet strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.cold_start_episodes import Case, choose_tested, make_cases, make_folds
from isthmus.retrieval.ranker.features import make_features
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.settings import ExampleSettings

USERS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Examples:
    """Users with candidates, of which some were liked.

    Attributes
    ----------
    case : numpy.ndarray
        str objects, shape (n_users,): what was shown, see `Case`.
    group : numpy.ndarray
        int64, shape (n_users,): who it was; the examples of one person are not parted.
    starts : numpy.ndarray
        int64, shape (n_users + 1,).
    items : numpy.ndarray
        int64, shape (n_candidates,).
    features : numpy.ndarray
        float16, shape (n_candidates, n_features).
    labels : numpy.ndarray
        bool, shape (n_candidates,).
    corrections : numpy.ndarray
        float32, shape (n_candidates,): log-probability that the candidate was kept.
    evidence : numpy.ndarray
        float32, shape (n_users,).
    wanted : numpy.ndarray
        int64, shape (n_users,): how many items were liked, found or not.
    tested : numpy.ndarray
        bool, shape (n_users,): who is not trained on, but stopped by; of them every candidate is
        kept.
    histories : Histories
        What was shown.
    target : int
        Code of the domain.
    """

    case: Columns
    group: Columns
    starts: Columns
    items: Columns
    features: FloatArray
    labels: Mask
    corrections: FloatArray
    evidence: FloatArray
    wanted: Columns
    tested: Mask
    histories: UserHistories
    target: int

    def __len__(self) -> int:
        return len(self.starts) - 1


def make_examples(
    corpus: TrainingData,
    make_sources: Callable[[], Sequence[CandidateGenerator]],
    facts_of: Callable[[], ItemFacts],
    target: int,
    settings: ExampleSettings,
    *,
    ignored: Mask | None = None,
    show: bool = False,
) -> Examples:
    """Make examples of every user of a domain.

    For each fold the sources learn without what its users did in the domain and without some
    items (cross-fitting), so that the head meets scores of strangers, as it will in use.

    Parameters
    ----------
    corpus : Corpus
        What may be learned from.
    make_sources, facts_of : callable
        Give sources and facts that learned nothing yet.
    target : int
        Code of the domain.
    settings : ExampleSettings
        How.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    show : bool
        Whether to show bars.
    """
    parts: list[Examples] = []
    folds = list(make_folds(corpus, target, settings.folds, settings.seed, settings.most_users))
    tested = choose_tested(corpus, folds, target, settings.tested, settings.seed)
    for number, fold in enumerate(folds):
        visible = corpus.without_entries(fold.hidden)
        sources = CandidateGenerators(make_sources()).fit(visible, show=show)
        facts = facts_of().fit(visible)
        cases = make_cases(corpus, fold, target, settings.seed + number, ignored)
        parts += _of_fold(visible, cases, tested, sources, facts, target, settings, show=show)
    return join_examples(parts)


def _of_fold(
    corpus: TrainingData,
    cases: Iterator[Case],
    tested: Mask,
    sources: CandidateGenerators,
    facts: ItemFacts,
    target: int,
    settings: ExampleSettings,
    *,
    show: bool,
) -> Iterator[Examples]:
    rng = np.random.default_rng(settings.seed)
    met = list(cases)
    with progress_bar("making examples", sum(len(c.users) for c in met), show=show) as advance:
        for case in met:
            for start in range(0, len(case.users), USERS_AT_ONCE):
                users = np.arange(start, min(start + USERS_AT_ONCE, len(case.users)))
                part = _part(case, users)
                chosen = tested[part.users]
                yield _of_case(corpus, part, chosen, sources, facts, target, settings, rng)
                advance(len(users))


def _part(case: Case, users: Columns) -> Case:
    kept = (case.owners >= users[0]) & (case.owners <= users[-1])
    return Case(
        case.name,
        case.users[users],
        case.histories.take_users(users),
        case.labels[kept],
        case.owners[kept] - users[0],
        case.allowed,
    )


def _of_case(
    corpus: TrainingData,
    case: Case,
    tested: Mask,
    sources: CandidateGenerators,
    facts: ItemFacts,
    target: int,
    settings: ExampleSettings,
    rng: np.random.Generator,
) -> Examples:
    scorers = sources.scorers(corpus, case.histories, target)
    seen = case.histories.seen(len(corpus))
    pool = candidate_pool(scorers, settings.depth, case.allowed, seen)
    features = make_features(corpus, case.histories, pool, facts, target)
    keys = pool.owners * len(corpus) + pool.items
    labels = np.isin(keys, case.owners * len(corpus) + case.labels)
    kept, corrections = _sample(pool, labels, tested, settings, rng)
    thin = pool.filter(kept)
    return Examples(
        case=np.full(len(pool), case.name, object),
        group=case.users,
        starts=thin.starts,
        items=thin.items,
        features=features.values[kept].astype(np.float16),
        labels=labels[kept],
        corrections=corrections[kept],
        evidence=features.evidence,
        wanted=np.bincount(case.owners, minlength=len(pool)),
        tested=tested,
        histories=case.histories,
        target=target,
    )


def _sample(
    pool: CandidatePool,
    labels: Mask,
    tested: Mask,
    settings: ExampleSettings,
    rng: np.random.Generator,
) -> tuple[Mask, FloatArray]:
    """Keep positives, hard candidates, and some of the others."""
    best = np.where(pool.ranks > 0, pool.ranks, np.iinfo(np.int32).max).min(axis=0)
    owners = pool.owners
    sure = labels | (best <= settings.sure) | tested[owners]
    others = np.bincount(owners, ~sure, len(pool))
    chance = np.minimum(settings.others / np.maximum(others, 1), 1)[owners]
    chance = np.where(sure, 1.0, chance)
    return rng.random(len(chance)) < chance, np.log(chance).astype(np.float32)


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Put examples of one domain together."""
    ends = np.cumsum([0, *(part.starts[-1] for part in parts)])
    entries = np.cumsum([0, *(part.histories.starts[-1] for part in parts)])
    history = [part.histories for part in parts]
    return Examples(
        case=np.concatenate([part.case for part in parts]),
        group=np.concatenate([part.group for part in parts]),
        starts=np.concatenate(
            [[0], *(p.starts[1:] + e for p, e in zip(parts, ends, strict=False))]
        ),
        items=np.concatenate([part.items for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        corrections=np.concatenate([part.corrections for part in parts]),
        evidence=np.concatenate([part.evidence for part in parts]),
        wanted=np.concatenate([part.wanted for part in parts]),
        tested=np.concatenate([part.tested for part in parts]),
        histories=UserHistories(
            np.concatenate(
                [[0], *(h.starts[1:] + e for h, e in zip(history, entries, strict=False))]
            ),
            np.concatenate([h.columns for h in history]),
            np.concatenate([h.weights for h in history]),
            np.concatenate([h.recency for h in history]),
            np.concatenate([h.assumed for h in history]),
        ),
        target=parts[0].target,
    )

"""Training examples of a ranker: the candidates of simulated cold-start users, with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.cold_start_episodes import (
    Episodes,
    choose_validation_users,
    make_episodes,
    make_folds,
)
from isthmus.retrieval.ranker.features import FeatureInputs, compute_features, feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings

USERS_PER_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Examples:
    """Users with candidates, some of which they liked.

    Attributes
    ----------
    scenarios : numpy.ndarray
        str objects, shape (n_examples,): how much was shown, see `Episodes`.
    users : numpy.ndarray
        int64, shape (n_examples,): who it was; the examples of a user are never divided between
        training and validation.
    starts : numpy.ndarray
        int64, shape (n_examples + 1,): the candidates of example *i* are ``starts[i]`` to
        ``starts[i + 1]``.
    items : numpy.ndarray
        int64, shape (n_candidates,).
    columns : tuple of str
        Names of the features.
    features : numpy.ndarray
        float16, shape (n_candidates, n_columns).
    labels : numpy.ndarray
        bool, shape (n_candidates,): which candidates are relevant.
    log_probabilities : numpy.ndarray
        float32, shape (n_candidates,): logarithm of the probability with which the candidate was
        sampled, 0 for one that was kept for certain.
    evidence : numpy.ndarray
        float32, shape (n_examples,): see `Features`.
    n_relevant : numpy.ndarray
        int64, shape (n_examples,): relevant items, whether among the candidates or not.
    validation : numpy.ndarray
        bool, shape (n_examples,): examples of validation users, which are not trained on; all
        candidates of these are kept.
    histories : UserHistories
        What was shown.
    target : int
        Code of the domain.
    """

    scenarios: Columns
    users: Columns
    starts: Columns
    items: Columns
    columns: tuple[str, ...]
    features: FloatArray
    labels: Mask
    log_probabilities: FloatArray
    evidence: FloatArray
    n_relevant: Columns
    validation: Mask
    histories: UserHistories
    target: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def candidates_of(self, example: int) -> slice:
        """Return where the candidates of an example are."""
        return slice(self.starts[example], self.starts[example + 1])


def make_examples(
    data: TrainingData,
    make_generators: Callable[[], Sequence[CandidateGenerator]],
    make_statistics: Callable[[], ItemStatistics],
    target: int,
    settings: ExampleSettings,
    *,
    columns: Sequence[str] | None = None,
    ignored: Mask | None = None,
    show: bool = False,
) -> Examples:
    """Make examples of the users of a domain, by cross-fitting.

    For each fold, generators and statistics learn without what its users did in the domain and
    without some items. So the ranker is trained on scores of cold-start users, as it meets in use.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    make_generators, make_statistics : callable
        Return generators and statistics that are not fitted.
    target : int
        Code of the domain.
    settings : ExampleSettings
        How to make them.
    columns : sequence of str, optional
        Names of the features; by default all.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    show : bool
        Whether to show progress bars.
    """
    parts: list[Examples] = []
    folds = list(make_folds(data, target, settings.folds, settings.seed, settings.max_users))
    validation = choose_validation_users(
        data, folds, target, settings.validation_share, settings.seed
    )
    for number, fold in enumerate(folds):
        visible = data.without_entries(fold.hidden)
        generators = CandidateGenerators(make_generators()).fit(visible, show=show)
        maker = _ExampleMaker(
            visible,
            generators,
            make_statistics().fit(visible),
            target,
            tuple(feature_columns(generators.names) if columns is None else columns),
            settings,
        )
        episodes = make_episodes(data, fold, target, settings.seed + number, ignored)
        parts += maker.examples(list(episodes), validation, show=show)
    return join_examples(parts)


@dataclass(frozen=True, eq=False)
class _ExampleMaker:
    """Turns the episodes of one fold into examples."""

    data: TrainingData
    generators: CandidateGenerators
    statistics: ItemStatistics
    target: int
    columns: tuple[str, ...]
    settings: ExampleSettings

    def examples(
        self, episodes: Sequence[Episodes], validation: Mask, *, show: bool
    ) -> Iterator[Examples]:
        rng = np.random.default_rng(self.settings.seed)
        total = sum(len(some.users) for some in episodes)
        with progress_bar("making examples", total, show=show) as advance:
            for scenario in episodes:
                for start in range(0, len(scenario.users), USERS_PER_CHUNK):
                    stop = min(start + USERS_PER_CHUNK, len(scenario.users))
                    part = scenario.slice(start, stop)
                    yield self._of_episodes(part, validation[part.users], rng)
                    advance(stop - start)

    def _of_episodes(
        self, episodes: Episodes, validation: Mask, rng: np.random.Generator
    ) -> Examples:
        data, histories = self.data, episodes.histories
        scorers = self.generators.scorers(data, histories, self.target)
        seen = histories.seen(len(data))
        pool = candidate_pool(scorers, self.settings.depth, episodes.allowed, seen)
        inputs = FeatureInputs(data, histories, pool, self.statistics, self.target)
        features = compute_features(inputs, self.columns)
        keys = pool.owners * len(data) + pool.items
        labels = np.isin(keys, episodes.owners * len(data) + episodes.relevant)
        kept, log_probabilities = _sample(pool, labels, validation, self.settings, rng)
        sampled = pool.filter(kept)
        return Examples(
            scenarios=np.full(len(pool), episodes.scenario, object),
            users=episodes.users,
            starts=sampled.starts,
            items=sampled.items,
            columns=self.columns,
            features=features.values[kept].astype(np.float16),
            labels=labels[kept],
            log_probabilities=log_probabilities[kept],
            evidence=features.evidence,
            n_relevant=np.bincount(episodes.owners, minlength=len(pool)),
            validation=validation,
            histories=histories,
            target=self.target,
        )


def _sample(
    pool: CandidatePool,
    labels: Mask,
    validation: Mask,
    settings: ExampleSettings,
    rng: np.random.Generator,
) -> tuple[Mask, FloatArray]:
    """Keep positives and hard negatives, and a random sample of the other candidates."""
    best = np.where(pool.ranks > 0, pool.ranks, np.iinfo(np.int32).max).min(axis=0)
    owners = pool.owners
    certain = labels | (best <= settings.always_kept_rank) | validation[owners]
    others = np.bincount(owners, ~certain, len(pool))  # (n_users,)
    probability = np.minimum(settings.sampled_negatives / np.maximum(others, 1), 1)[owners]
    probability = np.where(certain, 1.0, probability)
    return rng.random(len(probability)) < probability, np.log(probability).astype(np.float32)


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Concatenate examples of one domain."""
    histories = [part.histories for part in parts]

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    def joined_entries(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(history, name) for history in histories])

    return Examples(
        scenarios=joined("scenarios"),
        users=joined("users"),
        starts=_joined_starts([part.starts for part in parts]),
        items=joined("items"),
        columns=parts[0].columns,
        features=joined("features"),
        labels=joined("labels"),
        log_probabilities=joined("log_probabilities"),
        evidence=joined("evidence"),
        n_relevant=joined("n_relevant"),
        validation=joined("validation"),
        histories=UserHistories(
            _joined_starts([history.starts for history in histories]),
            joined_entries("columns"),
            joined_entries("weights"),
            joined_entries("recency"),
            joined_entries("assumed"),
        ),
        target=parts[0].target,
    )


def _joined_starts(starts: Sequence[Columns]) -> Columns:
    offsets = np.cumsum([0, *(part_starts[-1] for part_starts in starts)])
    parts = [part_starts[1:] + offset for part_starts, offset in zip(starts, offsets, strict=False)]
    return np.concatenate([[0], *parts])

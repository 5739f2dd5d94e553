"""Training examples of a ranker: the candidates of simulated users, with labels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask, concatenated
from isthmus.numerics.memory import release_memory
from isthmus.numerics.metrics import PerUser, ndcg, recall
from isthmus.numerics.sparse import concatenate_ranges
from isthmus.numerics.top_k import top_k
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.generators import CandidateGenerators, GeneratorFailure
from isthmus.retrieval.candidates.pool import CandidatePool, candidate_pool
from isthmus.retrieval.candidates.situations import SITUATIONS
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.cold_start_episodes import Episodes, make_episodes, make_folds
from isthmus.retrieval.ranker.features import FeatureInputs, compute_features, feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.settings import ExampleSettings

USERS_PER_CHUNK = 256
NDCG_CUTOFF = 10
RECALL_CUTOFF = 200
NOT_FINITE = "it has scores that are not finite"

ExamplesBySituation = dict[str, "Examples"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Users in one situation, with candidates, some of which they liked.

    Attributes
    ----------
    users : numpy.ndarray
        int64, shape (n_examples,): who it was, a row of the interaction matrix.
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
    n_relevant : numpy.ndarray
        int64, shape (n_examples,): relevant items, whether among the candidates or not.
    """

    users: Columns
    starts: Columns
    items: Columns
    columns: tuple[str, ...]
    features: FloatArray
    labels: Mask
    n_relevant: Columns

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def owners(self) -> Columns:
        """The example of each candidate, int64, shape (n_candidates,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def candidates_of(self, example: int) -> slice:
        """Return where the candidates of an example are."""
        return slice(self.starts[example], self.starts[example + 1])

    def rows_of(self, examples: Columns) -> Columns:
        """Return the rows of the candidates of some examples, int64, shape (n_candidates,)."""
        starts = self.starts[examples]
        return concatenate_ranges(starts, self.starts[examples + 1] - starts)

    def take(self, examples: Columns) -> Examples:
        """Return the examples at some positions, int64, shape (n,)."""
        rows = self.rows_of(examples)
        lengths = self.starts[examples + 1] - self.starts[examples]
        return replace(
            self,
            users=self.users[examples],
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            items=self.items[rows],
            features=self.features[rows],
            labels=self.labels[rows],
            n_relevant=self.n_relevant[examples],
        )

    def unlabelled(self, hidden: Mask) -> Examples:
        """Return the same examples without the labels of some, so that these are not informative.

        Parameters
        ----------
        hidden : numpy.ndarray
            bool, shape (n_examples,).
        """
        return replace(self, labels=self.labels & ~hidden[self.owners])

    @property
    def informative(self) -> Columns:
        """The examples with a relevant candidate, int64: only these can be learned from."""
        return np.flatnonzero(np.bincount(self.owners, self.labels, len(self)) > 0)

    def sampled(
        self, examples: Columns, n: int, rng: np.random.Generator
    ) -> tuple[Examples, FloatArray]:
        """Return some examples with a sample of their candidates; relevant ones are always kept.

        Parameters
        ----------
        examples : numpy.ndarray
            Positions of the examples.
        n : int
            Expected number of other candidates of each.
        rng : numpy.random.Generator
            Source of the sample.

        Returns
        -------
        sampled, corrections
            The examples, and minus the logarithm of the probability with which each of their
            candidates was sampled, float32, shape (n_candidates,). A softmax over the candidates
            is estimated by adding it to their scores.
        """
        rows = self.rows_of(examples)
        lengths = self.starts[examples + 1] - self.starts[examples]
        probability = np.repeat(np.minimum(n / np.maximum(lengths, 1), 1), lengths)
        probability = np.where(self.labels[rows], 1.0, probability)
        kept = rng.random(len(rows)) < probability
        starts = np.concatenate([[0], np.cumsum(lengths)])
        some = replace(
            self,
            users=self.users[examples],
            starts=np.concatenate([[0], np.cumsum(kept)])[starts],
            items=self.items[rows[kept]],
            features=self.features[rows[kept]],
            labels=self.labels[rows[kept]],
            n_relevant=self.n_relevant[examples],
        )
        return some, -np.log(probability[kept]).astype(np.float32)

    def metrics(self, scores: FloatArray) -> tuple[PerUser, PerUser]:
        """Return NDCG@10 and recall@200 of each example, (n_examples,), by scores (n_candidates,).

        A candidate scored -inf is not in the list.
        """
        hits = np.zeros((len(self), RECALL_CUTOFF), bool)
        for example in range(len(self)):
            rows = self.candidates_of(example)
            top = top_k(scores[rows], RECALL_CUTOFF)
            top = top[np.isfinite(scores[rows][top])]
            hits[example, : len(top)] = self.labels[rows][top]
        n_relevant = np.maximum(self.n_relevant, 1)
        return ndcg(hits, n_relevant, NDCG_CUTOFF), recall(hits, n_relevant, RECALL_CUTOFF)


def make_examples(
    data: TrainingData,
    fitted: Callable[[TrainingData], tuple[CandidateGenerators, ItemStatistics]],
    target: int,
    settings: ExampleSettings,
    *,
    columns: Sequence[str] | None = None,
    ignored: Mask | None = None,
    situations: Collection[str] = SITUATIONS,
    show: bool = False,
) -> ExamplesBySituation:
    """Make examples of the users of a domain in every situation, by cross-fitting.

    For each fold, generators and statistics learn without what its users did in the domain and
    without some items. So the ranker is trained on scores of users as it meets them in use.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    fitted : callable
        Returns generators and statistics that are fitted to training data.
    target : int
        Code of the domain.
    settings : ExampleSettings
        How to make them.
    columns : sequence of str, optional
        Names of the features; by default all.
    ignored : numpy.ndarray, optional
        bool, shape (n_items,): items that no history shows.
    situations : collection of str
        The situations that are simulated; by default all.
    show : bool
        Whether to show progress bars.

    Returns
    -------
    dict of str to Examples
        By situation; situations in which no user can be simulated are left out.

    Raises
    ------
    GeneratorFailure
        If a generator fails in a fold, or has scores that are not finite.
    """
    parts: dict[str, list[Examples]] = {}
    max_users = -(-settings.users // settings.folds)
    folds = make_folds(data, target, settings.folds, settings.seed, max_users)
    for number, fold in enumerate(folds):
        visible = data.without_entries(fold.hidden)
        generators, statistics = fitted(visible)
        names = feature_columns(generators.names) if columns is None else columns
        maker = _ExampleMaker(visible, generators, statistics, target, tuple(names), settings.depth)
        simulated = make_episodes(
            data, fold, target, settings.seed + number, max_users=max_users, ignored=ignored
        )
        episodes = [some for some in simulated if some.situation in situations]
        total = sum(len(some.users) for some in episodes)
        with progress_bar("making examples", total, show=show) as advance:
            for some in episodes:
                for part in maker.examples(some):
                    parts.setdefault(some.situation, []).append(part)
                    advance(len(part))
        del visible, generators, statistics, maker  # before those of the next fold are fitted
    return _join_situations(parts)


@dataclass(frozen=True, eq=False)
class _ExampleMaker:
    """Turns the episodes of one fold into examples."""

    data: TrainingData
    generators: CandidateGenerators
    statistics: ItemStatistics
    target: int
    columns: tuple[str, ...]
    depth: int

    def examples(self, episodes: Episodes) -> Iterator[Examples]:
        """Yield the examples of some users at a time."""
        n = len(episodes.users)
        for start in range(0, n, USERS_PER_CHUNK):
            yield self._of_episodes(episodes.slice(start, min(start + USERS_PER_CHUNK, n)))

    def _of_episodes(self, episodes: Episodes) -> Examples:
        data, histories = self.data, episodes.histories
        pool = self._pool(self.generators, episodes)
        inputs = FeatureInputs(data, histories, pool, self.statistics, self.target)
        keys = pool.owners * len(data) + pool.items
        return Examples(
            users=episodes.users,
            starts=pool.starts,
            items=pool.items,
            columns=self.columns,
            features=compute_features(inputs, self.columns).values.astype(np.float16),
            labels=np.isin(keys, episodes.owners * len(data) + episodes.relevant),
            n_relevant=np.bincount(episodes.owners, minlength=len(pool)),
        )

    def _pool(self, generators: CandidateGenerators, episodes: Episodes) -> CandidatePool:
        """Return the candidates of users; what goes wrong is said of the generator that does it."""
        data, histories = self.data, episodes.histories
        try:
            scorers = generators.scorers(data, histories, self.target)
            pool = candidate_pool(scorers, self.depth, episodes.allowed, histories.seen(len(data)))
        except Exception as error:
            if len(generators.names) == 1:
                raise GeneratorFailure.of(generators.names[0], error) from error
            for generator in generators:
                self._pool(CandidateGenerators([generator]), episodes)
            raise
        finite = np.isfinite(pool.scores).all(axis=1)
        if not finite.all():
            name = pool.generators[int(np.argmin(finite))]
            raise GeneratorFailure(name, NOT_FINITE)
        return pool


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Concatenate examples; those of situations that follow each other are not copied."""
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(part.starts[-1] for part in parts)])
    starts = [part.starts[1:] + offset for part, offset in zip(parts, offsets, strict=False)]
    return Examples(
        users=np.concatenate([part.users for part in parts]),
        starts=np.concatenate([[0], *starts]),
        items=concatenated([part.items for part in parts]),
        columns=parts[0].columns,
        features=concatenated([part.features for part in parts]),
        labels=concatenated([part.labels for part in parts]),
        n_relevant=np.concatenate([part.n_relevant for part in parts]),
    )


def _join_situations(parts: dict[str, list[Examples]]) -> ExamplesBySituation:
    """Join the parts of every situation, in the order of `SITUATIONS`.

    Features take most of the memory of a training, and some models learn from several situations.
    So all lie in one array, and each part is freed when it is copied.
    """
    lengths = {name: sum(len(part.items) for part in some) for name, some in parts.items()}
    width = max((len(part.columns) for some in parts.values() for part in some[:1]), default=0)
    features: npt.NDArray[Any] = np.empty((sum(lengths.values()), width), np.float16)
    items = np.empty(len(features), np.int64)
    labels = np.empty(len(features), bool)
    joined: ExamplesBySituation = {}
    first = 0
    for situation in sorted(parts, key=SITUATIONS.index):
        some, start = parts[situation], first
        heads = [
            replace(part, features=features[:0], items=items[:0], labels=labels[:0])
            for part in some
        ]
        while some:
            part = some.pop(0)
            last = first + len(part.items)
            features[first:last], items[first:last] = part.features, part.items
            labels[first:last] = part.labels
            first = last
        release_memory()
        joined[situation] = replace(
            join_examples(heads),
            features=features[start:first],
            items=items[start:first],
            labels=labels[start:first],
        )
    return joined

"""Training of a recommender: generators and statistics of all domains, a ranker for each target."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.interactions.ratings import RatingData
from isthmus.errors import InvalidInput, listed
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.numerics.training import EpochResult
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.batches import ExampleBatches
from isthmus.retrieval.ranker.examples import Examples, make_examples
from isthmus.retrieval.ranker.features import GENERATOR_RANK, column_name, feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import TrainingSettings
from isthmus.retrieval.ranker.training import train_ranker
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.recommend.distillation import distil_ranker
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.report import ALL, RankerReport, ScenarioReport, TuningReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.tuning import require_optuna, tune_ranker
from isthmus.retrieval.source_domains.lift import Lift, harmful, measure_lifts

MIN_USERS = 20
RESAMPLES = 2_000
BATCH_SIZE = 64
RANKER = "ranker"


@dataclass(frozen=True)
class Trained:
    """A trained recommender, and the reports of its training.

    Attributes
    ----------
    recommender : Recommender
        The recommender.
    reports : dict of str to RankerReport
        By target domain.
    seconds : float
        Duration of the training.
    """

    recommender: Recommender
    reports: dict[str, RankerReport]
    seconds: float


def train_recommender(
    data: TrainingData,
    settings: RecommenderSettings,
    targets: Sequence[str] | None = None,
    *,
    feedback: Feedback | None = None,
    rated: RatingData | None = None,
    pretrained: Mapping[str, Ranker] | None = None,
    pretrain_on: dict[str, Sequence[str]] | None = None,
    folder: Path | None = None,
    show: bool = False,
) -> Trained:
    """Train a recommender.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    settings : RecommenderSettings
        How to train.
    targets : sequence of str, optional
        Domains to recommend from; by default all with 20 users or more.
    feedback : Feedback, optional
        How the training data counts events; stored with the recommender.
    rated : RatingData, optional
        Ratings of the items. If they differ, a model that predicts them is trained too.
    pretrained : mapping of str to Ranker, optional
        Rankers to fine-tune, such as those of another space: that of the target's name, or else
        the first.
    pretrain_on : dict of str to sequence of str, optional
        For a target, the domains that its ranker is trained on first; by default all other
        targets if the settings say so, or else none.
    folder : Path, optional
        Where checkpoints are kept while it trains.
    show : bool
        Whether to show progress bars.

    Raises
    ------
    InvalidInput
        If a target has too few users, or a pretrained ranker does not fit or is to be tuned.
    MissingDependency
        If rankers are to be tuned, and optuna is not installed.
    """
    start = time.perf_counter()
    if settings.tuning_trials:
        _require_tunable(settings, pretrained)
    targets = _targets(data, targets)
    for name in {name for names in (pretrain_on or {}).values() for name in names}:
        _require_users(data, name)
    statistics = settings.make_statistics().fit(data)
    training = _RankerTraining(data, statistics, settings, pretrained, folder, show)
    for target in targets if pretrained else ():
        training.initial(target, settings.training)  # a ranker that does not fit fails at once
    rankers, reports = {}, {}
    for target in targets:
        others = (pretrain_on or {}).get(target)
        if others is None:
            others = _domains_with_users(data, target) if settings.pretrain else []
        rankers[target], reports[target] = training.train(target, others)
    recommender = Recommender(
        item_ids=data.item_ids,
        domain_names=data.domain_names,
        domains=data.domains,
        generators=CandidateGenerators(settings.make_generators()).fit(data, show=show),
        statistics=statistics,
        rankers=rankers,
        content_graph=data.content_graph,
        feedback=feedback,
        ignored={target: report.ignored for target, report in reports.items()},
        rating=None if rated is None else rating_model(data, rated.matrix, settings.seed),
        vector_names=data.features.vector_names,
        rated_events=None if rated is None else rated.events,
    )
    return Trained(recommender, reports, time.perf_counter() - start)


def count_users(data: TrainingData, domain: str) -> int:
    """Return the number of users who liked something of a domain."""
    return int(data.domain_users(data.domain_code(domain)).sum())


def rating_model(data: TrainingData, ratings: InteractionMatrix, seed: int) -> RatingModel | None:
    """Train a model of ratings; None if all ratings are equal."""
    values = ratings.strengths
    if not len(values) or values.min() == values.max():
        return None
    contents = data.features.take(np.arange(len(data)))
    return RatingModel.fit(ratings, contents, data.domains, seed=seed)


def _require_tunable(
    settings: RecommenderSettings, pretrained: Mapping[str, Ranker] | None
) -> None:
    require_optuna()
    if pretrained:
        raise InvalidInput(
            "a pretrained ranker keeps its sizes, so it cannot be tuned; leave out start_from or "
            "tuning_trials"
        )
    if settings.training.distributed:
        raise InvalidInput(
            "several processes cannot tune together; leave out distributed or tuning_trials"
        )


def _targets(data: TrainingData, targets: Sequence[str] | None) -> list[str]:
    for name in targets or ():
        _require_users(data, name)
    chosen = targets or _domains_with_users(data)
    if not chosen:
        raise InvalidInput(
            f"no domain has {MIN_USERS} users who liked something of it; add interactions "
            "with: isthmus interactions add"
        )
    return list(chosen)


def _require_users(data: TrainingData, domain: str) -> None:
    if domain not in data.domain_names:
        raise InvalidInput(f"no domain {domain!r}; there are {listed(data.domain_names, domain)}")
    if count_users(data, domain) < MIN_USERS:
        raise InvalidInput(
            f"only {count_users(data, domain)} users liked something of {domain!r}, and a "
            f"ranker needs {MIN_USERS}; add interactions with: isthmus interactions add"
        )


def _domains_with_users(data: TrainingData, target: str | None = None) -> list[str]:
    """Return the domains with enough users to train on, other than a target."""
    names = (name for name in data.domain_names if name != target)
    return [name for name in names if count_users(data, name) >= MIN_USERS]


@dataclass(frozen=True, eq=False)
class _RankerTraining:
    data: TrainingData
    statistics: ItemStatistics
    settings: RecommenderSettings
    pretrained: Mapping[str, Ranker] | None
    folder: Path | None
    show: bool

    def train(self, target: str, others: Sequence[str]) -> tuple[Ranker, RankerReport]:
        """Train the ranker of a target, on other domains first."""
        start = time.perf_counter()
        lifts = self._lifts(target)
        ignored = harmful(lifts)
        others = [name for name in others if name not in ignored]
        columns = self.initial(target, self.settings.training).columns
        batches = self._batches(target, columns, ignored, self.settings.examples.folds)
        settings, tuning = self._tuned(target, batches)
        ranker, standardise = self.initial(target, settings), not self.pretrained
        for other in others:
            other_batches = self._batches(other, columns, ignored, folds=1)
            self._fit(ranker, other_batches, settings, other, target, standardise=standardise)
            standardise = False
        curve = self._fit(ranker, batches, settings, target, standardise=standardise)
        distillation = None
        if settings.distilled_units:
            folder = self._subfolder(f"{self.data.domain_code(target)}-distilled")
            ranker, distillation = distil_ranker(
                ranker, batches, settings, folder=folder, show=self.show
            )
        report = RankerReport(
            domain=target,
            pretrained_on=others,
            lifts=lifts,
            tuning=tuning,
            distillation=distillation,
            scenarios=compare_with_generators(ranker, batches),
            loss=[epoch.loss for epoch in curve[1:]],
            curve=[epoch.score for epoch in curve],
            seconds=time.perf_counter() - start,
        )
        return ranker, report

    def initial(self, target: str, settings: TrainingSettings) -> Ranker:
        """Return the ranker that the training of a target starts from.

        Raises
        ------
        InvalidInput
            If a pretrained one does not fit.
        """
        untrained = self._untrained(settings)
        if not self.pretrained:
            return untrained
        pretrained = self.pretrained.get(target) or next(iter(self.pretrained.values()))
        misfits = pretrained.misfits(untrained)
        if misfits:
            raise InvalidInput(
                f"the pretrained ranker does not fit: {'; '.join(misfits)}; train without it, or "
                "with its settings"
            )
        return deepcopy(pretrained)

    def _untrained(self, settings: TrainingSettings) -> Ranker:
        generators = [generator.name for generator in self.settings.make_generators()]
        return Ranker.untrained(
            generators,
            self.statistics.coarse_dim,
            members=settings.members,
            hidden=settings.hidden,
            dropout=settings.dropout,
            seed=settings.seed,
            columns=feature_columns(generators, numeric=self.statistics.numeric.informative),
        )

    def _lifts(self, target: str) -> dict[str, Lift]:
        """Measure the lift by other domains."""
        if not self.settings.check_source_domains:
            return {}
        seed = self.settings.examples.seed
        return measure_lifts(self.data, self.data.domain_code(target), seed=seed)

    def _tuned(
        self, target: str, batches: ExampleBatches
    ) -> tuple[TrainingSettings, TuningReport | None]:
        """Return the settings of a ranker, after a search if trials are asked for."""
        settings, trials = self.settings.training, self.settings.tuning_trials
        if not trials:
            return settings, None
        folder = self._subfolder(f"{self.data.domain_code(target)}-tuning")
        return tune_ranker(
            self._untrained, batches, settings, trials, folder=folder, show=self.show
        )

    def _batches(
        self, target: str, columns: Sequence[str], ignored: Sequence[str], folds: int
    ) -> ExampleBatches:
        codes = [self.data.domain_code(name) for name in ignored if name != target]
        examples = make_examples(
            self.data,
            self.settings.make_generators,
            self.settings.make_statistics,
            self.data.domain_code(target),
            replace(self.settings.examples, folds=folds),
            columns=columns,
            ignored=np.isin(self.data.domains, codes),
            show=self.show,
        )
        return ExampleBatches.of(examples, self.data, self.statistics)

    def _fit(
        self,
        ranker: Ranker,
        batches: ExampleBatches,
        settings: TrainingSettings,
        *domains: str,
        standardise: bool,
    ) -> list[EpochResult]:
        name = "-".join(str(self.data.domain_code(domain)) for domain in domains)
        return train_ranker(
            ranker.network,
            batches,
            settings,
            standardise=standardise,
            folder=self._subfolder(name),
            show=self.show,
        )

    def _subfolder(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name


def compare_with_generators(ranker: Ranker, batches: ExampleBatches) -> dict[str, ScenarioReport]:
    """Rank the candidates of the validation users by the ranker, and by each generator alone.

    Returns
    -------
    dict of str to ScenarioReport
        By scenario, and of all scenarios together.
    """
    examples, rows = batches.examples, batches.validation
    ndcg = {RANKER: batches.ndcg(rows, batches.scores(ranker.network, rows, BATCH_SIZE))}
    for generator in ranker.generators:
        ndcg[generator] = batches.ndcg(rows, _generator_ranks(examples, rows, generator))
    scenarios = examples.scenarios[rows]
    masks = {str(name): scenarios == name for name in dict.fromkeys(scenarios.tolist())}
    masks[ALL] = np.ones(len(rows), bool)
    return {
        name: _scenario_report(ranker.generators, examples, rows, ndcg, mask)
        for name, mask in masks.items()
    }


def _scenario_report(
    generators: Sequence[str],
    examples: Examples,
    rows: Columns,
    ndcg: Mapping[str, PerUser],
    mask: Mask,
) -> ScenarioReport:
    means = {name: float(values[mask].mean()) for name, values in ndcg.items()}
    alone = {name: means[name] for name in generators}
    best = max(alone, key=lambda name: alone[name])
    gains = (ndcg[RANKER] - ndcg[best])[mask]
    level = 1 - 0.05 / len(generators)  # Bonferroni
    low, high = interval(resampled_means(gains[:, None], RESAMPLES, 0)[:, 0], level)
    return ScenarioReport(
        users=int(mask.sum()),
        ranker=means[RANKER],
        generators=alone,
        best=best,
        low=low,
        high=high,
        coverage=_coverage(generators, examples, rows[mask]),
    )


def _coverage(generators: Sequence[str], examples: Examples, rows: Columns) -> dict[str, float]:
    """Return the mean share of relevant items that each generator, and all together, proposed."""
    labels = [examples.labels[examples.candidates_of(row)] for row in rows]
    hits = {"union": np.array([user_labels.sum() for user_labels in labels], np.float64)}
    for name in generators:
        ranks = _generator_ranks(examples, rows, name)
        hits[name] = np.array(
            [
                (user_labels & np.isfinite(rank)).sum()
                for user_labels, rank in zip(labels, ranks, strict=True)
            ],
            np.float64,
        )
    n_relevant = np.maximum(examples.n_relevant[rows], 1)
    return {name: float((hits[name] / n_relevant).mean()) for name in (*generators, "union")}


def _generator_ranks(examples: Examples, rows: Columns, generator: str) -> Iterator[FloatArray]:
    """Score candidates by their rank in the list of a generator; -inf if it did not propose it."""
    column = examples.columns.index(column_name(generator, GENERATOR_RANK))
    for row in rows:
        ranks = examples.features[examples.candidates_of(row), column].astype(np.float32)
        yield np.where(ranks > 0, ranks, -np.inf)

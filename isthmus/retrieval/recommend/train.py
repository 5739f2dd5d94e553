"""Training of a recommender: generators and statistics of all domains, a ranker for each target."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.interactions.ratings import RatingData
from isthmus.errors import InvalidInput, command_in, listed
from isthmus.numerics.memory import release_memory
from isthmus.privacy.guarantee import Guarantee
from isthmus.progress import progress_bar
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import CandidateGenerators, GeneratorFailure
from isthmus.retrieval.candidates.situations import CROSS_DOMAIN, SITUATIONS
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.tuning import GeneratorTuning, tune_generators
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.divided_domain import divided_examples, shares_too_few_users
from isthmus.retrieval.ranker.examples import NOT_FINITE, ExamplesBySituation, make_examples
from isthmus.retrieval.ranker.features import feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.settings import TrainingSettings
from isthmus.retrieval.ranker.training import TrainedRanker, train_ranker
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.report import RankerReport, TuningReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.tuning import require_optuna, tune_ranker
from isthmus.retrieval.source_domains.lift import Lift, harmful, measure_lifts

MIN_USERS = 20
PROBED_USERS, PROBED_ITEMS = 32, 64


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
    stages : dict of str to float
        Seconds of processor time of each stage, over all targets.
    generator_tuning : list of GeneratorTuning
        How the hyperparameters of each candidate generator were chosen.
    privacy : Guarantee or None
        The promise of a private training.
    """

    recommender: Recommender
    reports: dict[str, RankerReport]
    seconds: float
    stages: dict[str, float]
    generator_tuning: list[GeneratorTuning]
    privacy: Guarantee | None = None


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
        _require_tunable(pretrained)
    targets = _targets(data, targets)
    if not (pretrain_on or settings.pretrain):
        data = replace(data, targets=tuple(targets))
    for name in {name for names in (pretrain_on or {}).values() for name in names}:
        _require_users(data, name)
    stages = Stages()
    with stages.timed("item statistics"):
        data = replace(data, normalisation=settings.feature_normalization, _projected=[])
        statistics = ItemStatistics().fit(data)
    with stages.timed("tuning of generators"):
        tuned, tuning = tune_generators(
            settings.make_generators(attributes=data.interactions.attributes is not None),
            data,
            seed=settings.seed,
            show=show,
        )
    left_out = {report.name: report.failure for report in tuning if report.failure is not None}
    generators = _working_generators(data, tuned, left_out, stages, show=show)
    others = {target: _other_domains(data, settings, target, pretrain_on) for target in targets}
    while True:
        training = _RankerTraining(
            data, statistics, settings, list(generators), left_out, pretrained, folder, show
        )
        try:
            rankers, reports = training.train_all(others)
            break
        except GeneratorFailure as failure:  # of a fold, from which the others learn again
            generators = _without(generators, failure, left_out)
    for report in reports.values():
        stages.add(report.stages)
    with stages.timed("rating model"):
        rating = None if rated is None else rating_model(data, rated.matrix, settings.seed)
    recommender = Recommender(
        item_ids=data.item_ids,
        domain_names=data.domain_names,
        domains=data.domains,
        generators=generators,
        statistics=statistics,
        rankers=rankers,
        content_graph=data.content_graph,
        feedback=feedback,
        ignored={target: report.ignored for target, report in reports.items()},
        rating=rating,
        vector_names=data.features.vector_names,
        rated_events=None if rated is None else rated.events,
    )
    return Trained(recommender, reports, time.perf_counter() - start, stages.seconds, tuning)


@dataclass
class Stages:
    """Seconds of processor time of the stages of a training."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the processor time of the body to a stage, but for what is timed within it."""
        start, before = time.process_time(), sum(self.seconds.values())
        yield
        release_memory()  # a stage leaves nothing behind but its results
        within = sum(self.seconds.values()) - before
        self.add({name: time.process_time() - start - within})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the times of other stages."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more


def _working_generators(
    data: TrainingData,
    generators: Sequence[CandidateGenerator],
    left_out: dict[str, str],
    stages: Stages,
    *,
    show: bool,
) -> CandidateGenerators:
    """Fit the generators but for those that fail or have scores that are not finite.

    Why these are left out is added to `left_out`.

    Raises
    ------
    InvalidInput
        If none is left.
    """
    working: list[CandidateGenerator] = []
    with (
        stages.timed("candidate generators"),
        progress_bar("fitting candidate generators", len(generators), show=show) as advance,
    ):
        for generator in generators:
            reason = _failure(generator, data)
            if reason is None:
                working.append(generator)
            else:
                left_out[generator.name] = reason
            advance(1)
    return _usable(working, left_out)


def _without(
    generators: CandidateGenerators, failure: GeneratorFailure, left_out: dict[str, str]
) -> CandidateGenerators:
    """Return the generators but for one that failed, and add why to `left_out`."""
    left_out[failure.name] = f"{failure.reason} (in a cross-fitting fold)"
    return _usable([one for one in generators if one.name != failure.name], left_out)


def _usable(
    generators: list[CandidateGenerator], left_out: Mapping[str, str]
) -> CandidateGenerators:
    if not generators:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InvalidInput(f"no candidate generator can be used ({reasons})")
    return CandidateGenerators(generators)


def _failure(generator: CandidateGenerator, data: TrainingData) -> str | None:
    """Fit a generator, and say why it cannot be used; None if it can."""
    users = np.arange(min(PROBED_USERS, len(data.interactions.users)))
    histories = UserHistories.from_interactions(data.interactions).take_users(users)
    owners = np.repeat(np.arange(len(users)), PROBED_ITEMS)
    try:
        generator.fit(data)
        for code in data.target_codes:
            inside = np.flatnonzero(data.in_domain(code))
            if not len(inside):
                continue
            items = np.resize(inside[np.argsort(-data.popularity[inside])], len(owners))
            scores = generator.scorer(data, histories, code).score_pairs(owners, items)
            if not np.isfinite(scores).all():
                return NOT_FINITE
    except Exception as error:  # whatever one generator raises, the others rank without it
        return GeneratorFailure.of(generator.name, error).reason
    return None


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


def _require_tunable(pretrained: Mapping[str, Ranker] | None) -> None:
    require_optuna()
    if pretrained:
        raise InvalidInput(
            "a pretrained ranker keeps its sizes, so it cannot be tuned; leave out start_from or "
            "tuning_trials"
        )


def _targets(data: TrainingData, targets: Sequence[str] | None) -> list[str]:
    for name in targets or ():
        _require_users(data, name)
    chosen = targets or _domains_with_users(data)
    if not chosen:
        raise InvalidInput(
            f"no domain has {MIN_USERS} users who liked something of it; add interactions "
            f"with: {command_in(None, 'interactions add FILES')}"
        )
    return list(chosen)


def _require_users(data: TrainingData, domain: str) -> None:
    if domain not in data.domain_names:
        raise InvalidInput(f"no domain {domain!r}; there are {listed(data.domain_names, domain)}")
    if count_users(data, domain) < MIN_USERS:
        raise InvalidInput(
            f"only {count_users(data, domain)} users liked something of {domain!r}, and a "
            f"ranker needs {MIN_USERS}; add interactions with: "
            f"{command_in(None, 'interactions add FILES')}"
        )


def _other_domains(
    data: TrainingData,
    settings: RecommenderSettings,
    target: str,
    pretrain_on: Mapping[str, Sequence[str]] | None,
) -> Sequence[str]:
    """Return the domains that the ranker of a target is trained on first."""
    named = (pretrain_on or {}).get(target)
    if named is not None:
        return named
    return _domains_with_users(data, target) if settings.pretrain else []


def _domains_with_users(data: TrainingData, target: str | None = None) -> list[str]:
    """Return the domains with enough users to train on, other than a target."""
    names = (name for name in data.domain_names if name != target)
    return [name for name in names if count_users(data, name) >= MIN_USERS]


@dataclass(frozen=True, eq=False)
class _RankerTraining:
    data: TrainingData
    statistics: ItemStatistics
    settings: RecommenderSettings
    generators: list[CandidateGenerator]
    left_out: dict[str, str]
    pretrained: Mapping[str, Ranker] | None
    folder: Path | None
    show: bool

    def train_all(
        self, others: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, Ranker], dict[str, RankerReport]]:
        """Train the ranker of every target, given the domains that it is trained on first.

        Raises
        ------
        InvalidInput
            If a pretrained ranker does not fit; before anything is trained.
        GeneratorFailure
            If a generator fails in a fold.
        """
        for target in others if self.pretrained else ():
            self.start(target)
        trained = {target: self.train(target, first) for target, first in others.items()}
        rankers = {target: ranker for target, (ranker, _) in trained.items()}
        return rankers, {target: report for target, (_, report) in trained.items()}

    def train(self, target: str, others: Sequence[str]) -> tuple[Ranker, RankerReport]:
        """Train the ranker of a target, on other domains first."""
        begun, stages = time.perf_counter(), Stages()
        with stages.timed("source domains"):
            lifts = self._lifts(target)
        ignored = harmful(lifts)
        others = [name for name in others if name not in ignored]
        start = self.start(target)
        columns = self._columns() if start is None else start.columns
        for other in others:
            examples = self._examples(other, columns, ignored, 1, stages)
            with stages.timed("pretraining"):
                start = self._ranker(examples, self.settings.training, start)[0]
        folds = self.settings.examples.folds
        examples = self._examples(target, columns, ignored, folds, stages)
        with stages.timed("tuning"):
            settings, tuning = self._tuned(target, examples)
        with stages.timed("ranker"):
            ranker, situations, distillation = self._ranker(examples, settings, start)
        report = RankerReport(
            domain=target,
            pretrained_on=others,
            lifts=lifts,
            tuning=tuning,
            distillation=distillation,
            situations=situations,
            left_out=self.left_out | self._without_scores(target),
            stages=stages.seconds,
            seconds=time.perf_counter() - begun,
        )
        return ranker, report

    def _without_scores(self, target: str) -> dict[str, str]:
        """Return the generators that score nothing of a target by their design, and why."""
        code = self.data.domain_code(target)
        reasons = {generator.name: generator.missing(code) for generator in self.generators}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def start(self, target: str) -> Ranker | None:
        """Return the pretrained ranker of a target.

        Raises
        ------
        InvalidInput
            If it does not fit.
        """
        if not self.pretrained:
            return None
        pretrained = self.pretrained.get(target) or next(iter(self.pretrained.values()))
        misfits = pretrained.misfits(self._names)
        if misfits:
            raise InvalidInput(
                f"the pretrained ranker does not fit: {'; '.join(misfits)}; train without it, or "
                "with its settings"
            )
        return pretrained

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(generator.name for generator in self.generators)

    def _columns(self) -> tuple[str, ...]:
        return feature_columns(self._names, numeric=self.statistics.numeric.informative)

    def _ranker(
        self, examples: ExamplesBySituation, settings: TrainingSettings, start: Ranker | None
    ) -> TrainedRanker:
        return train_ranker(examples, self._names, settings, start=start, show=self.show)

    def _lifts(self, target: str) -> dict[str, Lift]:
        """Measure the lift by other domains."""
        if not self.settings.check_source_domains:
            return {}
        seed = self.settings.examples.seed
        return measure_lifts(self.data, self.data.domain_code(target), seed=seed)

    def _tuned(
        self, target: str, examples: ExamplesBySituation
    ) -> tuple[TrainingSettings, TuningReport | None]:
        """Return the settings of a ranker, after a search if trials are asked for."""
        settings, trials = self.settings.training, self.settings.tuning_trials
        if not trials:
            return settings, None
        folder = None
        if self.folder is not None:
            folder = self.folder / f"{self.data.domain_code(target)}-tuning"
        return tune_ranker(examples, self._names, settings, trials, folder=folder, show=self.show)

    def _examples(
        self,
        target: str,
        columns: Sequence[str],
        ignored: Sequence[str],
        folds: int,
        stages: Stages,
    ) -> ExamplesBySituation:
        codes = [self.data.domain_code(name) for name in ignored if name != target]

        def fitted(visible: TrainingData) -> tuple[CandidateGenerators, ItemStatistics]:
            generators = CandidateGenerators([replace(one) for one in self.generators])
            with stages.timed("candidate generators"):
                generators.fit(visible, show=self.show)
            with stages.timed("item statistics"):
                return generators, ItemStatistics().fit(visible)

        code, settings = self.data.domain_code(target), self.settings.examples
        with stages.timed("examples"):
            examples = make_examples(
                self.data,
                fitted,
                code,
                replace(settings, folds=folds),
                columns=columns,
                ignored=np.isin(self.data.domains, codes),
                show=self.show,
            )
            if shares_too_few_users(self.data, code):
                divided = divided_examples(
                    self.data, fitted, code, settings, columns=columns, show=self.show
                )
                if divided is not None:
                    examples[CROSS_DOMAIN] = divided
            return {name: examples[name] for name in SITUATIONS if name in examples}

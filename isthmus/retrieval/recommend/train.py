"""Training a recommender: sources and facts of all domains, and a head for each target."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.data.interactions.ratings import RatingData
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.numerics.training import EpochResult
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.batches import ExampleBatches
from isthmus.retrieval.ranker.examples import Examples, make_examples
from isthmus.retrieval.ranker.features import OF_SOURCE
from isthmus.retrieval.ranker.item_statistics import ItemFacts
from isthmus.retrieval.ranker.ranker import RankingHead
from isthmus.retrieval.ranker.settings import TrainingSettings
from isthmus.retrieval.ranker.training import train_head
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.recommend.distillation import distil_head
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.report import ALL, CaseReport, HeadReport, TuningReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.tuning import require_optuna, tune_head
from isthmus.retrieval.source_domains.lift import Lift, harmful, measure_lifts

RESAMPLES = 2_000
USERS_AT_ONCE = 64

FEWEST_USERS = 20


@dataclass(frozen=True)
class Trained:
    """A recommender, and what its training came to.

    Attributes
    ----------
    recommender : Recommender
        What was trained.
    reports : dict of str to HeadReport
        By target domain.
    seconds : float
        How long it took.
    """

    recommender: Recommender
    reports: dict[str, HeadReport]
    seconds: float


def train_recommender(
    corpus: TrainingData,
    settings: RecommenderSettings,
    targets: Sequence[str] | None = None,
    *,
    positive_from: float | None = None,
    rated: RatingData | None = None,
    pretrained: Mapping[str, RankingHead] | None = None,
    sources_of: dict[str, Sequence[str]] | None = None,
    folder: Path | None = None,
    show: bool = False,
) -> Trained:
    """Train a recommender.

    Parameters
    ----------
    corpus : Corpus
        What may be learned from.
    settings : RecommenderSettings
        How.
    targets : sequence of str, optional
        Domains to recommend in; by default all with 20 users or more.
    positive_from : float, optional
        The least value that the corpus counts as liked, to be remembered.
    rated : RatingData, optional
        What users gave items of the corpus, to learn to predict it too, where it differs.
    pretrained : mapping of str to RankingHead, optional
        Heads to go on from, such as those of another space: that of the target's name, or else
        the first.
    sources_of : dict of str to sequence of str, optional
        For a target, the domains that its head is pretrained on; by default, where the settings
        say so, all other targets.
    folder : Path, optional
        Where checkpoints are kept while it trains.
    show : bool
        Whether to show bars.

    Raises
    ------
    InvalidInput
        If a target has too few users, a pretrained head looks at something else, or is to be
        tuned.
    MissingDependency
        If heads are to be tuned, and optuna is not installed.
    """
    start = time.perf_counter()
    if settings.trials:
        _require_tunable(settings, pretrained)
    targets = _targets(corpus, targets)
    for name in {name for names in (sources_of or {}).values() for name in names}:
        _require_users(corpus, name)
    facts = settings.make_facts().fit(corpus)
    training = _HeadTraining(corpus, facts, settings, pretrained, folder, show)
    for target in targets if pretrained else ():
        training.first(target, settings.training)  # what does not fit is refused at once
    heads, reports = {}, {}
    for target in targets:
        others = (sources_of or {}).get(target)
        if others is None:
            others = _others(corpus, target) if settings.pretrain else []
        heads[target], reports[target] = training.train(target, others)
    sources = CandidateGenerators(settings.make_sources()).fit(corpus, show=show)
    recommender = Recommender(
        corpus.item_ids,
        corpus.domain_names,
        corpus.domains,
        sources,
        facts,
        heads,
        corpus.content_graph,
        positive_from,
        {target: report.ignored for target, report in reports.items()},
        None if rated is None else rating_model(corpus, rated.matrix, settings.seed),
        corpus.features.vector_names,
        None if rated is None else rated.events,
    )
    return Trained(recommender, reports, time.perf_counter() - start)


def users_of(corpus: TrainingData, domain: str) -> int:
    """Count the users who liked something of a domain."""
    return int(corpus.domain_users(corpus.domain_code(domain)).sum())


def rating_model(corpus: TrainingData, given: InteractionMatrix, seed: int) -> RatingModel | None:
    """Learn to predict what users gave items; None where all of it is equal."""
    strengths = given.strengths
    if not len(strengths) or strengths.min() == strengths.max():
        return None
    contents = corpus.features.take(np.arange(len(corpus)))
    return RatingModel.fit(given, contents, corpus.domains, seed=seed)


def _require_tunable(
    settings: RecommenderSettings, pretrained: Mapping[str, RankingHead] | None
) -> None:
    require_optuna()
    if pretrained:
        raise InvalidInput(
            "a head that goes on from another keeps its sizes, so it cannot be tuned; leave out "
            "start_from (--finetune) or trials (--tune)"
        )
    if settings.training.distributed:
        raise InvalidInput(
            "several processes cannot tune together; leave out distributed (--distributed) or "
            "trials (--tune)"
        )


def _targets(corpus: TrainingData, targets: Sequence[str] | None) -> list[str]:
    for name in targets or ():
        _require_users(corpus, name)
    found = targets or _others(corpus, None)
    if not found:
        raise InvalidInput(
            f"no domain has {FEWEST_USERS} users who liked something of it; add interactions "
            "with: isthmus interactions add"
        )
    return list(found)


def _require_users(corpus: TrainingData, domain: str) -> None:
    if domain not in corpus.domain_names:
        raise InvalidInput(f"no domain {domain!r}; there are {', '.join(corpus.domain_names)}")
    if users_of(corpus, domain) < FEWEST_USERS:
        raise InvalidInput(
            f"only {users_of(corpus, domain)} users liked something of {domain!r}, and a head "
            f"needs {FEWEST_USERS}; add interactions with: isthmus interactions add"
        )


def _others(corpus: TrainingData, target: str | None) -> list[str]:
    names = (name for name in corpus.domain_names if name != target)
    return [name for name in names if users_of(corpus, name) >= FEWEST_USERS]


@dataclass(frozen=True, eq=False)
class _HeadTraining:
    corpus: TrainingData
    facts: ItemFacts
    settings: RecommenderSettings
    pretrained: Mapping[str, RankingHead] | None
    folder: Path | None
    show: bool

    def train(self, target: str, others: Sequence[str]) -> tuple[RankingHead, HeadReport]:
        """Train the head of a target, on other domains first."""
        start = time.perf_counter()
        lifts = self._lifts(target)
        ignored = harmful(lifts)
        others = [name for name in others if name not in ignored]
        batches = self._batches(target, ignored, folds=self.settings.examples.folds)
        how, tuning = self._tuned(target, batches)
        head, fresh = self.first(target, how), not self.pretrained
        for other in others:
            batches_there = self._batches(other, ignored, folds=1)
            self._fit(head, batches_there, how, other, target, fresh=fresh)
            fresh = False
        curve = self._fit(head, batches, how, target, fresh=fresh)
        distillation = None
        if how.distil:
            own = (
                None
                if self.folder is None
                else self.folder / f"{self.corpus.domain_code(target)}-small"
            )
            head, distillation = distil_head(head, batches, how, folder=own, show=self.show)
        report = HeadReport(
            domain=target,
            pretrained_on=others,
            lifts=lifts,
            tuning=tuning,
            distillation=distillation,
            cases=compare_with_sources(head, batches),
            loss=[own.loss for own in curve[1:]],
            curve=[own.score for own in curve],
            seconds=time.perf_counter() - start,
        )
        return head, report

    def _lifts(self, target: str) -> dict[str, Lift]:
        """Measure what other domains are worth, where the guard is on."""
        if not self.settings.guard:
            return {}
        seed = self.settings.examples.seed
        return measure_lifts(self.corpus, self.corpus.domain_code(target), seed=seed)

    def _tuned(
        self, target: str, batches: ExampleBatches
    ) -> tuple[TrainingSettings, TuningReport | None]:
        """Give the settings of a head, searched for where that was asked."""
        how, trials = self.settings.training, self.settings.trials
        if not trials:
            return how, None
        folder = (
            None
            if self.folder is None
            else self.folder / f"{self.corpus.domain_code(target)}-tuning"
        )
        return tune_head(self._untrained, batches, how, trials, folder=folder, show=self.show)

    def first(self, target: str, how: TrainingSettings) -> RankingHead:
        """Give the head that the training of a target begins with.

        Raises
        ------
        InvalidInput
            If a pretrained one looks at something else.
        """
        untrained = self._untrained(how)
        if not self.pretrained:
            return untrained
        given = self.pretrained.get(target) or next(iter(self.pretrained.values()))
        if not given.fits(untrained):
            raise InvalidInput(
                f"the pretrained head does not fit: {given.unlike(untrained)}; train without it, "
                "or with its settings"
            )
        return deepcopy(given)

    def _untrained(self, how: TrainingSettings) -> RankingHead:
        names = [source.name for source in self.settings.make_sources()]
        return RankingHead.untrained(
            names,
            self.facts.width,
            members=how.members,
            hidden=how.hidden,
            dropout=how.dropout,
            seed=how.seed,
            numbers=self.facts.numbers.tell,
        )

    def _batches(self, target: str, ignored: Sequence[str], folds: int) -> ExampleBatches:
        codes = [self.corpus.domain_code(name) for name in ignored if name != target]
        examples = make_examples(
            self.corpus,
            self.settings.make_sources,
            self.settings.make_facts,
            self.corpus.domain_code(target),
            replace(self.settings.examples, folds=folds),
            ignored=np.isin(self.corpus.domains, codes),
            show=self.show,
        )
        return ExampleBatches.of(examples, self.corpus, self.facts)

    def _fit(
        self,
        head: RankingHead,
        batches: ExampleBatches,
        how: TrainingSettings,
        *domains: str,
        fresh: bool,
    ) -> list[EpochResult]:
        name = "-".join(str(self.corpus.domain_code(domain)) for domain in domains)
        folder = None if self.folder is None else self.folder / name
        return train_head(
            head.network,
            batches,
            how,
            fresh=fresh,
            folder=folder,
            show=self.show,
        )


def compare_with_sources(head: RankingHead, batches: ExampleBatches) -> dict[str, CaseReport]:
    """Rank the tested users' candidates by the head, and by each source alone."""
    examples = batches.examples
    tested = np.flatnonzero(examples.tested)
    ranked = {"head": batches.ndcg(tested, batches.scores(head.network, tested, USERS_AT_ONCE))}
    for source in head.sources:
        ranked[source] = batches.ndcg(tested, _places(examples, tested, head, source))
    cases = examples.case[tested]
    masks = {str(case): cases == case for case in dict.fromkeys(cases.tolist())}
    masks[ALL] = np.ones(len(tested), bool)
    return {name: _case(head, examples, tested, ranked, own) for name, own in masks.items()}


def _case(
    head: RankingHead,
    examples: Examples,
    tested: Columns,
    ranked: Mapping[str, PerUser],
    own: Mask,
) -> CaseReport:
    means = {name: float(values[own].mean()) for name, values in ranked.items()}
    alone = {name: means[name] for name in head.sources}
    best = max(alone, key=lambda name: alone[name])
    gains = (ranked["head"] - ranked[best])[own]
    level = 1 - 0.05 / len(head.sources)
    low, high = interval(resampled_means(gains[:, None], RESAMPLES, 0)[:, 0], level)
    return CaseReport(
        users=int(own.sum()),
        head=means["head"],
        sources=alone,
        best=best,
        low=low,
        high=high,
        coverage=_coverage(head, examples, tested[own]),
    )


def _coverage(head: RankingHead, examples: Examples, users: Columns) -> dict[str, float]:
    wanted = np.maximum(examples.wanted[users], 1)
    found = {name: np.zeros(len(users)) for name in (*head.sources, "union")}
    for at, user in enumerate(users):
        labels = examples.labels[examples.starts[user] : examples.starts[user + 1]]
        found["union"][at] = labels.sum()
    for name in head.sources:
        for at, (user, places) in enumerate(
            zip(users, _places(examples, users, head, name), strict=True)
        ):
            labels = examples.labels[examples.starts[user] : examples.starts[user + 1]]
            found[name][at] = (labels & np.isfinite(places)).sum()
    return {name: float((own / wanted).mean()) for name, own in found.items()}


def _places(
    examples: Examples, users: Columns, head: RankingHead, source: str
) -> Iterator[FloatArray]:
    """Score candidates by their place in a source's list; -inf for what it did not propose."""
    column = head.sources.index(source) * len(OF_SOURCE) + OF_SOURCE.index("place")
    for user in users:
        rows = slice(examples.starts[user], examples.starts[user + 1])
        places = examples.features[rows, column].astype(np.float32)
        yield np.where(places > 0, places, -np.inf)

"""Choice of the ranker model of a situation, by cross-validation over its users.

Each model is trained three times, see `CrossValidation`. The scores of users that it was not
trained on decide between the models, calibrate the chosen one, and compare it with the candidate
generators. In use the three are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray
from isthmus.numerics.listwise import log_softmax
from isthmus.numerics.metrics import PerUser
from isthmus.numerics.statistics import interval, resampled_means
from isthmus.retrieval.candidates.generators import attribute_generators
from isthmus.retrieval.candidates.popularity import Popularity, Trend
from isthmus.retrieval.candidates.situations import UNKNOWN
from isthmus.retrieval.ranker.calibration import (
    Calibration,
    ReliabilityBin,
    calibration_error,
    expit,
    listed,
    reliability,
)
from isthmus.retrieval.ranker.cross_validation import GROUPS, SHARED, CrossValidation
from isthmus.retrieval.ranker.features import GENERATOR_RANK, column_name
from isthmus.retrieval.ranker.models.average import SingleGenerator
from isthmus.retrieval.ranker.models.blend import Blend, stack_weights
from isthmus.retrieval.ranker.models.linear import Linear
from isthmus.retrieval.ranker.models.merging import merged
from isthmus.retrieval.ranker.models.model import RankerModel
from isthmus.retrieval.ranker.models.network import Network
from isthmus.retrieval.ranker.models.registry import MODELS
from isthmus.retrieval.ranker.settings import STACK
from isthmus.retrieval.ranker.situation_report import SituationReport

IMPERSONAL = (Popularity.name, Trend.name)
RESAMPLES = 2_000
LISTED = 20
SCORED_USERS = 64  # whose features are in memory in single precision


@dataclass(frozen=True, eq=False)
class SituationModel:
    """What ranks in one situation.

    Attributes
    ----------
    model : RankerModel
        The model.
    calibration : Calibration
        Turns its scores into log-odds.
    """

    model: RankerModel
    calibration: Calibration

    def log_odds(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the log-odds that candidates are liked, see `RankerModel.score`."""
        scores = self.model.score(features, starts)
        return self.calibration.log_odds(log_softmax(scores, starts))


@dataclass(frozen=True, eq=False)
class Scored:
    """A cross-validated model.

    Attributes
    ----------
    members : tuple of RankerModel
        The model that was trained without each group of users.
    scores : numpy.ndarray
        float32, shape (n_candidates,): of each candidate by the member that was not trained on its
        user.
    ndcg, recall : numpy.ndarray
        NDCG@10 and recall@200 by these scores, shape (n_examples,).
    """

    members: tuple[RankerModel, ...]
    scores: FloatArray
    ndcg: PerUser
    recall: PerUser

    @property
    def model(self) -> RankerModel:
        """The average of the members."""
        return Blend(self.members)


class SituationTraining:
    """Trains and compares the models of one situation.

    Parameters
    ----------
    situation : str
        The situation.
    validation : CrossValidation
        The examples of all situations, and the groups of their users.
    generators : sequence of str
        Names of the candidate generators.
    """

    def __init__(
        self, situation: str, validation: CrossValidation, generators: Sequence[str]
    ) -> None:
        self.situation, self.validation, self.generators = situation, validation, generators
        self.examples, self.settings = validation.examples[situation], validation.settings

    def run(self) -> tuple[Scored, SituationReport]:
        """Train all models, and return the simplest that is as good as the best.

        If it is worse than the best generator beyond chance, the list of that is returned.
        """
        scored = self.cross_validated_models()
        chosen = _simplest_of_the_best(scored)
        alone = {name: self._ndcg_alone(name) for name in self.generators}
        best = max(alone, key=lambda name: float(alone[name].mean()))
        low, high = _gain_interval(scored[chosen].ndcg, alone[best], len(alone))
        if high < 0:  # the simplest gives too much away
            chosen = max(scored, key=lambda name: float(scored[name].ndcg.mean()))
            low, high = _gain_interval(scored[chosen].ndcg, alone[best], len(alone))
        models = {name: float(some.ndcg.mean()) for name, some in scored.items()}
        fallback = high < 0
        if fallback:
            chosen = f"{best} alone"
            scored[chosen] = self.scored([SingleGenerator(self.examples.columns, best)] * GROUPS)
        taken = scored[chosen]
        bins = self._reliability(taken.scores)
        report = SituationReport(
            users=len(self.examples),
            model=chosen,
            ranker=float(taken.ndcg.mean()),
            models=models,
            generators={name: float(values.mean()) for name, values in alone.items()},
            best=best,
            low=low,
            high=high,
            fallback=fallback,
            coverage=self._coverage(),
            calibration_error=calibration_error(bins),
            reliability=bins,
        )
        return taken, report

    def calibrated(self, taken: Scored) -> SituationModel:
        """Calibrate a model by the scores of users that its members were not trained on."""
        model = merged(taken.model)
        shares = log_softmax(taken.scores, self.examples.starts)
        return SituationModel(model, Calibration.fit(shares, self.examples.labels))

    def cross_validated_models(self) -> dict[str, Scored]:
        """Train all models that the settings name, from simple to rich.

        Of users without history and attributes nothing can be learned but what is liked most: one
        would learn that the hidden interactions of a fold lower the popularity of what they are of.
        """
        scored: dict[str, Scored] = {}
        columns = self.examples.columns
        personal = {generator.name for generator in attribute_generators()}
        if (
            self.situation == UNKNOWN
            and Popularity.name in self.generators
            and not personal.intersection(self.generators)
        ):
            return {
                name: self.scored([SingleGenerator(columns, name)] * GROUPS)
                for name in IMPERSONAL
                if name in self.generators
            }
        for name in MODELS:
            if name in self.settings.models:
                scored[name] = self.scored(self._members(name, scored))
        if STACK in self.settings.models and len(scored) > 1:
            parts = list(scored.values())
            weights = stack_weights([part.scores for part in parts], self.examples)
            by_group = zip(*(part.members for part in parts), strict=True)
            scores = np.stack([part.scores for part in parts], axis=1) @ weights
            scored[STACK] = self._scored([Blend(members, weights) for members in by_group], scores)
        return scored

    def _members(self, name: str, scored: Mapping[str, Scored]) -> Sequence[RankerModel]:
        """Train a model without each group of users.

        Users with a history share a network. Another network goes on from the linear model of the
        same users, and other models from the average. All models of a situation standardise the
        features alike, so that they can be merged.
        """
        validation = self.validation
        if name == Network.name and self.situation in SHARED:
            return validation.shared_network
        start = validation.start.get(self.situation, {}).get(name)
        starts: Sequence[RankerModel] = [start or validation.prior(self.situation)] * GROUPS
        if start is None and name == Network.name and Linear.name in scored:
            starts = scored[Linear.name].members
        return validation.members(
            lambda: MODELS[name](self.examples.columns, self.settings),
            validation.learned_from(self.situation),
            starts,
        )

    def scored(self, members: Sequence[RankerModel]) -> Scored:
        """Score each group of users by the member that was trained without it."""
        examples, group_of = self.examples, self.validation.group_of
        scores = np.zeros(len(examples.items), np.float32)
        for group, member in enumerate(members):
            held_out = np.flatnonzero(group_of[examples.users] == group)
            for first in range(0, len(held_out), SCORED_USERS):
                users = held_out[first : first + SCORED_USERS]
                part = examples.take(users)
                scores[examples.rows_of(users)] = member.score(part.features, part.starts)
        return self._scored(members, scores)

    def _scored(self, members: Sequence[RankerModel], scores: FloatArray) -> Scored:
        return Scored(tuple(members), scores, *self.examples.metrics(scores))

    def _ndcg_alone(self, generator: str) -> PerUser:
        return self.examples.metrics(self._ranks(generator))[0]

    def _ranks(self, generator: str) -> FloatArray:
        """Score candidates by their rank in a generator's list; -inf if it is not in it."""
        column = self.examples.columns.index(column_name(generator, GENERATOR_RANK))
        ranks = self.examples.features[:, column].astype(np.float32)
        return np.where(ranks > 0, ranks, -np.inf)

    def _coverage(self) -> dict[str, float]:
        """Return the mean share of relevant items that each generator, and all, proposed."""
        examples = self.examples
        n_relevant = np.maximum(examples.n_relevant, 1)
        hits = {"union": examples.labels}
        for name in self.generators:
            hits[name] = examples.labels & np.isfinite(self._ranks(name))
        return {
            name: float((np.bincount(examples.owners, hit, len(examples)) / n_relevant).mean())
            for name, hit in hits.items()
        }

    def _reliability(self, scores: FloatArray) -> list[ReliabilityBin]:
        """Return the bins of the first 20 candidates of users that a calibration did not see."""
        examples, groups = self.examples, self.validation.group_of[self.examples.users]
        scores = log_softmax(scores, examples.starts)
        probabilities = np.zeros(len(scores))
        for group in range(GROUPS):
            inside = (groups == group)[examples.owners]
            fitted = Calibration.fit(scores[~inside], examples.labels[~inside])
            probabilities[inside] = expit(fitted.log_odds(scores[inside]))
        rows = listed(scores, examples.starts, LISTED)
        return reliability(probabilities[rows], examples.labels[rows])


def _simplest_of_the_best(scored: Mapping[str, Scored]) -> str:
    """Return the first model whose loss against the best is within its standard error."""
    best = max(scored.values(), key=lambda some: float(some.ndcg.mean()))
    for name, some in scored.items():
        loss = best.ndcg - some.ndcg
        if loss.mean() <= loss.std() / max(1, len(loss) - 1) ** 0.5:
            return name
    raise AssertionError("the best model is within its standard error")


def _gain_interval(ranker: PerUser, generator: PerUser, comparisons: int) -> tuple[float, float]:
    """Return the interval of the gain, corrected for the comparisons (Bonferroni)."""
    level = 1 - 0.05 / comparisons
    means = resampled_means((ranker - generator)[:, None], RESAMPLES, 0)[:, 0]
    return interval(means, level)

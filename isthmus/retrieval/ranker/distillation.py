"""Distillation of a ranker: the models of each situation into one small network.

The student learns the order of its teacher over the candidates of simulated users, and what these
users liked, see `isthmus.retrieval.ranker.models.network_training.divergence`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Final

import numpy as np

from isthmus.numerics.statistics import estimate
from isthmus.retrieval.ranker.cross_validation import GROUPS
from isthmus.retrieval.ranker.distillation_report import RankerDistillation, RankerFigures
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.models.merging import merged
from isthmus.retrieval.ranker.models.model import RankerModel
from isthmus.retrieval.ranker.models.network import Network
from isthmus.retrieval.ranker.selection import Scored, SituationTraining

EPOCH_FACTOR: Final = 2  # a student does not overfit the scores of a teacher
TIMED_USERS: Final = 50
WARM_UP_USERS: Final = 3


def distil(training: SituationTraining, teacher: Scored) -> Scored:
    """Distil the model of a situation into a network of `settings.distilled_units` hidden units.

    Each student learns from the same users as its teacher, so both are measured on users that
    neither was trained on.
    """
    settings = replace(
        training.settings,
        hidden=training.settings.distilled_units,
        members=1,
        dropout=0.0,
        epochs=EPOCH_FACTOR * training.settings.epochs,
    )
    validation, columns = training.validation, training.examples.columns
    start, learned = (
        validation.prior(training.situation),
        validation.learned_from(training.situation),
    )
    students: list[RankerModel] = []
    for group in range(GROUPS):
        examples = validation.without(group, learned)
        targets = teacher.members[group].score(examples.features, examples.starts)
        students.append(Network(columns, settings).fit(examples, start, targets=targets))
    return training.scored(students)


def compare(
    teachers: Sequence[Scored], students: Sequence[Scored], examples: Sequence[Examples]
) -> RankerDistillation:
    """Measure the teachers and students of all situations, on users that they were not trained on.

    Parameters
    ----------
    teachers, students : sequence of Scored
        One of each for every situation.
    examples : sequence of Examples
        The examples of each situation.
    """
    ndcg = [np.concatenate([scored.ndcg for scored in side]) for side in (teachers, students)]
    gain = estimate(ndcg[1] - ndcg[0])
    return RankerDistillation(
        teacher=_figures(teachers, examples),
        student=_figures(students, examples),
        low=gain.low,
        high=gain.high,
        users=len(ndcg[0]),
    )


def _figures(side: Sequence[Scored], examples: Sequence[Examples]) -> RankerFigures:
    models = [merged(scored.model) for scored in side]
    times = [_milliseconds(model, some) for model, some in zip(models, examples, strict=True)]
    return RankerFigures(
        ndcg=float(np.concatenate([scored.ndcg for scored in side]).mean()),
        recall=float(np.concatenate([scored.recall for scored in side]).mean()),
        parameters=sum(model.size for model in models),
        milliseconds=float(np.mean(times)),
    )


def _milliseconds(model: RankerModel, examples: Examples) -> float:
    """Return the median time to score users one at a time, as in use."""
    users = [examples.take(np.array([at])) for at in range(min(TIMED_USERS, len(examples)))]
    durations = []
    for user in [*users[:WARM_UP_USERS], *users]:
        start = time.perf_counter()
        model.score(user.features, user.starts)
        durations.append(time.perf_counter() - start)
    return 1e3 * median(durations[WARM_UP_USERS:])

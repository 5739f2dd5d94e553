"""Private training: a recommender from sums over users with noise, and from items.

The rows of users are read once, for the sums. Everything after that is given training data
without a row, so that it is post-processing of the sums, whatever it does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from isthmus.data.interactions.feedback import Feedback
from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.errors import InvalidInput, listed
from isthmus.privacy.accountant import Mechanism
from isthmus.privacy.denoising import noise_edge, stands_out
from isthmus.privacy.statistics import Statistics, release_statistics
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.generators import CandidateGenerators
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.private_ease import PrivateEASE
from isthmus.retrieval.candidates.situations import (
    CROSS_DOMAIN,
    FEW,
    MORE,
    NEW_ITEMS,
    SITUATIONS,
    UNKNOWN,
)
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.calibration import Calibration
from isthmus.retrieval.ranker.features import feature_columns
from isthmus.retrieval.ranker.item_statistics import ItemStatistics
from isthmus.retrieval.ranker.models.average import SingleGenerator
from isthmus.retrieval.ranker.models.blend import Blend
from isthmus.retrieval.ranker.models.model import RankerModel
from isthmus.retrieval.ranker.ranker import Ranker
from isthmus.retrieval.ranker.selection import SituationModel
from isthmus.retrieval.recommend.recommender import Recommender
from isthmus.retrieval.recommend.report import RankerReport
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.train import Stages, Trained

BROAD: Final = "EASE (strongly regularized)"
NEEDS_USERS: Final = "it learns from rows of users, which a private training does not show it"
# Ridge penalties: a part that is best without noise, and a part in edges of the noise spectrum.
RIDGE: Final = (3.0, 0.4)
BROAD_RIDGE: Final = (10.0, 2.5)
# The generators whose lists are averaged in each situation, those that there are. Choosing by data
# would need a budget of its own.
LISTS: Final = {
    UNKNOWN: (Popularity.name,),
    CROSS_DOMAIN: (BROAD,),
    FEW: (EASE.name, BROAD),
    MORE: (EASE.name,),
    NEW_ITEMS: (Content.name,),
}
IMPERSONAL: Final = (Popularity.name, Content.name)  # where co-occurrences drown in noise


def train_private(
    data: TrainingData,
    settings: RecommenderSettings,
    mechanisms: Sequence[Mechanism],
    targets: Sequence[str],
    *,
    feedback: Feedback | None = None,
    show: bool = False,
) -> Trained:
    """Train a recommender with differential privacy of every user.

    Parameters
    ----------
    data : TrainingData
        Items and interactions.
    settings : RecommenderSettings
        How to train; hyperparameters of the ranker have no effect.
    mechanisms : sequence of Mechanism
        The noise, see `isthmus.privacy.statistics.mechanisms_for`. What they spend must have been
        recorded before.
    targets : sequence of str
        Domains to recommend from.
    feedback : Feedback, optional
        How the training data counts events; stored with the recommender.
    show : bool
        Whether to show progress bars.
    """
    start, stages = time.perf_counter(), Stages()
    with stages.timed("sums with noise"):
        sums = release_statistics(
            data.liked, data.interactions.users.tolist(), mechanisms, seed=settings.seed
        )
    public = without_users(data, settings, sums, targets)
    made = settings.make_generators(attributes=data.interactions.attributes is not None)
    kept, left_out = private_generators(made, sums)
    with stages.timed("candidate generators"):
        generators = CandidateGenerators(kept).fit(public, show=show)
    with stages.timed("item statistics"):
        statistics = ItemStatistics().fit(public)
    seconds = time.perf_counter() - start
    recommender = Recommender(
        item_ids=public.item_ids,
        domain_names=public.domain_names,
        domains=public.domains,
        generators=generators,
        statistics=statistics,
        rankers=dict.fromkeys(targets, _ranker(generators.names, sums)),
        content_graph=public.content_graph,
        feedback=feedback,
        vector_names=public.features.vector_names,
    )
    reports = {
        name: RankerReport(
            domain=name, pretrained_on=[], situations={}, left_out=left_out, seconds=seconds
        )
        for name in targets
    }
    return Trained(recommender, reports, seconds, stages.seconds, [])


def chosen_targets(data: TrainingData, targets: Sequence[str] | None) -> list[str]:
    """Return the domains that are recommended from: by default all, whatever their users.

    Raises
    ------
    InvalidInput
        If there is no domain of a name.
    """
    chosen = list(targets or data.domain_names)
    for name in chosen:
        if name not in data.domain_names:
            raise InvalidInput(f"no domain {name!r}; there are {listed(data.domain_names, name)}")
    return chosen


def without_users(
    data: TrainingData, settings: RecommenderSettings, sums: Statistics, targets: Sequence[str]
) -> TrainingData:
    """Return training data whose interactions are replaced by sums with noise."""
    nothing = InteractionMatrix(
        users=np.empty(0, np.object_),
        items=len(data),
        starts=np.zeros(1, np.int64),
        columns=np.empty(0, np.int64),
        strengths=np.empty(0, np.float32),
        moments=np.empty(0, np.float64),
        likes=np.empty(0, np.bool_),
    )
    return replace(
        data,
        interactions=nothing,
        private=sums,
        targets=tuple(targets),
        normalisation=settings.feature_normalization,
        _projected=[],
    )


def private_generators(
    made: Sequence[CandidateGenerator], sums: Statistics
) -> tuple[list[CandidateGenerator], dict[str, str]]:
    """Return the generators that learn from sums and items, and why the others are left out."""
    kept: list[CandidateGenerator] = []
    for generator in made:
        if isinstance(generator, EASE):
            kept.append(PrivateEASE(EASE.name, l2=_ridge(RIDGE, sums)))
            kept.append(PrivateEASE(BROAD, l2=_ridge(BROAD_RIDGE, sums)))
        elif not generator.needs_users:
            kept.append(generator)
    names = [generator.name for generator in kept]
    left_out = {one.name: NEEDS_USERS for one in made if one.name not in names}
    return kept, left_out


def _ridge(parts: tuple[float, float], sums: Statistics) -> float:
    without_noise, edges = parts
    return without_noise + edges * noise_edge(sums)


def _ranker(generators: Sequence[str], sums: Statistics) -> Ranker:
    """Return a ranker that learned nothing: in each situation the lists of fixed generators."""
    columns = feature_columns(generators, numeric=False)
    lists = LISTS if stands_out(sums) else dict.fromkeys(LISTS, IMPERSONAL)
    models = {
        situation: SituationModel(_lists(lists[situation], generators, columns), Calibration())
        for situation in SITUATIONS
    }
    return Ranker(columns, tuple(generators), models)


def _lists(names: Sequence[str], generators: Sequence[str], columns: Sequence[str]) -> RankerModel:
    """Return the average of some lists; that of the first generator where there is none of them."""
    there = [name for name in names if name in generators] or [generators[0]]
    lists = [SingleGenerator(columns, name) for name in there]
    return lists[0] if len(lists) == 1 else Blend(lists)

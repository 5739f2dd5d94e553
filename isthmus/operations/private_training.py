"""Train the recommender of a space with differential privacy, and record what it spends first."""

from __future__ import annotations

from dataclasses import replace

from isthmus.data.interactions.feedback import Feedback
from isthmus.errors import InvalidInput
from isthmus.index.open_space import OpenSpace
from isthmus.index.settings import SpaceSettings
from isthmus.privacy.budget import DEFAULT_DELTA, require_budget, spend
from isthmus.privacy.guarantee import Guarantee
from isthmus.privacy.statistics import MAX_MODELLED, MAX_ROWS, mechanisms_for
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.recommend import private_training
from isthmus.retrieval.recommend.request import TrainRequest
from isthmus.retrieval.recommend.settings import RecommenderSettings
from isthmus.retrieval.recommend.train import Trained


def require_private_request(request: TrainRequest, settings: RecommenderSettings) -> None:
    """Refuse arguments that a private training cannot keep, before anything is read.

    Raises
    ------
    InvalidInput
        If one is given.
    """
    if not request.private:
        if request.epsilon is not None or request.delta is not None:
            raise InvalidInput(
                "epsilon and delta are of a private training; set private (--private) too"
            )
        return
    if request.epsilon is None:
        raise InvalidInput("a private training needs a budget; give epsilon, such as 3")
    learned_from_rows = {
        "start_from": request.start_from,
        "pretrain": request.pretrain,
        "tuning_trials": settings.tuning_trials,
    }
    for name, value in learned_from_rows.items():
        if value:
            raise InvalidInput(
                f"{name} makes a ranker learn from rows of users, which a private training does "
                f"not read; leave it out"
            )


def train_private(
    space: OpenSpace,
    request: TrainRequest,
    settings: RecommenderSettings,
    data: TrainingData,
    feedback: Feedback,
    *,
    progress: bool,
) -> Trained:
    """Train on data of a space; its training lock must be held.

    Raises
    ------
    InvalidInput
        If the budget promises nothing, or the space has not enough of it left.
    """
    assert request.epsilon is not None
    delta = DEFAULT_DELTA if request.delta is None else request.delta
    require_budget(request.epsilon, delta, len(data.interactions.users))
    targets = private_training.chosen_targets(data, request.targets)
    mechanisms = mechanisms_for(request.epsilon, delta)
    total = SpaceSettings.read(space.path).privacy.total_epsilon
    budget = spend(space.path, mechanisms, delta, total)
    trained = private_training.train_private(
        data, settings, mechanisms, targets, feedback=feedback, show=progress
    )
    guarantee = Guarantee(
        epsilon=request.epsilon,
        delta=delta,
        mechanisms=mechanisms,
        max_rows=MAX_ROWS,
        modelled_items=min(MAX_MODELLED, len(data)),
        spent_epsilon=budget.spent(delta),
    )
    return replace(trained, privacy=guarantee)

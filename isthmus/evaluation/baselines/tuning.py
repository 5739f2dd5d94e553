"""Settings chosen on validation: every one of a grid is fitted and measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Generic, TypeVar

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.evaluation.answers import ResultCache
from isthmus.evaluation.baselines.als import ALS
from isthmus.evaluation.baselines.baseline import Baseline, BaselineSystem
from isthmus.evaluation.baselines.chance import Chance
from isthmus.evaluation.baselines.content import Content
from isthmus.evaluation.baselines.ease import EASE
from isthmus.evaluation.baselines.item_knn import ItemKNN
from isthmus.evaluation.baselines.means import GlobalMean, Offsets, RatingBaseline
from isthmus.evaluation.baselines.neighbours import SIMILARITIES
from isthmus.evaluation.baselines.popularity import Popularity
from isthmus.evaluation.baselines.user_knn import UserKNN
from isthmus.evaluation.lists import ItemVectors, clean_lists, hit_matrix
from isthmus.evaluation.task import Task
from isthmus.numerics.metrics import ranking_metrics, rating_errors
from isthmus.progress import Advance, ignore_progress

S = TypeVar("S")


@dataclass(frozen=True)
class Trial:
    """What settings came to on validation."""

    settings: dict[str, Any]
    score: float


@dataclass(frozen=True)
class Tuned(Generic[S]):
    """The outcome of a grid.

    Attributes
    ----------
    system : BaselineSystem or RatingBaseline
        The best of it.
    score : float
        What it has on validation.
    trials : tuple of Trial
        All that was tried, in the order of the grid.
    """

    system: S
    score: float
    trials: tuple[Trial, ...]


def tuned(
    grid: Sequence[Baseline],
    task: Task,
    *,
    metric: str = "ndcg@10",
    contents: ItemVectors | None = None,
    kept: ResultCache | None = None,
    advance: Advance = ignore_progress,
) -> Tuned[BaselineSystem]:
    """Fit every baseline of a grid on a validation task, and keep the best.

    Parameters
    ----------
    grid : sequence of Baseline
        What to try; of equals the first is kept.
    task : Task
        A task of the split ``"val"``.
    metric : str
        What is maximised, as named by `ranking_metrics`.
    contents : ItemVectors, optional
        Content of the items, for the methods that look at it.
    kept : KeptResults, optional
        Where trials are kept; one that is there is not made again.
    advance : callable
        Is called after each trial.

    Raises
    ------
    InvalidInput
        If the grid is empty, or the task is not for validation.
    """
    _require_validation(len(grid), task)
    depth = int(metric.rpartition("@")[2]) if "@" in metric else 200
    given = () if contents is None else contents.parts
    digest = None if contents is None else contents.digest
    trials: list[Trial] = []
    best: BaselineSystem | None = None
    for baseline in grid:
        system = BaselineSystem(baseline, *given)
        what = _trial_of(baseline, task) | {"metric": metric, "vectors": digest}
        score = _scored(kept, what, partial(_measure, system, task, metric, depth))
        if best is None or score > max(trial.score for trial in trials):
            best = system
        trials.append(Trial(baseline.settings(), score))
        advance(1)
    assert best is not None
    return Tuned(best, max(trial.score for trial in trials), tuple(trials))


def tuned_rater(
    grid: Sequence[RatingBaseline],
    task: Task,
    *,
    kept: ResultCache | None = None,
    advance: Advance = ignore_progress,
) -> Tuned[RatingBaseline]:
    """Let every baseline of a grid predict the values of a validation task, and keep the best.

    Parameters
    ----------
    grid : sequence of RatingBaseline
        What to try; of equals the first is kept.
    task : Task
        A rating task of the split ``"val"``. The root mean square error is minimised.
    kept, advance
        As for `tuned`.

    Raises
    ------
    InvalidInput
        If the grid is empty, or the task is not for validation.
    """
    _require_validation(len(grid), task)
    trials = []
    for baseline in grid:
        what = _trial_of(baseline, task) | {"metric": "rmse"}
        trials.append(
            Trial(baseline.settings(), _scored(kept, what, partial(_rmse, baseline, task)))
        )
        advance(1)
    best = min(range(len(grid)), key=lambda place: trials[place].score)
    return Tuned(grid[best], trials[best].score, tuple(trials))


def default_grids(*, content: bool = False, seed: int = 0) -> dict[str, list[Baseline]]:
    """Give the grid of every baseline by its name; that of content where there are vectors."""
    items = product(SIMILARITIES, (100, None), (10.0, 50.0, 200.0, 500.0))
    users = product(SIMILARITIES, (300, None), (0.0, 10.0), (False, True))
    factors = product((32, 64, 128), (10.0, 30.0, 100.0, 300.0), (1.0, 10.0))
    grids: list[list[Baseline]] = [
        [Chance(seed)],
        [Popularity(seed)],
        [ItemKNN(seed, similarity, k, shrink) for similarity, k, shrink in items],
        [UserKNN(seed, similarity, k, shrink, rare) for similarity, k, shrink, rare in users],
        [EASE(seed, l2) for l2 in (100.0, 300.0, 1_000.0, 3_000.0)],
        [ALS(seed, size, ridge, alpha) for size, ridge, alpha in factors],
    ]
    if content:
        grids.append([Content(seed, "mean"), Content(seed, "max")])
    return {grid[0].name: grid for grid in grids}


def rating_grids() -> dict[str, list[RatingBaseline]]:
    """Give the grid of every baseline that predicts values, by its name."""
    damped = product((25.0, 10.0, 5.0), (10.0, 5.0, 2.0))
    grids: list[list[RatingBaseline]] = [[GlobalMean()], [Offsets(*own) for own in damped]]
    return {grid[0].name: grid for grid in grids}


def _require_validation(settings: int, task: Task) -> None:
    if not settings or task.split != "val":
        raise InvalidInput(
            f"tuning wants settings to try, and a task of split 'val'; got {settings} and "
            f"{task.split!r}: settings tuned on what is reported say nothing"
        )


def _trial_of(baseline: Baseline | RatingBaseline, task: Task) -> dict[str, Any]:
    return {"trial of": baseline.name, "settings": baseline.settings(), "task": task.digest}


def _scored(
    kept: ResultCache | None, what: Mapping[str, Any], measure: Callable[[], float]
) -> float:
    """Give the score that was kept of a trial, or measure and keep it."""
    text = None if kept is None else kept.get(what)
    if text is not None:
        return float(json.loads(text))
    score = measure()
    if kept is not None:
        kept.put(what, json.dumps(score))
    return score


def _rmse(baseline: RatingBaseline, task: Task) -> float:
    return rating_errors(baseline.rate(task), [user.ratings or () for user in task.users])["rmse"]


def _measure(system: BaselineSystem, task: Task, metric: str, depth: int) -> float:
    lists = clean_lists(task, system.recommend(task, depth).items, depth)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(lists, truths, depth)
    counts = np.array([len(truth) for truth in truths], np.int64)
    return float(ranking_metrics(hits, counts, [depth])[metric].mean())

"""Grid search on validation: every baseline of a grid is fitted and measured."""

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
from isthmus.evaluation.baselines.baseline import (
    Baseline,
    BaselineSystem,
    GeneratorBaseline,
    Random,
)
from isthmus.evaluation.baselines.rating_means import GlobalMean, Offsets, RatingBaseline
from isthmus.evaluation.lists import ItemVectors, clean_lists, hit_matrix
from isthmus.evaluation.task import Task
from isthmus.numerics.metrics import ranking_metrics, rating_errors
from isthmus.progress import Advance, ignore_progress
from isthmus.retrieval.candidates.als import ALS
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.ease import EASE
from isthmus.retrieval.candidates.factor_regression import GRID, PENALTIES, FactorRegression
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from isthmus.retrieval.candidates.user_knn import ItemWeights, UserKNN

S = TypeVar("S")

MAX_EASE_SIDE = 12_000  # users or items of which a square matrix is held, in float32

# Of `CountSimilarity`: the larger alpha, the higher popular items are ranked.
SIMILARITIES: dict[str, dict[str, Any]] = {
    "cosine": {"alpha": 0.5, "beta": 0.5},
    "asymmetric": {"alpha": 0.75, "beta": 0.25},
    "conditional": {"alpha": 1.0, "beta": 0.0},
    "jaccard": {"jaccard": True},
}


@dataclass(frozen=True)
class Trial:
    """Hyperparameters, and their score on validation."""

    settings: dict[str, Any]
    score: float


@dataclass(frozen=True)
class Tuned(Generic[S]):
    """The outcome of a grid.

    Attributes
    ----------
    system : BaselineSystem or RatingBaseline
        The best one.
    score : float
        Its score on validation.
    trials : tuple of Trial
        Every one, in the order of the grid.
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
    cache: ResultCache | None = None,
    advance: Advance = ignore_progress,
) -> Tuned[BaselineSystem]:
    """Fit every baseline of a grid to a validation task, and return the best.

    Parameters
    ----------
    grid : sequence of Baseline
        The baselines; ties keep the first.
    task : Task
        A task of the split ``"val"``.
    metric : str
        The metric that is maximised, as named by `ranking_metrics`.
    contents : ItemVectors, optional
        Content vectors of the items, for the methods that need them.
    cache : ResultCache, optional
        A cache of trials.
    advance : callable
        Called after each trial.

    Raises
    ------
    InvalidInput
        If the grid is empty, or the task is not for validation.
    """
    _require_validation(len(grid), task)
    depth = int(metric.rpartition("@")[2]) if "@" in metric else 200
    parts = () if contents is None else contents.parts
    digest = None if contents is None else contents.digest
    trials: list[Trial] = []
    best: BaselineSystem | None = None
    for baseline in grid:
        system = BaselineSystem(baseline, *parts)
        what = _trial_of(baseline, task) | {"metric": metric, "vectors": digest}
        score = _scored(cache, what, partial(_measure, system, task, metric, depth))
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
    cache: ResultCache | None = None,
    advance: Advance = ignore_progress,
) -> Tuned[RatingBaseline]:
    """Fit every rating baseline of a grid to a validation task, and return the best.

    Parameters
    ----------
    grid : sequence of RatingBaseline
        The baselines; ties keep the first.
    task : Task
        A rating task of the split ``"val"``. The root mean square error is minimised.
    cache, advance
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
            Trial(baseline.settings(), _scored(cache, what, partial(_rmse, baseline, task)))
        )
        advance(1)
    best = min(range(len(grid)), key=lambda place: trials[place].score)
    return Tuned(grid[best], trials[best].score, tuple(trials))


def default_grids(*, content: bool = False, seed: int = 0) -> dict[str, list[Baseline]]:
    """Return the grid of every baseline by its name; with that of content if asked for."""
    grids: list[list[Baseline]] = [[Random(seed)]]
    generators: list[list[CandidateGenerator]] = [
        [Popularity()],
        _item_knn_grid(),
        _user_knn_grid(),
        _ease_grid(),
        _als_grid(seed),
        _factor_regression_grid(seed),
    ]
    if content:
        generators.append([Content("mean"), Content("max")])
    grids += [[GeneratorBaseline(generator, seed) for generator in grid] for grid in generators]
    return {grid[0].name: grid for grid in grids}


def _item_knn_grid() -> list[CandidateGenerator]:
    grid = product(SIMILARITIES.values(), (100, None), (10.0, 50.0, 200.0, 500.0))
    return [
        ItemKNN(**similarity, k=k, shrink=shrink, max_user_items=None)
        for similarity, k, shrink in grid
    ]


def _user_knn_grid() -> list[CandidateGenerator]:
    weights: tuple[ItemWeights, ...] = ("none", "idf")
    grid = product(SIMILARITIES.values(), (300, None), (0.0, 10.0), weights)
    return [
        UserKNN(**similarity, k=k, shrink=shrink, item_weights=weight)
        for similarity, k, shrink, weight in grid
    ]


def _ease_grid() -> list[CandidateGenerator]:
    grid = (100.0, 300.0, 1_000.0, 3_000.0)
    return [EASE(l2=l2, rank=None, max_items=MAX_EASE_SIDE) for l2 in grid]


def _als_grid(seed: int) -> list[CandidateGenerator]:
    grid = product((32, 64, 128), (10.0, 30.0, 100.0, 300.0), (1.0, 10.0))
    return [als(factors, l2, alpha, seed=seed) for factors, l2, alpha in grid]


def _factor_regression_grid(seed: int) -> list[CandidateGenerator]:
    """Return EMCDR with a linear map, with one factorization a side as it is published."""
    default = FactorRegression()
    first = (default.regularization, default.alpha)
    pairs = [first, *(pair for pair in GRID if pair != first)]
    return [
        FactorRegression(regularization=l2, alpha=alpha, seeds=1, l2=penalty, seed=seed)
        for (l2, alpha), penalty in product(pairs, PENALTIES)
    ]


def als(
    factors: int = 64,
    regularization: float = 10.0,
    alpha: float = 10.0,
    iterations: int = 15,
    seed: int = 0,
) -> ALS:
    """Return ALS with the confidences of implicit, which folds users in as it fits them."""
    return ALS(factors, regularization, alpha, iterations, seed, False, added_confidence=0.0)


def rating_grids() -> dict[str, list[RatingBaseline]]:
    """Return the grid of every rating baseline by its name."""
    damped = product((25.0, 10.0, 5.0), (10.0, 5.0, 2.0))
    grids: list[list[RatingBaseline]] = [[GlobalMean()], [Offsets(*damping) for damping in damped]]
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
    cache: ResultCache | None, what: Mapping[str, Any], measure: Callable[[], float]
) -> float:
    """Return the cached score of a trial, or measure and cache it."""
    text = None if cache is None else cache.get(what)
    if text is not None:
        return float(json.loads(text))
    score = measure()
    if cache is not None:
        cache.put(what, json.dumps(score))
    return score


def _rmse(baseline: RatingBaseline, task: Task) -> float:
    return rating_errors(baseline.rate(task), [user.ratings or () for user in task.users])["rmse"]


def _measure(system: BaselineSystem, task: Task, metric: str, depth: int) -> float:
    lists = clean_lists(task, system.recommend(task, depth).items, depth)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(lists, truths, depth)
    counts = np.array([len(truth) for truth in truths], np.int64)
    return float(ranking_metrics(hits, counts, [depth])[metric].mean())

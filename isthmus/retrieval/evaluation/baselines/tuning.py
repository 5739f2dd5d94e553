"""Settings chosen on validation: every one of a grid is fitted and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from isthmus.encoders.encoder import FloatArray
from isthmus.errors import InvalidInput
from isthmus.progress import progress_bar
from isthmus.retrieval.evaluation.baselines.als import ALS
from isthmus.retrieval.evaluation.baselines.baseline import Baseline, BaselineSystem
from isthmus.retrieval.evaluation.baselines.chance import Chance
from isthmus.retrieval.evaluation.baselines.content import Content
from isthmus.retrieval.evaluation.baselines.ease import EASE
from isthmus.retrieval.evaluation.baselines.item_knn import ItemKNN
from isthmus.retrieval.evaluation.baselines.neighbours import SIMILARITIES
from isthmus.retrieval.evaluation.baselines.popularity import Popularity
from isthmus.retrieval.evaluation.baselines.user_knn import UserKNN
from isthmus.retrieval.evaluation.lists import clean_lists, hit_matrix
from isthmus.retrieval.evaluation.metrics import ranking_metrics
from isthmus.retrieval.evaluation.task import Task


@dataclass(frozen=True)
class Trial:
    """What settings came to on validation."""

    settings: dict[str, Any]
    score: float


@dataclass(frozen=True)
class Tuned:
    """The outcome of a grid.

    Attributes
    ----------
    system : BaselineSystem
        The best of it, fitted.
    score : float
        What it has on validation.
    trials : tuple of Trial
        All that was tried, in the order of the grid.
    """

    system: BaselineSystem
    score: float
    trials: tuple[Trial, ...]


def tuned(
    grid: Sequence[Baseline],
    task: Task,
    *,
    metric: str = "ndcg@10",
    item_ids: Sequence[str] = (),
    vectors: FloatArray | None = None,
    show: bool = False,
) -> Tuned:
    """Fit every baseline of a grid on a validation task, and keep the best.

    Parameters
    ----------
    grid : sequence of Baseline
        What to try; of equals the first is kept.
    task : Task
        A task of the split ``"val"``.
    metric : str
        What is maximised, as named by `ranking_metrics`.
    item_ids, vectors
        As for `BaselineSystem`.
    show : bool
        Whether to show a bar.

    Raises
    ------
    InvalidInput
        If the grid is empty, or the task is not for validation.
    """
    if not grid or task.split != "val":
        raise InvalidInput(
            f"tuning wants settings to try, and a task of split 'val'; got {len(grid)} and "
            f"{task.split!r}: settings tuned on what is reported say nothing"
        )
    depth = int(metric.rpartition("@")[2]) if "@" in metric else 200
    trials: list[Trial] = []
    best: BaselineSystem | None = None
    with progress_bar(f"tuning {grid[0].name}", len(grid), show=show) as advance:
        for baseline in grid:
            system = BaselineSystem(baseline, item_ids, vectors)
            score = _measure(system, task, metric, depth)
            if best is None or score > max(trial.score for trial in trials):
                best = system
            trials.append(Trial(baseline.settings(), score))
            advance(1)
    assert best is not None
    return Tuned(best, max(trial.score for trial in trials), tuple(trials))


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


def _measure(system: BaselineSystem, task: Task, metric: str, depth: int) -> float:
    lists = clean_lists(task, system.recommend(task, depth).items, depth)
    truths = [user.truth for user in task.users]
    hits = hit_matrix(lists, truths, depth)
    counts = np.array([len(truth) for truth in truths], np.int64)
    return float(ranking_metrics(hits, counts, [depth])[metric].mean())

"""Ratings by means: what a predictor of values has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.columns import ITEM_ID, USER_ID, VALUE
from isthmus.retrieval.evaluation.baselines.baseline import places_of
from isthmus.retrieval.evaluation.task import Task

Predictions = list[npt.NDArray[np.floating[Any]]]


class GlobalMean:
    """Predicts the mean of all values of the train table."""

    def rate(self, task: Task) -> Predictions:
        """Give the mean for every item of the truth."""
        mean = float(_values(task.train).mean())
        return [np.full(len(user.truth), mean) for user in task.users]


@dataclass(frozen=True)
class Biases:
    """Predicts the mean, what the item is off, and what the user is off beyond it.

    Both are shrunk means, found alternately: ``b_i = sum (r - m - b_u) / (item_damping + n_i)``
    and so for users (Koren, *Factor in the neighbors*, ACM TKDD 2010).

    Attributes
    ----------
    item_damping, user_damping : float
        Ratings at the mean that are added to those of each item, and of each user.
    rounds : int
        Alternations.
    """

    item_damping: float = 10.0
    user_damping: float = 15.0
    rounds: int = 10

    def rate(self, task: Task) -> Predictions:
        """Learn the train table, and predict the truth; what is unknown is at the mean."""
        columns = [task.train.column(name).cast(pa.string()) for name in (USER_ID, ITEM_ID)]
        names = [column.unique() for column in columns]
        users, items = (places_of(*both) for both in zip(columns, names, strict=True))
        values = _values(task.train)
        mean = float(values.mean())
        by_user, by_item = np.zeros(len(names[0]) + 1), np.zeros(len(names[1]) + 1)
        for _ in range(self.rounds):
            by_item = _shrunk(items, values - mean - by_user[users], by_item, self.item_damping)
            by_user = _shrunk(users, values - mean - by_item[items], by_user, self.user_damping)
        rows = places_of(pa.array([user.user_id for user in task.users], pa.string()), names[0])
        return [
            mean + by_user[row] + by_item[places_of(pa.array(user.truth, pa.string()), names[1])]
            for row, user in zip(rows.tolist(), task.users, strict=True)
        ]


def _shrunk(
    places: npt.NDArray[np.int64],
    left: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64],
    damping: float,
) -> npt.NDArray[np.float64]:
    """Give shrunk means by place, with a last one, of the unknown, at 0."""
    count = len(before) - 1
    sums = np.bincount(places, left, count)
    return np.append(sums / (damping + np.bincount(places, minlength=count)), 0.0)


def _values(train: pa.Table) -> npt.NDArray[np.float64]:
    return np.asarray(train.column(VALUE).to_numpy(), np.float64)

"""Ratings predicted from means: the baselines of a rating model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.evaluation.baselines.baseline import places_of
from isthmus.evaluation.task import Task
from isthmus.numerics.arrays import Positions
from isthmus.schema import ITEM_ID, USER_ID, VALUE

Values = npt.NDArray[np.float64]


@dataclass
class RatingBaseline(ABC):
    """A method that predicts ratings, with its hyperparameters.

    Attributes
    ----------
    name : str
        The name in reports.
    """

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters by name."""
        return asdict(self)

    @abstractmethod
    def rate(self, task: Task) -> Sequence[Values]:
        """Fit to the train table; return the rating of each item of each user's truth."""


@dataclass
class GlobalMean(RatingBaseline):
    """The mean of all ratings."""

    name: ClassVar[str] = "mean"

    def rate(self, task: Task) -> Sequence[Values]:
        """Return the mean for every item."""
        mean = pc.mean(task.train.column(VALUE)).as_py()
        return [np.full(len(user.truth), mean) for user in task.users]


@dataclass
class Offsets(RatingBaseline):
    """The mean plus an offset of the item and an offset of the user.

    ``mu + b_i + b_u`` with ``b_i = sum(r - mu) / (items + n_i)`` and
    ``b_u = sum(r - mu - b_i) / (users + n_u)`` (Koren, ACM TKDD 2010, section 2.1), clipped to
    the range of the ratings. Unknown items and users have offset 0.

    Attributes
    ----------
    items, users : float
        Damping: the larger, the nearer to 0 are the offsets of those with few ratings.
    """

    name: ClassVar[str] = "offsets"
    items: float = 25.0
    users: float = 10.0

    def rate(self, task: Task) -> Sequence[Values]:
        """Return the sum of mean and offsets."""
        values = np.asarray(task.train.column(VALUE).to_numpy(), np.float64)
        item_ids, user_ids = (pc.unique(task.train.column(name)) for name in (ITEM_ID, USER_ID))
        rows = places_of(task.train.column(ITEM_ID), item_ids)
        mean = float(values.mean())
        of_items = _offsets(rows, values - mean, len(item_ids), self.items)
        rest = values - mean - of_items[rows]
        of_users = _offsets(
            places_of(task.train.column(USER_ID), user_ids), rest, len(user_ids), self.users
        )
        users = places_of(pa.array([user.user_id for user in task.users], pa.string()), user_ids)
        flat = pa.array([item for user in task.users for item in user.truth], pa.string())
        lengths = [len(user.truth) for user in task.users]
        whole = mean + of_items[places_of(flat, item_ids)] + np.repeat(of_users[users], lengths)
        return np.split(np.clip(whole, values.min(), values.max()), np.cumsum(lengths)[:-1])


def _offsets(places: Positions, rest: Values, n: int, damping: float) -> Values:
    """Return the damped mean of each place, shape (n + 1,); the last is 0, read for place -1."""
    sums = np.bincount(places, rest, minlength=n)
    counts = np.bincount(places, minlength=n)
    return np.append(sums / (counts + damping), 0.0)

"""Values predicted from means: what any rating model has to beat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.evaluation.baselines.baseline import Places, places_of
from isthmus.evaluation.task import Task
from isthmus.schema import ITEM_ID, USER_ID, VALUE

Values = npt.NDArray[np.float64]


@dataclass
class RatingBaseline(ABC):
    """A method that predicts values, with its settings.

    Attributes
    ----------
    name : str
        What it is called in reports.
    """

    name: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Give the settings by name."""
        return asdict(self)

    @abstractmethod
    def rate(self, task: Task) -> Sequence[Values]:
        """Learn from the train table, and predict the value of each item of each user's truth."""


@dataclass
class GlobalMean(RatingBaseline):
    """The mean of all values."""

    name: ClassVar[str] = "mean"

    def rate(self, task: Task) -> Sequence[Values]:
        """Give everything the mean."""
        mean = pc.mean(task.train.column(VALUE)).as_py()
        return [np.full(len(user.truth), mean) for user in task.users]


@dataclass
class Offsets(RatingBaseline):
    """The mean, and how far the item and then the user lie from it.

    ``mu + b_i + b_u`` with ``b_i = sum(r - mu) / (items + n_i)`` and
    ``b_u = sum(r - mu - b_i) / (users + n_u)`` (Koren, ACM TKDD 2010, section 2.1), within the
    values that there are. Whoever is unknown lies at 0.

    Attributes
    ----------
    items, users : float
        What draws the offsets of those with few values towards 0.
    """

    name: ClassVar[str] = "offsets"
    items: float = 25.0
    users: float = 10.0

    def rate(self, task: Task) -> Sequence[Values]:
        """Give each item the sum of mean and offsets."""
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


def _offsets(places: Places, rest: Values, n: int, damping: float) -> Values:
    """Give the damped mean of each place, and 0 at the end: where -1 leads. Shape (n + 1,)."""
    sums = np.bincount(places, rest, minlength=n)
    counts = np.bincount(places, minlength=n)
    return np.append(sums / (counts + damping), 0.0)

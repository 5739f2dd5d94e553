"""The rating model as a system that evaluations ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.errors import InvalidInput
from isthmus.evaluation.task import Task
from isthmus.retrieval.ratings.components import Settings
from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.ratings import Codes, History
from isthmus.schema import ITEM_ID, USER_ID, VALUE, WEIGHT


class RatingSystem:
    """Learns a task's train table, and predicts the hidden values of its users.

    A user's history is what the train table has of them; the user ids themselves tell nothing.

    Parameters
    ----------
    item_ids : sequence of str
        Items with content, beside those of the task.
    vectors : numpy.ndarray, optional
        float32, shape (len(item_ids), dim): their content.
    settings : Settings, optional
        By default chosen by cross-validation within the train table.
    seed : int
        Of all that is left to chance.
    """

    def __init__(
        self,
        item_ids: Sequence[str] = (),
        vectors: Features | None = None,
        *,
        settings: Settings | None = None,
        seed: int = 0,
    ) -> None:
        if vectors is not None and len(vectors) != len(item_ids):
            raise InvalidInput(
                f"{len(vectors)} vectors for {len(item_ids)} items; give one an item"
            )
        self._item_ids = list(item_ids)
        self._vectors = np.zeros((len(item_ids), 0), np.float32) if vectors is None else vectors
        self._settings, self._seed = settings, seed
        self.model: RatingModel | None = None

    def rate(self, task: Task) -> list[Features]:
        """Learn, and predict the value of each item of each user's truth, in its order."""
        trained = pc.unique(task.train.column(ITEM_ID)).to_pylist()
        items = list(dict.fromkeys([*self._item_ids, *trained, *task.candidates]))
        places = {item: place for place, item in enumerate(items)}
        more = np.zeros((len(items) - len(self._item_ids), self._vectors.shape[1]), np.float32)
        matrix = _matrix(task.train, places)
        self.model = RatingModel.fit(
            matrix,
            np.concatenate([self._vectors, more]),
            _domain_codes(items, task.domains),
            settings=self._settings,
            seed=self._seed,
        )
        rows = matrix.rows_of([user.user_id for user in task.users])
        asked = [np.array([places[item] for item in user.truth], np.int64) for user in task.users]
        return self.model.predict([_history(matrix, row) for row in rows.tolist()], asked)


def _matrix(train: pa.Table, places: Mapping[str, int]) -> InteractionMatrix:
    table = train
    if WEIGHT not in table.column_names:
        table = table.append_column(WEIGHT, pa.repeat(1.0, len(table)))
    for name in (USER_ID, ITEM_ID):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table.column(name).cast(pa.string()))
    at = table.column_names.index(VALUE)
    table = table.set_column(at, VALUE, table.column(VALUE).cast(pa.float32()))
    return InteractionMatrix.of(
        table, lambda ids: np.array([places[item] for item in ids], np.int64), len(places)
    )


def _domain_codes(items: Sequence[str], domains: Mapping[str, str]) -> Codes:
    """Give codes by the sorted names of domains; items without one share a domain."""
    names = [domains.get(item, "") for item in items]
    return np.unique(np.array(names, np.str_), return_inverse=True)[1].astype(np.int64)


def _history(matrix: InteractionMatrix, row: int) -> History:
    if row < 0:
        return History((), ())
    own = slice(matrix.starts[row], matrix.starts[row + 1])
    return History(matrix.columns[own], matrix.strengths[own])

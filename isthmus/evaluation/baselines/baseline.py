"""What every baseline does: learn from one matrix of all domains, score, rank without bias."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.digests import digest, keys_of
from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import Lists
from isthmus.evaluation.task import Task, TestUser
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import ITEM_ID, USER_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_array

USERS_AT_ONCE = 256
Places = npt.NDArray[np.int64]


@dataclass
class Baseline(ABC):
    """A method with its settings; `fit` teaches it, `recommend` asks it.

    Items with equal scores are ordered by chance, the same chance for the same seed, and never by
    their place among the items.

    Attributes
    ----------
    name : str
        What it is called in reports.
    seed : int
        Of whatever is left to chance.
    """

    name: ClassVar[str]
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """Give the settings by name."""
        return asdict(self)

    def fit(
        self, train: pa.Table, item_ids: Sequence[str], vectors: FloatArray | None = None
    ) -> Self:
        """Learn from interactions of all domains.

        Parameters
        ----------
        train : pyarrow.Table
            user_id and item_id; a pair counts once, whatever its value.
        item_ids : sequence of str
            Every item there is; interactions with others are passed over.
        vectors : numpy.ndarray, optional
            float32, shape (n_items, dim): the content of the items, where the method looks at it.
        """
        self._item_ids = pa.array(item_ids, pa.string())
        users = pc.unique(train.column(USER_ID))
        self._user_ids = pa.array(users, pa.string())
        rows = places_of(train.column(USER_ID), self._user_ids)
        self._matrix = _binary(
            rows, places_of(train.column(ITEM_ID), self._item_ids), (len(users), len(item_ids))
        )
        self._learn(self._matrix, vectors)
        return self

    def recommend(
        self, users: Sequence[TestUser], candidates: Sequence[str], n: int
    ) -> list[npt.NDArray[np.object_]]:
        """Rank candidates for users by their histories; what is excluded is left out.

        Parameters
        ----------
        users : sequence of TestUser
            Whom to recommend to; of them only the id, the history and the exclusions are read.
        candidates : sequence of str
            What may be recommended, all of it among the items of `fit`.
        n : int
            Items a user.

        Returns
        -------
        list of numpy.ndarray
            Item ids for each user, best first; fewer than n only where there are not so many.

        Raises
        ------
        InvalidInput
            If n is no number of items, or a candidate was not among the items.
        """
        if n < 1:
            raise InvalidInput(f"n is {n}; ask for 1 item a user or more")
        columns = places_of(pa.array(candidates, pa.string()), self._item_ids)
        if (columns < 0).any():
            absent = candidates[int(np.argmin(columns))]
            raise InvalidInput(
                f"candidate {absent!r} was not among the items of fit; name it there"
            )
        columns = columns[self._shuffle(candidates)]
        ids = np.array(self._item_ids.take(pa.array(columns)).to_pylist(), object)
        out: list[npt.NDArray[np.object_]] = []
        for start in range(0, len(users), USERS_AT_ONCE):
            part = users[start : start + USERS_AT_ONCE]
            histories = self._rows([user.history for user in part])
            scores = self._score(histories, part, columns)
            scores[self._rows([u.exclude for u in part])[:, columns].nonzero()] = -np.inf
            out += [ids[best] for best in _best(scores, n)]
        return out

    @abstractmethod
    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        """Learn from a matrix of ones, float32, shape (n_users, n_items)."""

    @abstractmethod
    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        """Score the items at the columns for users, float32, shape (n_users, n_columns)."""

    def _rows(self, items: Sequence[Sequence[str]]) -> csr_array:
        """Give lists of items as a matrix of ones, shape (len(items), n_items)."""
        lengths = [len(own) for own in items]
        flat = pa.array([item for own in items for item in own], pa.string())
        rows = np.repeat(np.arange(len(items)), lengths)
        return _binary(rows, places_of(flat, self._item_ids), (len(items), len(self._item_ids)))

    def _shuffle(self, items: Sequence[str]) -> Places:
        """Give a random order of items that depends on their ids and the seed alone."""
        keys = keys_of(digest(f"{self.seed}:{item}") for item in items)
        return np.argsort(keys, kind="stable")


@dataclass
class BaselineSystem:
    """A baseline that can be evaluated: it learns a task's train table, and answers the task.

    Attributes
    ----------
    baseline : Baseline
        The method.
    item_ids : sequence of str
        Items beside those of the task.
    vectors : numpy.ndarray, optional
        float32, shape (n_item_ids, dim): their content.
    """

    baseline: Baseline
    item_ids: Sequence[str] = ()
    vectors: FloatArray | None = None

    def __post_init__(self) -> None:
        self._learned: pa.Table | None = None
        self._known: frozenset[str] = frozenset()

    def recommend(self, task: Task, n: int) -> Lists:
        """Fit, unless the last task had the same train table, and rank."""
        items = _items_of(task, self.item_ids)
        same = self._learned is not None and self._learned.equals(task.train)
        if not same or not self._known.issuperset(items):
            self.baseline.fit(task.train, items, self._vectors(len(items)))
            self._learned, self._known = task.train, frozenset(items)
        return Lists(self.baseline.recommend(task.users, task.candidates, n))

    def _vectors(self, items: int) -> FloatArray | None:
        if self.vectors is None:
            return None
        without = np.zeros((items - len(self.vectors), self.vectors.shape[1]), np.float32)
        return np.concatenate([self.vectors, without])


def _items_of(task: Task, first: Sequence[str]) -> list[str]:
    """Give the first items, then all others that a task names."""
    trained = pc.unique(task.train.column(ITEM_ID)).to_pylist()
    histories = (item for user in task.users for item in user.history)
    return list(dict.fromkeys([*first, *trained, *task.candidates, *histories]))


def places_of(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Places:
    """Give the place of each value, and -1 where it is absent."""
    found = pc.index_in(values.cast(pa.string()), value_set=among)
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)


def _binary(rows: Places, columns: Places, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    known = columns >= 0
    ones = np.ones(int(known.sum()), np.float32)
    matrix = csr_array((ones, (rows[known], columns[known])), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _best(scores: FloatArray, n: int) -> list[Places]:
    """Give the places of the n best of each row, of equals the first; -inf is left out.

    Examples
    --------
    >>> [own.tolist() for own in _best(np.array([[1, 2, 1, 1], [-np.inf, 3, 3, 5]]), 3)]
    [[1, 0, 2], [3, 1, 2]]
    """
    n = min(n, scores.shape[1])
    out = []
    for row in scores:
        last = np.partition(row, -n)[-n]
        above = np.flatnonzero(row > last)
        top = np.concatenate([above, np.flatnonzero(row == last)[: n - len(above)]])
        order = top[np.argsort(-row[top], kind="stable")]
        out.append(order[np.isfinite(row[order])])
    return out

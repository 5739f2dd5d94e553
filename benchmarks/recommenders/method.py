"""The contract of a method, the data that it learns from, and its tuning on validation users."""

from __future__ import annotations

import pickle
import resource
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from isthmus.evaluation.lists import clean_lists, hit_matrix
from isthmus.evaluation.task import Task, TestUser
from isthmus.numerics.metrics import ndcg

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Settings = dict[str, Any]
Score = Callable[[Sequence[TestUser]], Floats]  # scores of all candidates, (n_users, n_candidates)

NDCG_AT, LENGTH, USERS_AT_ONCE = 10, 200, 256


@dataclass(frozen=True, eq=False)
class Data:
    """What all methods learn from: the train table of a task as a matrix.

    Attributes
    ----------
    task : Task
        The task; methods look at its train table, domains, candidates, and visible histories.
    users : pyarrow.Array
        The users of the train table.
    items : list of str
        Every item that the task names.
    matrix : scipy.sparse.csr_matrix
        Ones, float32, shape (n_users, n_items).
    candidates : numpy.ndarray
        int64, shape (n_candidates,): columns of the candidates, in a random order, so that ties
        are not broken by the order of the items.
    """

    task: Task
    users: pa.Array
    items: list[str]
    matrix: csr_matrix
    candidates: Integers

    @classmethod
    def of(cls, task: Task, seed: int = 0) -> Data:
        """Return the data of a task."""
        histories = (item for user in task.users for item in user.history)
        trained = pc.unique(task.train.column("item_id")).to_pylist()
        items = sorted({*trained, *task.candidates, *histories})
        users = pa.array(pc.unique(task.train.column("user_id")).to_pylist(), pa.string())
        names = task.train.column("user_id"), task.train.column("item_id")
        places = [
            pc.index_in(column.cast(pa.string()), value_set=ids).to_numpy()
            for column, ids in zip(names, (users, pa.array(items)), strict=True)
        ]
        ones = np.ones(len(task.train), np.float32)
        matrix = csr_matrix((ones, tuple(places)), (len(users), len(items)))
        matrix.data[:] = 1  # a pair that is there twice counts once
        ranked = pc.index_in(pa.array(task.candidates), value_set=pa.array(items)).to_numpy()
        order = np.random.default_rng(seed).permutation(len(ranked))
        return cls(task, users, items, matrix, np.asarray(ranked, np.int64)[order])

    @cached_property
    def column_of(self) -> dict[str, int]:
        """The column of each item."""
        return {item: column for column, item in enumerate(self.items)}

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each user of the train table."""
        return {user: row for row, user in enumerate(self.users.to_pylist())}

    @cached_property
    def in_target(self) -> npt.NDArray[np.bool_]:
        """Which items are of the domain of the candidates, shape (n_items,)."""
        domains, target = self.task.domains, self.task.target_domain
        return np.array([domains.get(item, target) == target for item in self.items], bool)

    def histories(self, users: Sequence[TestUser]) -> csr_matrix:
        """Return the visible items of users as ones, shape (n_users, n_items)."""
        columns = [[self.column_of[i] for i in dict.fromkeys(u.history)] for u in users]
        starts = np.cumsum([0, *map(len, columns)])
        flat = np.array([c for one in columns for c in one], np.int64)
        ones = np.ones(len(flat), np.float32)
        return csr_matrix((ones, flat, starts), (len(users), len(self.items)))


@dataclass(frozen=True)
class Answer:
    """The lists of the users of a task, and processor seconds of learning and of ranking."""

    lists: list[list[str]]
    fit_s: float
    lists_s: float


class Method(ABC):
    """A recommender with hyperparameters.

    Attributes
    ----------
    packages : tuple of str
        The libraries that it is made with, for the report.
    needs : str
        ``"vectors"``: content vectors of the items; ``"space"``: a space; else empty.
    kinds : tuple of str
        The kinds of task that it can answer; empty for all.
    """

    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    needs: ClassVar[str] = ""
    kinds: ClassVar[tuple[str, ...]] = ()
    resources: Mapping[str, Any]  # what `needs` names, set before `fit`
    model: Any = None  # what `fit` learned and answers need, to be weighed

    def grid(self) -> list[Settings]:
        """Return the hyperparameters to try on validation; one where there is no choice."""
        return [{}]

    @abstractmethod
    def fit(self, data: Data, settings: Settings) -> Score:
        """Learn, and return what scores the candidates for users."""

    def answer(self, data: Data, task: Task, settings: Settings, n: int) -> Answer:
        """Learn, and return the lists of the users of a task."""
        start = processor_seconds()
        score = self.fit(data, settings)
        learned = processor_seconds()
        lists = rank(data, score, task.users, n)
        return Answer(lists, learned - start, processor_seconds() - learned)

    def bytes(self) -> int:
        """Return the size of what was learned, pickled."""
        counter = _Counter()
        pickle.Pickler(counter, protocol=5).dump(self.model)
        return counter.size


class _Counter:
    """A file that only counts what is written."""

    size = 0

    def write(self, part: Any) -> int:
        """Count."""
        n = memoryview(part).nbytes
        self.size += n
        return n


def combinations(**values: Sequence[Any]) -> list[Settings]:
    """Return every combination of hyperparameters.

    Examples
    --------
    >>> combinations(k=[1, 2], cosine=[True])
    [{'k': 1, 'cosine': True}, {'k': 2, 'cosine': True}]
    """
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def rank(data: Data, score: Score, users: Sequence[TestUser], n: int = LENGTH) -> list[list[str]]:
    """Return the best n items of each user, best first, excluded ones left out.

    Raises
    ------
    ValueError
        If a score is NaN.
    """
    names = np.array(data.items, object)[data.candidates]
    place_of = {column: place for place, column in enumerate(data.candidates.tolist())}
    out = []
    for batch, scores in _scored(score, users):
        if np.isnan(scores).any():
            raise ValueError("a score is NaN")
        for user, row in zip(batch, scores, strict=True):
            known = (place_of.get(data.column_of.get(item, -1), -1) for item in user.exclude)
            row[[place for place in known if place >= 0]] = -np.inf
            best = np.argpartition(-row, min(n, len(row) - 1))[:n]
            best = best[np.lexsort((best, -row[best]))]
            out.append(names[best[np.isfinite(row[best])]].tolist())
    return out


def tune(
    method: Method, data: Data, val: Task, max_settings: int | None = None
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the settings with the best NDCG@10 of the validation users, and every trial.

    Parameters
    ----------
    method : Method
        The method.
    data : Data
        Of the validation task.
    val : Task
        The validation task.
    max_settings : int, optional
        Try only so many, spread over the grid, for a quick look.
    """
    grid = method.grid()
    if max_settings is not None and len(grid) > max_settings:
        grid = [grid[i] for i in np.linspace(0, len(grid) - 1, max_settings).astype(int)]
    if len(grid) == 1:
        return grid[0], []
    trials = []
    for settings in grid:
        lists = rank(data, method.fit(data, settings), val.users, NDCG_AT)
        trials.append({"settings": settings, "ndcg": float(mean_ndcg(val, lists))})
    best = max(trials, key=lambda trial: trial["ndcg"])
    return best["settings"], trials


def mean_ndcg(task: Task, lists: Sequence[Sequence[str]]) -> float:
    """Return the mean NDCG@10 of lists."""
    truths = [user.truth for user in task.users]
    hits = hit_matrix(clean_lists(task, lists, NDCG_AT), truths, NDCG_AT)
    return float(ndcg(hits, np.array([len(t) for t in truths], np.int64), NDCG_AT).mean())


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _scored(score: Score, users: Sequence[TestUser]) -> Iterator[tuple[Sequence[TestUser], Floats]]:
    for start in range(0, len(users), USERS_AT_ONCE):
        batch = users[start : start + USERS_AT_ONCE]
        yield batch, np.array(score(batch), np.float32)

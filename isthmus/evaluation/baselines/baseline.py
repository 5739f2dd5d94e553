"""Candidate generators, and random lists, as baselines of an evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.matrix import InteractionMatrix
from isthmus.digests import digest, keys_of
from isthmus.errors import InvalidInput
from isthmus.evaluation.lists import Lists
from isthmus.evaluation.task import Task, TestUser
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.numerics.sparse import binarize
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.content import Content
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_features import InMemoryItemFeatures
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.candidates.user_knn import UserKNN
from isthmus.schema import ITEM_ID, USER_ID

if TYPE_CHECKING:
    from scipy.sparse import csr_array

USERS_AT_ONCE = 256
NO_DOMAIN = ""  # of items whose domain is unknown


class Baseline(ABC):
    """A recommender that is fitted to a train table and ranks candidates for users.

    Items with equal scores are in random order, the same order for the same seed, and never in
    the order of the items.

    Attributes
    ----------
    seed : int
        Of the order of ties, and of what else is random.
    """

    seed: int

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in reports."""

    @property
    def needs_vectors(self) -> bool:
        """Whether `fit` needs the content vectors of the items."""
        return False

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters by name."""

    def fit(
        self,
        train: pa.Table,
        item_ids: Sequence[str],
        vectors: FloatArray | None = None,
        domains: Mapping[str, str] | None = None,
    ) -> Self:
        """Fit to the interactions of all domains.

        Parameters
        ----------
        train : pyarrow.Table
            user_id and item_id; a pair counts once, whatever its value.
        item_ids : sequence of str
            All items; interactions with others are ignored.
        vectors : numpy.ndarray, optional
            float32, shape (n_items, dim): content vectors, for a method that needs them.
        domains : mapping of str to str, optional
            The domain of each item, for methods that carry users from one domain to another; items
            without one share a domain. By default all items do.
        """
        self._item_ids = pa.array(item_ids, pa.string())
        names = [(domains or {}).get(item, NO_DOMAIN) for item in item_ids]
        unique, codes = np.unique(np.array(names, np.str_), return_inverse=True)
        self._domain_names, self._domains = tuple(unique.tolist()), codes.astype(np.int64)
        self._user_ids = pa.array(pc.unique(train.column(USER_ID)), pa.string())
        rows = places_of(train.column(USER_ID), self._user_ids)
        shape = (len(self._user_ids), len(item_ids))
        matrix = _binary(rows, places_of(train.column(ITEM_ID), self._item_ids), shape)
        self._fit(matrix, vectors)
        return self

    def recommend(
        self, users: Sequence[TestUser], candidates: Sequence[str], n: int
    ) -> list[npt.NDArray[np.object_]]:
        """Rank candidates for users by their histories; excluded items are left out.

        Parameters
        ----------
        users : sequence of TestUser
            Only the id, the history and the exclusions are read.
        candidates : sequence of str
            Items that may be recommended, all of them among the items of `fit`.
        n : int
            Items a user.

        Returns
        -------
        list of numpy.ndarray
            Item ids for each user, best first; fewer than n only if there are no more.

        Raises
        ------
        InvalidInput
            If n is below 1, or a candidate was not among the items of `fit`.
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
            batch = users[start : start + USERS_AT_ONCE]
            scores = self._score(self._rows([user.history for user in batch]), batch, columns)
            excluded = self._rows([user.exclude for user in batch])[:, columns]
            scores[excluded.nonzero()] = -np.inf
            for row in scores:
                best = top_k(row, n)
                out.append(ids[best[np.isfinite(row[best])]])
        return out

    @abstractmethod
    def _fit(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        """Fit to a matrix of ones, float32, shape (n_users, n_items)."""

    @abstractmethod
    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Positions
    ) -> FloatArray:
        """Return the scores of the items at the columns, float32, shape (n_users, n_columns).

        `histories` are ones, shape (n_users, n_items).
        """

    def _rows(self, items: Sequence[Sequence[str]]) -> csr_array:
        """Return lists of items as a matrix of ones, shape (len(items), n_items)."""
        lengths = [len(ids) for ids in items]
        flat = pa.array([item for ids in items for item in ids], pa.string())
        rows = np.repeat(np.arange(len(items)), lengths)
        return _binary(rows, places_of(flat, self._item_ids), (len(items), len(self._item_ids)))

    def _shuffle(self, items: Sequence[str]) -> Positions:
        """Return a random order of items that depends only on their ids and the seed."""
        keys = keys_of(digest(f"{self.seed}:{item}") for item in items)
        return np.argsort(keys, kind="stable")


@dataclass
class GeneratorBaseline(Baseline):
    """A candidate generator as a baseline: it scores all candidates of every user.

    Attributes
    ----------
    generator : CandidateGenerator
        The method, with its hyperparameters.
    """

    generator: CandidateGenerator
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of the generator."""
        return self.generator.name

    @property
    def needs_vectors(self) -> bool:
        """Whether the generator scores by content."""
        return isinstance(self.generator, Content)

    def settings(self) -> dict[str, Any]:
        """Return the seed, and the hyperparameters of the generator."""
        settings = self.generator.settings()
        settings.pop("name", None)
        return {"seed": self.seed, **settings}

    def _fit(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        if self.needs_vectors and (vectors is None or len(vectors) != len(self._item_ids)):
            raise InvalidInput("the content baseline needs one vector an item; give vectors to fit")
        if vectors is None or not self.needs_vectors:
            vectors = np.empty((matrix.shape[1], 0), np.float32)
        items = self._item_ids.to_pylist()
        self._data = training_data(items, matrix, vectors, self._domains, self._domain_names)
        self.generator.fit(self._data)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Positions
    ) -> FloatArray:
        rows = UserHistories.from_matrix(histories)
        training_rows = places_of(pa.array([user.user_id for user in users]), self._user_ids)
        scores = np.zeros((len(rows), len(columns)), np.float32)
        for domain in np.unique(self._domains[columns]).tolist():
            places = np.flatnonzero(self._domains[columns] == domain)
            of_domain = self._of_domain(rows, training_rows, domain, columns[places])
            scores[:, places] = of_domain.reshape(len(rows), len(places))
        return scores

    def _of_domain(
        self, rows: UserHistories, training_rows: Positions, domain: int, columns: Positions
    ) -> FloatArray:
        """Return the scores of items of one domain, users first, shape (n_users * n_columns,)."""
        pairs = _all_pairs(len(rows), columns)
        if isinstance(self.generator, UserKNN):
            return self.generator.scorer(self._data, rows, domain, training_rows).score_pairs(
                *pairs
            )
        return self.generator.scorer(self._data, rows, domain).score_pairs(*pairs)


@dataclass
class Random(Baseline):
    """Random lists, other ones for each user, from the seed and the user's id."""

    NAME: ClassVar[str] = "random"
    seed: int = 0

    @property
    def name(self) -> str:
        """Return ``"random"``."""
        return self.NAME

    def settings(self) -> dict[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}

    def _fit(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del matrix, vectors

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Positions
    ) -> FloatArray:
        del histories
        seeds = keys_of(digest(f"{self.seed}:{user.user_id}") for user in users)
        rows = [np.random.default_rng(seed).random(len(columns), np.float32) for seed in seeds]
        return np.array(rows, np.float32).reshape(len(users), len(columns))


@dataclass
class BaselineSystem:
    """A baseline as a system of an evaluation: it is fitted to a task, and answers it.

    Attributes
    ----------
    baseline : Baseline
        The method.
    item_ids : sequence of str
        Items with vectors; those of the task are added.
    vectors : numpy.ndarray, optional
        float32, shape (n_item_ids, dim): their content.
    """

    baseline: Baseline
    item_ids: Sequence[str] = ()
    vectors: FloatArray | None = None

    def __post_init__(self) -> None:
        self._train: pa.Table | None = None
        self._fitted_items: dict[str, str | None] = {}

    def recommend(self, task: Task, n: int) -> Lists:
        """Fit, unless the last task had the same train table, and rank."""
        items = {item: task.domains.get(item) for item in _items_of(task, self.item_ids)}
        same = self._train is not None and self._train.equals(task.train)
        if not same or not items.items() <= self._fitted_items.items():
            names = list(items)
            self.baseline.fit(task.train, names, self._vectors(len(names)), task.domains)
            self._train, self._fitted_items = task.train, items
        return Lists(self.baseline.recommend(task.users, task.candidates, n))

    def _vectors(self, n_items: int) -> FloatArray | None:
        if self.vectors is None:
            return None
        missing = np.zeros((n_items - len(self.vectors), self.vectors.shape[1]), np.float32)
        return np.concatenate([self.vectors, missing])


def training_data(
    item_ids: Sequence[str],
    matrix: csr_array,
    vectors: FloatArray,
    domains: Positions | None = None,
    domain_names: Sequence[str] = (NO_DOMAIN,),
) -> TrainingData:
    """Return the training data of an evaluation: every entry liked.

    Parameters
    ----------
    item_ids : sequence of str
        The columns of the matrix.
    matrix : scipy.sparse.csr_array
        Ones, float32, shape (n_users, n_items), columns ascending.
    vectors : numpy.ndarray
        float32, shape (n_items, dim): content, of any length.
    domains : numpy.ndarray, optional
        int64, shape (n_items,): the code of the domain of each item; by default all are in one.
    domain_names : sequence of str
        The domains, by code.

    Raises
    ------
    InvalidInput
        If a vector is not finite.
    """
    if not np.isfinite(vectors).all():
        raise InvalidInput("a vector is not finite; give zeros to an item without content")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    n_users, n_items = matrix.shape
    return TrainingData(
        item_ids=np.array(item_ids, object),
        domain_names=tuple(domain_names),
        domains=np.zeros(n_items, np.int64) if domains is None else domains,
        features=InMemoryItemFeatures(np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)),
        interactions=InteractionMatrix(
            users=np.arange(n_users).astype(object),
            items=n_items,
            starts=matrix.indptr.astype(np.int64),
            columns=matrix.indices.astype(np.int64),
            strengths=np.ones(matrix.nnz, np.float32),
            moments=np.full(matrix.nnz, np.nan),
            likes=np.ones(matrix.nnz, bool),
        ),
    )


def places_of(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Positions:
    """Return the place of each value, shape (n_values,), and -1 where it is absent."""
    found = pc.index_in(values.cast(pa.string()), value_set=among)
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)


def _all_pairs(n_users: int, columns: Positions) -> tuple[Positions, Positions]:
    """Return every pair of a user and a column, users ascending."""
    return np.repeat(np.arange(n_users), len(columns)), np.tile(columns, n_users)


def _items_of(task: Task, first: Sequence[str]) -> list[str]:
    """Return the first items, then all others that a task names."""
    trained = pc.unique(task.train.column(ITEM_ID)).to_pylist()
    histories = (item for user in task.users for item in user.history)
    return list(dict.fromkeys([*first, *trained, *task.candidates, *histories]))


def _binary(rows: Positions, columns: Positions, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    known = columns >= 0
    ones = np.ones(int(known.sum()), np.float32)
    matrix = csr_array((ones, (rows[known], columns[known])), shape=shape)
    matrix.sum_duplicates()
    return binarize(matrix)

"""The contract of a source of candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.sparse import narrow
from isthmus.retrieval.candidates.scorer import Scorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

State = dict[str, npt.NDArray[Any]]


@dataclass
class CandidateGenerator(ABC):
    """Something that proposes items to users by what it learned, and says how good they are.

    A source is a dataclass of settings. It learns with `fit` from a corpus, and keeps what it
    learned in arrays, so that every source is saved and loaded alike. Users are their histories
    and nothing else: one that was never learned from is like any other, and what happened a
    moment ago counts.

    Attributes
    ----------
    name : str
        What it is called in reports and explanations.
    """

    name: ClassVar[str]

    @abstractmethod
    def fit(self, corpus: TrainingData) -> Self:
        """Learn from a corpus."""

    @abstractmethod
    def opinion(self, corpus: TrainingData, histories: UserHistories, target: int) -> Scorer:
        """Say what is thought of a domain's items for users.

        Parameters
        ----------
        corpus : Corpus
            The items. The first of them are those that the source learned from, in their order;
            new ones may follow.
        histories : Histories
            The users.
        target : int
            Code of the domain.
        """

    @abstractmethod
    def state(self) -> State:
        """Give what was learned as arrays."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` gave."""

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters by name: the fields that the constructor takes."""
        return {own.name: getattr(self, own.name) for own in fields(self) if own.init}


def part_of(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> State:
    """Give the arrays whose names begin so, by the rest of their names."""
    return {key[len(prefix) :]: own for key, own in state.items() if key.startswith(prefix)}


def sparse_state(prefix: str, matrix: Any) -> State:
    """Give a sparse matrix as arrays."""
    return {
        f"{prefix}.data": matrix.data,
        f"{prefix}.indices": matrix.indices.astype(np.int32),
        f"{prefix}.indptr": matrix.indptr.astype(np.int64),
        f"{prefix}.shape": np.array(matrix.shape, np.int64),
    }


def sparse_of(prefix: str, state: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Make a sparse matrix of the arrays of `sparse_state`."""
    from scipy.sparse import csr_array

    data, columns, starts = (state[f"{prefix}.{name}"] for name in ("data", "indices", "indptr"))
    shape = tuple(state[f"{prefix}.shape"].tolist())
    return csr_array(narrow(data, columns, starts), shape=shape)


def lengthened(vectors: npt.NDArray[np.float32], items: int) -> npt.NDArray[np.float32]:
    """Give item vectors rows of zeros for the items that are new."""
    if len(vectors) == items:
        return vectors
    out = np.zeros((items, *vectors.shape[1:]), np.float32)
    out[: len(vectors)] = vectors
    return out


class ByDomain:
    """The columns of a matrix that belong to each domain, cut out when first asked for.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        float32, shape (n_rows, n_learned): the columns are the first items of a corpus.
    """

    def __init__(self, matrix: csr_array) -> None:
        self.whole = matrix
        self._known: dict[int, csr_array] = {}

    def of(self, corpus: TrainingData, target: int) -> csr_array:
        """Give the matrix with the columns of a domain alone, the others empty."""
        from scipy.sparse import csr_array

        if target not in self._known:
            matrix = self.whole
            kept = corpus.in_domain(target)[matrix.indices]
            starts = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
            entries = narrow(matrix.data[kept], matrix.indices[kept], starts)
            self._known[target] = csr_array(entries, shape=matrix.shape)
        return self._known[target]


def known_only(histories: UserHistories, items: int) -> UserHistories:
    """Drop the items of histories that are newer than what was learned."""
    if not len(histories.columns) or int(histories.columns.max()) < items:
        return histories
    return histories.keeping(histories.columns < items)

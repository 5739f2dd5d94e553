"""The contract of a candidate generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.sparse import with_int32_indices
from isthmus.retrieval.candidates.scorer import Scorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class CandidateGenerator(ABC):
    """A first-stage model: it retrieves candidate items for users and scores them.

    A generator is a dataclass of hyperparameters. `fit` learns from training data and keeps what
    it learned in arrays, so that all generators are saved and loaded alike. A user is represented
    by a history only. Users that were not in the training data are treated like any other, and an
    interaction counts as soon as it is in the history.

    Attributes
    ----------
    name : str
        The name in reports and explanations, and the key of the stored state.
    needs_users : bool
        Whether it learns from rows of users, so that a private training leaves it out. Others
        learn from items, or from sums over users (see `TrainingData.private`).
    """

    name: ClassVar[str]
    needs_users: ClassVar[bool] = True

    @abstractmethod
    def fit(self, data: TrainingData) -> Self:
        """Fit the model to training data."""

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield fitted configurations to choose hyperparameters from, the present one first.

        They share what they can, such as a factorization. By default there is only one.
        """
        yield self.fit(data)

    @abstractmethod
    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> Scorer:
        """Return the scores of a domain's items for users.

        Parameters
        ----------
        data : TrainingData
            The items. The first of them are those of `fit`, in their order; new items may follow.
        users : UserHistories
            The histories of the users.
        target : int
            Code of the domain.
        """

    def missing(self, target: int) -> str | None:
        """Return why a fitted generator scores nothing of a domain by its design, if it does."""
        del target
        return None

    @abstractmethod
    def state(self) -> ArrayState:
        """Return what was learned, as arrays by name, which `restore` takes."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters by name: the fields that the constructor takes."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}


class ColumnsByDomain:
    """A matrix restricted to the columns of one domain; the restrictions are cached.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        float32, shape (n_rows, n_fitted): its columns are the first items of the training data.
    """

    def __init__(self, matrix: csr_array) -> None:
        self.matrix = matrix
        self._by_domain: dict[int, csr_array] = {}

    def of(self, data: TrainingData, target: int) -> csr_array:
        """Return the matrix with the columns of all other domains empty."""
        from scipy.sparse import csr_array

        if target not in self._by_domain:
            matrix = self.matrix
            kept = data.in_domain(target)[matrix.indices]
            starts = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
            entries = with_int32_indices(matrix.data[kept], matrix.indices[kept], starts)
            self._by_domain[target] = csr_array(entries, shape=matrix.shape)
        return self._by_domain[target]

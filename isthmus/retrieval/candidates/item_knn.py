"""Item-based nearest neighbours: items liked by the same users (Sarwar et al., WWW 2001).

The neighbours are found in the joint matrix of all domains, so a history in one domain scores
items of another domain that the same users liked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.co_occurrence import CountSimilarity, nearest_columns, top_k_per_group
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays, to_csr
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.privacy.denoising import denoised_gram
from isthmus.privacy.statistics import Statistics
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_USER_ITEMS = 1_000
# The less beta, the higher popular items are scored.
GRID = (
    {"alpha": 0.5, "beta": 0.5, "shrink": 10.0},
    {"alpha": 0.5, "beta": 0.1, "shrink": 5.0},
    {"alpha": 1.0, "beta": 0.0, "shrink": 100.0},
    {"alpha": 0.75, "beta": 0.25, "shrink": 50.0},
)


@dataclass
class ItemKNN(CandidateGenerator):
    """Score items by their summed similarity to the items of the history.

    Attributes
    ----------
    name : str
        The name of this configuration; several run side by side.
    alpha, beta : float
        Exponents of the number of users of the history's item and of the scored item, see
        `CountSimilarity`. The smaller `beta`, the higher popular items are scored.
    shrink : float
        Added to the denominator, so that pairs with few users in common count less.
    k : int or None
        Neighbours kept of each item in each domain; None keeps all.
    in_domain : bool
        Whether only the history in the target domain is used.
    jaccard : bool
        Whether the similarity is Jaccard's; the exponents are then not used.
    max_user_items : int or None
        Items of a user that are counted, a random sample of longer histories: the time grows with
        the square of the length, and what long histories share says little. None counts all.
    """

    needs_users: ClassVar[bool] = False
    name: str = "item-KNN"  # type: ignore[misc]
    alpha: float = 0.5
    beta: float = 0.5
    shrink: float = 10.0
    k: int | None = 200
    in_domain: bool = False
    jaccard: bool = False
    max_user_items: int | None = MAX_USER_ITEMS
    _similar: ColumnsByDomain = field(init=False, repr=False, compare=False)

    def fit(self, data: TrainingData) -> Self:
        """Find the neighbours of every item, or in a private training of every modelled item."""
        if data.private is not None:
            return self._fit_private(data, data.private)
        return self._fit(data, self._counted(data))

    def _counted(self, data: TrainingData) -> csr_array:
        """Return the likes whose co-occurrences are counted, shape (n_users, n_items)."""
        if self.max_user_items is None:
            return data.liked
        return _sampled_rows(data.liked, self.max_user_items)

    def _fit(self, data: TrainingData, liked: csr_array) -> Self:
        similarity = CountSimilarity(self.alpha, self.beta, self.shrink, self.jaccard)
        similar = nearest_columns(liked, similarity, self.k, data.domains)
        self._similar = ColumnsByDomain(similar)
        return self

    def _fit_private(self, data: TrainingData, sums: Statistics) -> Self:
        """Find neighbours by the Gram matrix without what may be noise."""
        from scipy.sparse import csr_array

        shared = np.maximum(denoised_gram(sums), 0)
        shared[np.diag_indices_from(shared)] += sums.gram_noise
        shared /= np.outer(sums.scales, sums.scales)
        totals = np.diag(shared).copy()
        shared[np.diag_indices_from(shared)] = 0
        similarity = CountSimilarity(self.alpha, self.beta, self.shrink)
        rows, columns = np.nonzero(shared)
        values = similarity(
            shared[rows, columns],
            similarity.row_terms(totals)[rows],
            similarity.column_terms(totals)[columns],
        )
        places = (sums.items[rows], sums.items[columns])
        matrix = csr_array((values, places), shape=(len(data), len(data)))
        self._similar = ColumnsByDomain(to_csr(top_k_per_group(matrix, self.k, data.domains)))
        return self

    def fit_grid(self, data: TrainingData) -> Iterator[Self]:
        """Yield the neighbours by other similarities."""
        present = {name: getattr(self, name) for name in GRID[0]}
        liked = self._counted(data)
        for settings in (present, *(other for other in GRID if other != present)):
            other = replace(self, **settings)
            yield other._fit(data, liked)

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> SparseScorer:
        """Return the summed similarity to the items of the history, each weighted."""
        if self.in_domain:
            users = users.filter(data.domains[users.columns] == target)
        rows = users.first_items(self._similar.matrix.shape[0]).rows
        return SparseScorer(self.scores(data, rows, target), len(data))

    def scores(self, data: TrainingData, rows: SparseRows, target: int) -> SparseRows:
        """Return the scores of a domain's items for rows of weighted items."""
        return rows.dot(self._similar.of(data, target))

    def state(self) -> ArrayState:
        """Return the similarities."""
        return sparse_to_arrays("similar", self._similar.matrix)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self._similar = ColumnsByDomain(sparse_from_arrays("similar", state))
        return self


def _sampled_rows(matrix: csr_array, n: int) -> csr_array:
    """Return a matrix with a random sample of n entries of each row that has more."""
    from scipy.sparse import csr_array

    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= n:
        return matrix
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(0).random(len(rows)), rows))
    kept = np.sort(order[np.arange(len(rows)) - matrix.indptr[rows] < n])
    places = (rows[kept], matrix.indices[kept])
    return csr_array((matrix.data[kept], places), shape=matrix.shape)

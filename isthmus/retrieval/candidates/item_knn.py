"""Items that the same users liked, within a domain and across domains.

Item-based nearest neighbours (Sarwar et al., WWW 2001) over the joint matrix of all domains: what
a user did in one domain speaks for items of another that the same people liked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.numerics.sparse import scale, sparse_from_arrays, sparse_to_arrays, to_csr
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ITEMS_AT_ONCE = 2_048
MOST_ITEMS_OF_A_USER = 1_000


@dataclass
class ItemKNN(CandidateGenerator):
    """Items that users of the history's items liked too.

    Two items that c users liked, of n and m users, are ``c / (n^own m^other + shrink)`` alike.

    Attributes
    ----------
    name : str
        What this one is called: there are several, with other exponents.
    own : float
        Exponent of the number of users of the history's item.
    other : float
        Exponent of the number of users of the proposed item; the smaller, the nearer popular
        items are to everything.
    shrink : float
        Added below the line: pairs that few users share count less.
    k : int
        Neighbours kept of each item in each domain.
    within : bool
        Whether only the history in the domain asked for speaks.
    """

    name: str = "item-KNN"  # type: ignore[misc]
    own: float = 0.5
    other: float = 0.5
    shrink: float = 10.0
    k: int = 200
    within: bool = False
    _alike: Any = field(default=None, init=False, repr=False)

    def fit(self, corpus: TrainingData) -> Self:
        """Find the neighbours of every item."""
        liked = _not_too_many(corpus.liked)
        users = np.asarray(liked.sum(axis=0)).ravel()
        own, other = np.maximum(users, 1) ** self.own, np.maximum(users, 1) ** self.other

        def alike(shared: csr_array, first: int) -> csr_array:
            rows = first + np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
            shared.data /= own[rows] * other[shared.indices] + self.shrink
            return shared

        self._alike = ColumnsByDomain(nearest_items(liked, corpus.domains, self.k, alike))
        return self

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> SparseScorer:
        """Add up how alike items are to those of the history."""
        if self.within:
            histories = histories.filter(corpus.domains[histories.columns] == target)
        known = histories.first_items(self._alike.matrix.shape[0]).rows
        return SparseScorer(self.scores(corpus, known, target), len(corpus))

    def scores(self, corpus: TrainingData, known: SparseRows, target: int) -> SparseRows:
        """Give the summed likeness of a domain's items to what is known of users."""
        return known.dot(self._alike.of(corpus, target))

    def state(self) -> ArrayState:
        """Give the neighbours."""
        return sparse_to_arrays("alike", self._alike.matrix)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the neighbours."""
        self._alike = ColumnsByDomain(sparse_from_arrays("alike", state))
        return self


def nearest_items(liked: csr_array, domains: Columns, k: int, alike: Any) -> csr_array:
    """Find for each item its k nearest others in each domain, from what users share.

    Parameters
    ----------
    liked : scipy.sparse.csr_array
        Shape (n_users, n_items).
    domains : numpy.ndarray
        int64, shape (n_items,).
    k : int
        How many.
    alike : callable
        Turns the shared users of some items with all, and the first of these, into likeness.

    Returns
    -------
    scipy.sparse.csr_array
        float32, shape (n_items, n_items).
    """
    from scipy.sparse import vstack

    parts = [
        _largest_in_domains(alike(shared, first), first, domains, k)
        for first, shared in _shared(liked)
    ]
    return to_csr(vstack(parts, format="csr").astype(np.float32))


def _shared(liked: csr_array) -> Iterator[tuple[int, csr_array]]:
    """Count the users that items share, some items at a time."""
    by_item = liked.T.tocsr()
    for first in range(0, by_item.shape[0], ITEMS_AT_ONCE):
        yield first, (by_item[first : first + ITEMS_AT_ONCE] @ liked).tocsr()


def _largest_in_domains(alike: csr_array, first: int, domains: Columns, k: int) -> csr_array:
    """Keep the k largest of each row in each domain, without the item itself."""
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(alike.shape[0]), np.diff(alike.indptr))
    others = alike.indices != rows + first
    rows, columns, data = rows[others], alike.indices[others], alike.data[others]
    groups = rows * (int(domains.max(initial=0)) + 1) + domains[columns]
    full = np.bincount(groups, minlength=1)[groups] > k
    crowded = np.flatnonzero(full)
    order = crowded[np.lexsort((columns[crowded], -data[crowded], groups[crowded]))]
    starts = np.searchsorted(groups[order], groups[order])
    kept = ~full
    kept[order[np.arange(len(order)) - starts < k]] = True
    out = csr_array((data[kept], (rows[kept], columns[kept])), shape=alike.shape)
    out.sort_indices()
    return out


def _not_too_many(liked: csr_array) -> csr_array:
    """Keep a thousand items of each user, by chance: the rest costs much and says little."""
    from scipy.sparse import csr_array

    lengths = np.diff(liked.indptr)
    if lengths.max(initial=0) <= MOST_ITEMS_OF_A_USER:
        return liked
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(0).random(len(rows)), rows))
    kept = np.sort(order[np.arange(len(rows)) - liked.indptr[rows] < MOST_ITEMS_OF_A_USER])
    places = (rows[kept], liked.indices[kept])
    return csr_array((liked.data[kept], places), shape=liked.shape)


def unit_rows(matrix: csr_array) -> csr_array:
    """Divide each row by its length."""
    norms: FloatArray = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return scale(matrix, 1 / np.maximum(norms, 1e-12))

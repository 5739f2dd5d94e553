"""What users with similar histories liked (Herlocker et al., SIGIR 1999)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.retrieval.candidates.corpus import Corpus, scaled, widened
from isthmus.retrieval.candidates.histories import Histories
from isthmus.retrieval.candidates.item_neighbours import unit_rows
from isthmus.retrieval.candidates.opinion import SparseOpinion, largest
from isthmus.retrieval.candidates.source import (
    CandidateSource,
    State,
    known_only,
    sparse_of,
    sparse_state,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class UserNeighbours(CandidateSource):
    """Items liked by the users whose histories, in all domains, are nearest by cosine.

    Rare items count more: an item liked by n of N users weighs ``log(1 + N / n)``.

    Attributes
    ----------
    k : int
        Neighbours of a user.
    """

    name: ClassVar[str] = "user neighbours"
    k: int = 300

    def fit(self, corpus: Corpus) -> Self:
        """Keep what every user liked."""
        return self._keep(corpus.liked)

    def opinion(self, corpus: Corpus, histories: Histories, target: int) -> SparseOpinion:
        """Add up the likeness of the neighbours that liked an item."""
        del target
        items = self._liked.shape[1]
        known = known_only(histories, items).matrix(items)
        alike = (unit_rows(scaled(known, None, self._rarity)) @ self._by_item).tocsr()
        return SparseOpinion(widened((_nearest(alike, self.k) @ self._liked).tocsr(), len(corpus)))

    def state(self) -> State:
        """Give what every user liked."""
        return sparse_state("liked", self._liked)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take what every user liked."""
        return self._keep(sparse_of("liked", state))

    def _keep(self, liked: csr_array) -> Self:
        self._liked = liked
        users = np.asarray(liked.sum(axis=0)).ravel()
        self._rarity = np.log1p(liked.shape[0] / np.maximum(users, 1)).astype(np.float32)
        self._by_item = unit_rows(scaled(liked, None, self._rarity)).T.tocsr()
        return self


def _nearest(alike: csr_array, k: int) -> csr_array:
    """Keep the k largest entries of each row."""
    from scipy.sparse import csr_array

    rows, places = [], []
    for row in range(alike.shape[0]):
        start, end = alike.indptr[row], alike.indptr[row + 1]
        top = start + largest(alike.data[start:end], k)
        places.append(top)
        rows.append(np.full(len(top), row))
    kept = np.concatenate([np.empty(0, np.int64), *places])
    at = (np.concatenate([np.empty(0, np.int64), *rows]), alike.indices[kept])
    return csr_array((alike.data[kept], at), shape=alike.shape)

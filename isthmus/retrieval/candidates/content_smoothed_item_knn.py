"""Neighbours through content: what is said of an item holds for items like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.sparse import to_csr
from isthmus.numerics.sparse_rows import SparseRows
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.scorer import SparseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LENDERS = 1_000  # items whose scores are passed on to those like them


@dataclass
class ContentSmoothedItemKNN(CandidateGenerator):
    """Item neighbours, carried to items without users by the items nearest in content.

    A history's item lends part of its weight to those like it, and a proposed item has the mean
    score of those like it. So items that nobody used yet, in the history or in the list, are
    bridged to items that somebody did.

    Attributes
    ----------
    lent : float
        Weight that a history's item lends; one that the neighbours do not know lends all.
    own, other, shrink : float
        As for `ItemKNN`.
    """

    name: ClassVar[str] = "content-smoothed item-KNN"
    lent: float = 0.3
    own: float = 0.5
    other: float = 0.1
    shrink: float = 5.0
    _turned: tuple[csr_array, ColumnsByDomain] | None = field(default=None, init=False, repr=False)

    def fit(self, corpus: TrainingData) -> Self:
        """Find neighbours by users; those by content are the corpus's own."""
        self._neighbours = ItemKNN(own=self.own, other=self.other, shrink=self.shrink)
        self._neighbours.fit(corpus)
        self._used, self._turned = corpus.popularity > 0, None
        return self

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> SparseScorer:
        """Score items of the domain by those like them."""
        graph = corpus.content_graph
        scores = self._neighbours.scores(corpus, self._lend(corpus, histories, graph), target)
        passed_on = scores.top_k(LENDERS).dot(self._lending_to(corpus, graph, target))
        return SparseScorer(passed_on, len(corpus))

    def state(self) -> ArrayState:
        """Give the neighbours by users."""
        return {**self._neighbours.state(), "used": self._used}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the neighbours by users."""
        self._neighbours = ItemKNN().restore(state)
        self._used = state["used"]
        return self

    def _lending_to(self, corpus: TrainingData, graph: csr_array, target: int) -> csr_array:
        """Give the graph the other way round, to the items of a domain."""
        if self._turned is None or self._turned[0] is not graph:
            self._turned = graph, ColumnsByDomain(to_csr(graph.T))
        return self._turned[1].of(corpus, target)

    def _lend(self, corpus: TrainingData, histories: UserHistories, graph: csr_array) -> SparseRows:
        """Spread histories over the items like theirs that have users."""
        used = np.zeros(len(corpus), bool)
        used[: len(self._used)] = self._used
        own = histories.rows
        lent = np.where(used[own.columns], np.float32(self.lent), np.float32(1))
        spread = own.concatenate_rows(own._replace(values=own.values * lent).dot(graph))
        return spread.filter(used[spread.columns])

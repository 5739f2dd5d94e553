"""Item-KNN smoothed over the content graph, so that it reaches items without interactions."""

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

PROPAGATED = 300  # the best items of a user, whose scores are propagated


@dataclass
class ContentSmoothedItemKNN(CandidateGenerator):
    """Score items by item-KNN, propagated along the content graph on both sides.

    With A the content graph (see `TrainingData.content_graph`), S the item-KNN similarities and x
    a history, the scores are ``A S' (x + smoothing A' x)``: items of the history pass a part of
    their weight to items with similar content, and a candidate has the weighted mean score of the
    items with similar content. Both sides so reach cold-start items.

    Attributes
    ----------
    smoothing : float
        The weight that an item of the history passes on; an item without interactions passes all.
    alpha, beta, shrink : float
        As for `ItemKNN`.
    """

    name: ClassVar[str] = "content-smoothed item-KNN"
    needs_users: ClassVar[bool] = False
    smoothing: float = 0.3
    alpha: float = 0.5
    beta: float = 0.1
    shrink: float = 5.0
    _to_items: tuple[csr_array, ColumnsByDomain] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def fit(self, data: TrainingData) -> Self:
        """Fit the item-KNN; the content graph is that of the data."""
        self._item_knn = self._unfitted().fit(data)
        self._has_users, self._to_items = data.popularity > 0, None
        return self

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> SparseScorer:
        """Return the smoothed scores."""
        graph = data.content_graph
        scores = self._item_knn.scores(data, self._smoothed(data, users, graph), target)
        propagated = scores.top_k(PROPAGATED).dot(self._graph_to(data, graph, target))
        return SparseScorer(propagated, len(data))

    def state(self) -> ArrayState:
        """Return the item-KNN similarities, and which items have interactions."""
        return {**self._item_knn.state(), "has_users": self._has_users}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self._item_knn = self._unfitted().restore(state)
        self._has_users = state["has_users"]
        return self

    def _unfitted(self) -> ItemKNN:
        return ItemKNN(alpha=self.alpha, beta=self.beta, shrink=self.shrink)

    def _graph_to(self, data: TrainingData, graph: csr_array, target: int) -> csr_array:
        """Return the transposed graph with the items of a domain as columns."""
        if self._to_items is None or self._to_items[0] is not graph:
            self._to_items = graph, ColumnsByDomain(to_csr(graph.T))
        return self._to_items[1].of(data, target)

    def _smoothed(self, data: TrainingData, users: UserHistories, graph: csr_array) -> SparseRows:
        """Return histories spread over items with similar content, of items with interactions."""
        has_users, newer = self._has_users, len(data) - len(self._has_users)
        if newer:
            has_users = np.pad(has_users, (0, newer))
        rows = users.rows
        passed_on = np.where(has_users[rows.columns], np.float32(self.smoothing), np.float32(1))
        neighbours = rows._replace(values=rows.values * passed_on).dot(graph)
        spread = rows.concatenate_rows(neighbours)
        return spread.filter(has_users[spread.columns])

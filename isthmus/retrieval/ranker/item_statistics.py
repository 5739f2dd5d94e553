"""Statistics of items that do not depend on the user: popularity, freshness, contents."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.retrieval.candidates.feature_projection import FeatureProjection
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.numeric_features import NumericAttributes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PROJECTION_PREFIX = "projection."
NUMERIC_PREFIX = "numeric."
STATISTICS = (
    "popularity",
    "discounted popularity rank",
    "popularity of similar items",
    "unused",
    "freshness",
)


class ItemStatistics:
    """Statistics of items, learned from training data.

    Popularity is the logarithm of the number of users over that of the most popular item of the
    domain. The mean popularity of the items nearest in content stands beside it; new items have
    one too. Freshness falls with the time since the item was first used.

    Attributes
    ----------
    projection : FeatureProjection
        Of the contents.
    """

    projection: FeatureProjection
    _similar_popularity: tuple[csr_array, FloatArray] | None

    def fit(self, data: TrainingData) -> Self:
        """Learn the statistics."""
        self._similar_popularity = None
        self.projection = data.projected.projection
        self._popularity = _popularity(data)
        self._discounted_rank = _discounted_popularity_ranks(data)
        self._freshness = _freshness(data)
        self.numeric = NumericAttributes().fit(data)
        self.interactions_by_domain = np.bincount(
            data.domains, data.popularity, len(data.domain_names)
        ).astype(np.float32)
        return self

    def of(self, data: TrainingData, items: Columns) -> FloatArray:
        """Return the statistics of items, float32, shape (len(items), len(STATISTICS)).

        An item that is newer than the statistics has those of an older item without interactions.
        """
        known = items < len(self._popularity)
        at = np.where(known, items, 0)
        columns = [
            np.where(known, self._popularity[at], 0),
            np.where(known, self._discounted_rank[at], 0),
            self._popularity_of_similar(data)[items],
            ~known | (self._popularity[at] == 0),
            np.where(known, self._freshness[at], 0),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def popularity(self, items: Columns) -> FloatArray:
        """Return the popularity of items, from 0 to 1, shape (len(items),)."""
        known = items < len(self._popularity)
        popularity = np.where(known, self._popularity[np.where(known, items, 0)], 0)
        return np.asarray(popularity, np.float32)

    def contents(self, data: TrainingData, items: Columns) -> FloatArray:
        """Return the projected contents of items, float32, shape (len(items), dim)."""
        projected = data.projected_by(self.projection)
        if projected is not None:
            return projected.take(items)
        distinct, at = np.unique(items, return_inverse=True)
        return self.projection.transform(data.features, data.domains, distinct)[at]

    def without_components(self, part: slice) -> ItemStatistics:
        """Return a copy that ignores some components of the content vectors."""
        blind = copy(self)
        blind.projection = self.projection.without_components(part)
        return blind

    def state(self) -> ArrayState:
        """Return the statistics as arrays."""
        content = self.projection.state()
        state = {PROJECTION_PREFIX + key: value for key, value in content.items()}
        if self.numeric.informative:
            state |= {NUMERIC_PREFIX + key: value for key, value in self.numeric.state().items()}
        return state | {
            "popularity": self._popularity,
            "discounted_popularity_rank": self._discounted_rank,
            "freshness": self._freshness,
            "interactions_by_domain": self.interactions_by_domain,
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        content = with_prefix(state, PROJECTION_PREFIX)
        self.projection = FeatureProjection().restore(content)
        self._similar_popularity = None
        self._popularity = state["popularity"]
        self._discounted_rank = state["discounted_popularity_rank"]
        self._freshness = state["freshness"]
        self.interactions_by_domain = state["interactions_by_domain"]
        numeric = with_prefix(state, NUMERIC_PREFIX)
        self.numeric = NumericAttributes().restore(numeric) if numeric else NumericAttributes()
        return self

    def _popularity_of_similar(self, data: TrainingData) -> FloatArray:
        """Return the mean popularity of the neighbours in content of every item, cached."""
        graph, cached = data.content_graph, self._similar_popularity
        if cached is None or cached[0] is not graph:
            popularity = self.popularity(np.arange(len(data)))
            cached = self._similar_popularity = graph, np.asarray(graph @ popularity, np.float32)
        return cached[1]


def _popularity(data: TrainingData) -> FloatArray:
    logs = np.log1p(data.popularity)
    largest = np.array(
        [logs[data.in_domain(code)].max(initial=0) for code in range(len(data.domain_names))]
    )
    return np.asarray(logs / np.maximum(largest, 1e-9)[data.domains], np.float32)


def _discounted_popularity_ranks(data: TrainingData) -> FloatArray:
    """Return ``1 / log2(1 + rank)`` of used items by popularity in their domain, 0 for others."""
    out = np.zeros(len(data), np.float32)
    for code in range(len(data.domain_names)):
        used = np.flatnonzero(data.in_domain(code) & (data.popularity > 0))
        order = used[np.argsort(-data.popularity[used], kind="stable")]
        out[order] = 1 / np.log2(np.arange(2, len(order) + 2))
    return out


def _freshness(data: TrainingData) -> FloatArray:
    """Return 1 for an item first used just now, falling to 0 for the oldest; 0 without times."""
    moments, columns = data.interactions.moments, data.interactions.columns
    timed = ~np.isnan(moments)
    if not timed.any():
        return np.zeros(len(data), np.float32)
    first = np.full(len(data), np.inf)
    np.minimum.at(first, columns[timed], moments[timed])
    start, end = moments[timed].min(), moments[timed].max()
    fresh = (first - start) / max(end - start, 1e-9)
    return np.where(np.isfinite(first), fresh, 0).astype(np.float32)

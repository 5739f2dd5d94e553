"""What is known of items beside what the sources say: popularity, freshness, contents."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, with_prefix
from isthmus.retrieval.candidates.feature_projection import FeatureProjection, Normalisation
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.ranker.numeric_features import ItemNumbers

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SPACE = "space."
NUMBERS = "numbers."
COARSE = 64


@dataclass
class ItemFacts:
    """Facts of items that do not depend on the user, learned from a corpus.

    Popularity is the logarithm of the number of users over that of the domain's most popular
    item, and beside it the mean of that of the items nearest in content, which new items have
    too. Freshness falls with the time since the item was first used.

    Attributes
    ----------
    normalisation : str
        Of contents, see `FeatureProjection`.
    seed : int
        Of the sample from which contents are mapped.
    dim : int
        Length of mapped contents, at most. New items are told apart by contents alone, and what
        separates them lies in the smaller components too, see `coarse` for the others.
    """

    normalisation: Normalisation = "whiten"
    seed: int = 0
    dim: int = 256
    _of_graph: tuple[csr_array, FloatArray] | None = field(default=None, init=False, repr=False)

    def fit(self, corpus: TrainingData) -> Self:
        """Learn the facts."""
        self._of_graph = None
        self.space = FeatureProjection(self.dim, self.normalisation, self.seed)
        self.space.fit(corpus.features, corpus.domains, len(corpus.domain_names))
        self._popularity = _popularity(corpus)
        self._place = _places(corpus)
        self._freshness = _freshness(corpus)
        self.numbers = ItemNumbers().fit(corpus)
        self.uses = np.bincount(corpus.domains, corpus.popularity, len(corpus.domain_names)).astype(
            np.float32
        )
        return self

    def of(self, corpus: TrainingData, items: Columns) -> FloatArray:
        """Give the facts of items, float32, shape (len(items), n_facts).

        Items that are newer than the facts are like old ones that nobody used.
        """
        learned = len(self._popularity)
        known = items < learned
        at = np.where(known, items, 0)
        alike = self._alike(corpus)
        facts = [
            np.where(known, self._popularity[at], 0),
            np.where(known, self._place[at], 0),
            alike[items],
            ~known | (self._popularity[at] == 0),
            np.where(known, self._freshness[at], 0),
        ]
        return np.stack(facts, axis=1).astype(np.float32)

    def popularity(self, items: Columns) -> FloatArray:
        """Give the popularity of items, 0 to 1, shape (len(items),)."""
        known = items < len(self._popularity)
        found = np.where(known, self._popularity[np.where(known, items, 0)], 0)
        return np.asarray(found, np.float32)

    @property
    def width(self) -> int:
        """Length of coarse contents, which attention looks at."""
        return min(COARSE, self.space.width)

    def contents(self, corpus: TrainingData, items: Columns) -> FloatArray:
        """Give the mapped contents of items, float32, shape (len(items), dim)."""
        if corpus.projected_features is not None:
            return corpus.projected_features[items]
        distinct, at = np.unique(items, return_inverse=True)
        return self.space.transform(corpus.features, corpus.domains, distinct)[at]

    def coarse(self, corpus: TrainingData, items: Columns) -> FloatArray:
        """Give the coarse contents of items, see `coarse`, shape (len(items), width)."""
        if corpus.coarse_features is not None:
            return corpus.coarse_features[items]
        return coarse(self.contents(corpus, items))

    def without(self, part: slice) -> ItemFacts:
        """Give the facts to somebody who does not see some components of content vectors."""
        blind = copy(self)
        blind.space = self.space.without_components(part)
        return blind

    def state(self) -> ArrayState:
        """Give the facts as arrays."""
        own = {SPACE + key: value for key, value in self.space.state().items()}
        if self.numbers.tell:
            own |= {NUMBERS + key: value for key, value in self.numbers.state().items()}
        return own | {
            "popularity": self._popularity,
            "place": self._place,
            "freshness": self._freshness,
            "uses": self.uses,
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` gave."""
        own = with_prefix(state, SPACE)
        self.space = FeatureProjection(self.dim, self.normalisation).restore(own)
        self._of_graph = None
        self._popularity, self._place = state["popularity"], state["place"]
        self._freshness, self.uses = state["freshness"], state["uses"]
        counted = with_prefix(state, NUMBERS)
        self.numbers = ItemNumbers().restore(counted) if counted else ItemNumbers()
        return self

    def _alike(self, corpus: TrainingData) -> FloatArray:
        """Give the mean popularity of the items nearest in content, for every item."""
        graph, known = corpus.content_graph, self._of_graph
        if known is None or known[0] is not graph:
            popularity = self.popularity(np.arange(len(corpus)))
            known = self._of_graph = graph, np.asarray(graph @ popularity, np.float32)
        return known[1]


FACTS = ("popularity", "popularity place", "popularity of alike", "unused", "freshness")


def coarse(contents: FloatArray) -> FloatArray:
    """Give the 64 largest components of mapped contents, unit length or zero."""
    kept = contents[:, :COARSE]
    norms = np.linalg.norm(kept, axis=1, keepdims=True)
    return np.asarray(kept / np.maximum(norms, 1e-6), np.float32)


def _popularity(corpus: TrainingData) -> FloatArray:
    logs = np.log1p(corpus.popularity)
    most = np.array(
        [logs[corpus.in_domain(code)].max(initial=0) for code in range(len(corpus.domain_names))]
    )
    return np.asarray(logs / np.maximum(most, 1e-9)[corpus.domains], np.float32)


def _places(corpus: TrainingData) -> FloatArray:
    """Give 1 / log2(1 + place) of each used item among its domain's by popularity, else 0."""
    out = np.zeros(len(corpus), np.float32)
    for code in range(len(corpus.domain_names)):
        own = np.flatnonzero(corpus.in_domain(code) & (corpus.popularity > 0))
        order = own[np.argsort(-corpus.popularity[own], kind="stable")]
        out[order] = 1 / np.log2(np.arange(2, len(order) + 2))
    return out


def _freshness(corpus: TrainingData) -> FloatArray:
    """Give 1 for an item first used just now, falling to 0 for the oldest; 0 without times."""
    moments, columns = corpus.interactions.moments, corpus.interactions.columns
    told = ~np.isnan(moments)
    if not told.any():
        return np.zeros(len(corpus), np.float32)
    first = np.full(len(corpus), np.inf)
    np.minimum.at(first, columns[told], moments[told])
    start, end = moments[told].min(), moments[told].max()
    fresh = (first - start) / max(end - start, 1e-9)
    return np.where(np.isfinite(first), fresh, 0).astype(np.float32)

"""Popularity within segments of users: naive Bayes over the attributes of a user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays, to_csr
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import DenseScorer
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories


@dataclass
class SegmentPopularity(CandidateGenerator):
    """Score items by how popular they are among users with the same attributes.

    With n users of an item in all, of N, a segment of a key f has n_f of them. Its users like the
    item ``1 + n_f / (shrink * n / N)`` times as much as others, where `shrink` users stand for what
    the segment would be without evidence. The logarithms of the keys of a user are summed, and
    divided by the square root of their number, since attributes are correlated. The score is
    the popularity times the exponential of that. Users without attributes have no scores.

    Attributes
    ----------
    shrink : float
        Users that a segment needs to count half.
    min_users : int
        Users of a key, at least.
    max_keys : int
        Keys, at most.
    """

    name: ClassVar[str] = "popularity by segment"
    shrink: float = 20.0
    min_users: int = 5
    max_keys: int = 2_000

    def fit(self, data: TrainingData) -> Self:
        """Count the users of each item in each segment."""
        attributes, popularity = data.interactions.attributes, data.popularity
        if attributes is None:
            return self._set(np.zeros(0, np.int64), data.liked[:0], popularity.astype(np.float32))
        keys = attributes.frequent(self.min_users, self.max_keys)
        ratios = to_csr(attributes.matrix(keys).T @ data.liked)  # users of an item with a key
        expected = self.shrink * popularity[ratios.indices] / max(1, len(attributes))
        ratios.data = np.log1p(ratios.data / expected).astype(np.float32)
        return self._set(keys, ratios, popularity.astype(np.float32))

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> DenseScorer:
        """Return the popularity of items in the segments of each user."""
        scores = np.zeros((len(users), len(data)), np.float32)
        if users.attributes is None or not len(self._keys):
            return DenseScorer(scores)
        matrix = users.attributes.matrix(self._keys)
        n_keys = np.diff(matrix.indptr)
        known = np.flatnonzero(n_keys)
        lifts = (matrix[known] @ self._ratios).toarray() / np.sqrt(n_keys[known, None])
        inside = data.in_domain(target)[: len(self._popularity)]
        scores[known, : len(self._popularity)] = np.exp(lifts) * self._popularity * inside
        return DenseScorer(scores)

    def state(self) -> ArrayState:
        """Return the keys, the logarithms of the ratios, and the popularity."""
        return {
            "keys": self._keys,
            "popularity": self._popularity,
            **sparse_to_arrays("ratios", self._ratios),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        return self._set(state["keys"], sparse_from_arrays("ratios", state), state["popularity"])

    def _set(self, keys: Any, ratios: Any, popularity: Any) -> Self:
        self._keys, self._ratios, self._popularity = keys, ratios, popularity
        return self

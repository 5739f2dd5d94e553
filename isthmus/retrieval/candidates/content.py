"""Content-based candidates: items near those of the history, by their vectors alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.numerics.sparse import isin_sorted, lengths_of, unique_sorted
from isthmus.numerics.sparse_rows import sparse_rows
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.scorer import Scorer, TopK, pairs_by_user, seen_by
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.search.examples import choose_interests

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_LENGTH = 16  # list lengths are rounded up to powers of two from here on
SEARCH_SCALE = 0.2  # of a full search: an interest may miss one neighbour in seven
Pooling = Literal["interests", "max", "mean"]


@dataclass
class Content(CandidateGenerator):
    """Score items by their cosine with the history. Nothing is learned from interactions.

    Attributes
    ----------
    pooling : str
        ``"interests"``: the cosine with the nearest of a few items that represent the clusters of
        the history, see `isthmus.retrieval.search.examples`. ``"max"``: with the nearest item of
        the history. ``"mean"``: the dot product with the weighted mean of the history's vectors.
    """

    name: ClassVar[str] = "content"
    needs_users: ClassVar[bool] = False
    pooling: Pooling = "interests"

    def fit(self, data: TrainingData) -> Self:
        """Do nothing."""
        del data
        return self

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> Scorer:
        """Return the cosines with the history."""
        del target
        if self.pooling == "mean":
            return MeanScorer(data.features, _mean_vectors(data.features, users))
        if self.pooling == "max":
            liked = users.liked
            items = [liked.columns[start:end] for start, end in pairwise(liked.starts.tolist())]
            return InterestScorer(data.features, items, -np.inf)
        return InterestScorer(data.features, _interests(data.features, users))

    def state(self) -> ArrayState:
        """Return nothing."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        del state
        return self


@dataclass(frozen=True, eq=False)
class InterestScorer:
    """The cosine with the nearest of a user's interests.

    Attributes
    ----------
    features : ItemFeatures
        Of all items.
    interests : list of numpy.ndarray
        int64, shape (n_interests,), for each user: the items that represent them.
    floor : float
        The least score of a pair.
    """

    features: ItemFeatures
    interests: list[Columns]
    floor: float = 0.0

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`.

        Each interest is searched for a whole list, and as many more as the user has seen.
        """
        counts = np.array([len(items) for items in self.interests], np.int64)
        reach = (n + _rounded_up(lengths_of(seen.indptr).astype(np.int64))).repeat(counts)
        queries = np.concatenate([np.empty(0, np.int64), *self.interests])
        neighbours = np.full((len(queries), int(reach.max(initial=0))), -1, np.int64)
        cosines = np.full(neighbours.shape, -1, np.float32)
        for length in unique_sorted(reach).tolist():
            some = reach == length
            found = self.features.nearest_to_items(queries[some], length, allowed, SEARCH_SCALE)
            neighbours[some, :length], cosines[some, :length] = found
        ends = np.cumsum([0, *counts]).tolist()
        rows = []
        for user, (start, end) in enumerate(pairwise(ends)):
            columns, scores = _merged(neighbours[start:end].ravel(), cosines[start:end].ravel())
            unseen = ~isin_sorted(columns, seen_by(seen, user))
            top = top_k(scores[unseen], n)
            rows.append((columns[unseen][top], scores[unseen][top]))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        out = np.zeros(len(users), np.float32)
        for user, pairs in pairs_by_user(users, len(self.interests)):
            interests = self.interests[user]
            if len(interests):
                products = self.features.take(interests) @ self.features.take(items[pairs]).T
                out[pairs] = products.max(axis=0)  # (n_interests, n_pairs) -> (n_pairs,)
        return np.maximum(out, np.float32(self.floor))


@dataclass(frozen=True, eq=False)
class MeanScorer:
    """The dot product with a user vector in the space of item vectors.

    Attributes
    ----------
    features : ItemFeatures
        Of all items.
    vectors : numpy.ndarray
        float32, shape (n_users, dim).
    """

    features: ItemFeatures
    vectors: FloatArray

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`."""
        rows = []
        norms = np.linalg.norm(self.vectors, axis=1)
        for user, vector in enumerate(self.vectors):
            columns, scores = np.empty(0, np.int64), np.empty(0, np.float32)
            if norms[user] > 0:
                seen_items = seen_by(seen, user)
                query = (vector / norms[user])[None]
                items, cosines = self.features.nearest(query, n + len(seen_items), allowed)
                fits = (items[0] >= 0) & (cosines[0] > 0) & ~isin_sorted(items[0], seen_items)
                columns, scores = items[0][fits][:n], cosines[0][fits][:n] * norms[user]
            rows.append((columns, scores))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        out = np.zeros(len(users), np.float32)
        for user, pairs in pairs_by_user(users, len(self.vectors)):
            out[pairs] = self.features.take(items[pairs]) @ self.vectors[user]
        return out


def _interests(features: ItemFeatures, users: UserHistories) -> list[Columns]:
    """Return the items that represent the interests of each user."""
    interests = []
    for start, end in pairwise(users.starts.tolist()):
        columns, weights = users.columns[start:end], users.weights[start:end]
        vectors = features.take(columns)
        usable = np.flatnonzero(vectors.any(axis=1) & (weights > 0))
        usable = usable[np.argsort(weights[usable], kind="stable")]  # the last ones are used
        chosen, _ = choose_interests(vectors[usable], weights[usable].astype(np.float64))
        interests.append(columns[usable[chosen]])
    return interests


def _mean_vectors(features: ItemFeatures, users: UserHistories) -> FloatArray:
    """Return the weighted mean vector of each user's history, shape (n_users, dim)."""
    out = np.zeros((len(users), features.dim), np.float32)
    liked = users.liked
    for user, (start, end) in enumerate(pairwise(liked.starts.tolist())):
        if end > start:
            weights = liked.weights[start:end]
            out[user] = weights @ features.take(liked.columns[start:end]) / weights.sum()
    return out


def _merged(columns: Columns, cosines: FloatArray) -> tuple[Columns, FloatArray]:
    """Return each item once, with its largest cosine; cosines of 0 and less are dropped."""
    valid = (columns >= 0) & (cosines > 0)
    columns, cosines = columns[valid], cosines[valid]
    order = np.lexsort((-cosines, columns))
    columns, cosines = columns[order], cosines[order]
    first = np.ones(len(columns), bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    return columns[first], cosines[first]


def _rounded_up(counts: Columns) -> Columns:
    """Return powers of two no less than the counts: few different lengths, few searches."""
    return 1 << np.ceil(np.log2(np.maximum(counts, MIN_LENGTH))).astype(np.int64)

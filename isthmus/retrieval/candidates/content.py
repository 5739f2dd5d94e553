"""Items like those of the history, by content alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.numerics.sparse import isin_sorted, unique_sorted
from isthmus.numerics.sparse_rows import sparse_rows
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generator import CandidateGenerator
from isthmus.retrieval.candidates.scorer import TopK, runs, seen_by
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.search.examples import choose_interests

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEWEST_SEEN = 16
EFFORT = 0.2  # of what the index takes to find nearly all: an interest may miss one in seven


@dataclass
class Content(CandidateGenerator):
    """Items near an interest of the user; the score is the cosine with the nearest interest.

    Interests stay apart: each is stood for by one item of the history, see
    `isthmus.retrieval.search.examples`. It learns nothing from interactions.
    """

    name: ClassVar[str] = "content"

    def fit(self, corpus: TrainingData) -> Self:
        """Learn nothing."""
        del corpus
        return self

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> InterestScorer:
        """Score items by the nearest interest."""
        del target
        interests = []
        for user in range(len(histories)):
            start, end = histories.starts[user], histories.starts[user + 1]
            columns, weights = histories.columns[start:end], histories.weights[start:end]
            vectors = corpus.features.take(columns)
            told = np.flatnonzero(vectors.any(axis=1) & (weights > 0))
            told = told[np.argsort(weights[told], kind="stable")]  # the last are looked at
            chosen, _ = choose_interests(vectors[told], weights[told].astype(np.float64))
            interests.append(columns[told[chosen]])
        return InterestScorer(corpus, interests)

    def state(self) -> ArrayState:
        """Give nothing."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take nothing."""
        del state
        return self


@dataclass(frozen=True, eq=False)
class InterestScorer:
    """The cosine with the nearest of a user's interests.

    Attributes
    ----------
    corpus : Corpus
        The items.
    interests : list of numpy.ndarray
        int64, shape (n_interests,), of each user: the items that stand for them.
    """

    corpus: TrainingData
    interests: list[Columns]

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give the best items, see `Scorer.best`.

        Each interest is asked for a whole list, and for so many more as the user has seen.
        """
        counts = np.array([len(own) for own in self.interests], np.int64)
        reach = (n + _stepped(np.diff(seen.indptr).astype(np.int64))).repeat(counts)
        asked = np.concatenate([np.empty(0, np.int64), *self.interests])
        found = np.full((len(asked), int(reach.max(initial=0))), -1, np.int64)
        cosines = np.full(found.shape, -1, np.float32)
        for length in unique_sorted(reach).tolist():
            some = reach == length
            near = self.corpus.features.nearest_to_items(asked[some], length, allowed, EFFORT)
            found[some, :length], cosines[some, :length] = near
        ends = np.cumsum([0, *counts]).tolist()
        lists = []
        for user, (start, end) in enumerate(pairwise(ends)):
            columns, scores = _best_of(found[start:end].ravel(), cosines[start:end].ravel())
            kept = ~isin_sorted(columns, seen_by(seen, user))
            top = top_k(scores[kept], n)
            lists.append((columns[kept][top], scores[kept][top]))
        return TopK(*sparse_rows(lists))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        out, contents = np.zeros(len(users), np.float32), self.corpus.features
        for user, asked in runs(users, len(self.interests)):
            interests = self.interests[user]
            if len(interests):
                products = contents.take(interests) @ contents.take(items[asked]).T
                out[asked] = products.max(axis=0)
        return np.maximum(out, 0)


def _best_of(columns: Columns, cosines: FloatArray) -> tuple[Columns, FloatArray]:
    """Give each item once, with its largest cosine; what is not alike at all is left out."""
    good = (columns >= 0) & (cosines > 0)
    columns, cosines = columns[good], cosines[good]
    order = np.lexsort((-cosines, columns))
    columns, cosines = columns[order], cosines[order]
    first = np.ones(len(columns), bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    return columns[first], cosines[first]


def _stepped(counts: Columns) -> Columns:
    """Give numbers no less than these, few different ones: powers of two from sixteen on."""
    return 1 << np.ceil(np.log2(np.maximum(counts, FEWEST_SEEN))).astype(np.int64)

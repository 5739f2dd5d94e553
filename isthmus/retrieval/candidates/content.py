"""Items like those of the history, by content alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import FloatArray
from isthmus.retrieval.candidates.corpus import Columns, Corpus, Mask, among, largest
from isthmus.retrieval.candidates.histories import Histories
from isthmus.retrieval.candidates.opinion import Best, runs, seen_by
from isthmus.retrieval.candidates.source import CandidateSource, State
from isthmus.retrieval.candidates.sparse_rows import sparse_rows
from isthmus.retrieval.interests import choose_interests

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SHARES = 2  # what an interest is asked for, over an equal share of the list
EFFORT = 0.2  # of what the index takes to find nearly all: an interest may miss one in seven


@dataclass
class Content(CandidateSource):
    """Items near an interest of the user; the score is the cosine with the nearest interest.

    Interests stay apart: each is stood for by one item of the history, see
    `isthmus.retrieval.interests`. It learns nothing from interactions.
    """

    name: ClassVar[str] = "content"

    def fit(self, corpus: Corpus) -> Self:
        """Learn nothing."""
        del corpus
        return self

    def opinion(self, corpus: Corpus, histories: Histories, target: int) -> InterestOpinion:
        """Score items by the nearest interest."""
        del target
        interests = []
        for user in range(len(histories)):
            start, end = histories.starts[user], histories.starts[user + 1]
            columns, weights = histories.columns[start:end], histories.weights[start:end]
            vectors = corpus.contents.at(columns)
            told = np.flatnonzero(vectors.any(axis=1) & (weights > 0))
            told = told[np.argsort(weights[told], kind="stable")]  # the last are looked at
            chosen, _ = choose_interests(vectors[told], weights[told].astype(np.float64))
            interests.append(vectors[told][chosen])
        return InterestOpinion(corpus, interests)

    def state(self) -> State:
        """Give nothing."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take nothing."""
        del state
        return self


@dataclass(frozen=True, eq=False)
class InterestOpinion:
    """The cosine with the nearest of a user's interests.

    Attributes
    ----------
    corpus : Corpus
        The items.
    interests : list of numpy.ndarray
        float32, shape (n_interests, dim), of each user.
    """

    corpus: Corpus
    interests: list[FloatArray]

    def best(self, n: int, allowed: Mask, seen: csr_array) -> Best:
        """Give the best items, see `Opinion.best`.

        Each interest is asked for its share of the list, twice over, and those that may hold more
        of the best are asked again for a whole one (Fagin et al., PODS 2001).
        """
        counts = np.array([len(own) for own in self.interests], np.int64)
        dim = self.corpus.contents.dim
        asked = np.concatenate([np.empty((0, dim), np.float32), *self.interests])
        passed = int(np.diff(seen.indptr).max(initial=0))
        share = min(-(-SHARES * n // max(1, int(counts.max(initial=0)))), n) + passed
        near = self.corpus.contents.nearest(asked, share, allowed, EFFORT)
        lists = self._lists(n, seen, *near)
        worst = np.array([own[1][-1] if len(own[1]) >= n > 0 else 0 for own in lists], np.float32)
        more = np.zeros(len(asked), bool)
        if 0 < share < n + passed:
            more = (near[0][:, -1] >= 0) & (near[1][:, -1] > worst.repeat(counts))
        if more.any():
            whole = self.corpus.contents.nearest(asked[more], n + passed, allowed, EFFORT)
            near = _replaced(near, more, whole)
            lists = self._lists(n, seen, *near)
        return Best(*sparse_rows(lists))

    def _lists(
        self, n: int, seen: csr_array, found: Columns, cosines: FloatArray
    ) -> list[tuple[Columns, FloatArray]]:
        """Merge what is near the interests of each user into the n best that are unseen."""
        ends = np.cumsum([0, *(len(own) for own in self.interests)]).tolist()
        lists = []
        for user, (start, end) in enumerate(pairwise(ends)):
            columns, scores = _best_of(found[start:end].ravel(), cosines[start:end].ravel())
            kept = ~among(columns, seen_by(seen, user))
            top = largest(scores[kept], n)
            lists.append((columns[kept][top], scores[kept][top]))
        return lists

    def at(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        out = np.zeros(len(users), np.float32)
        for user, asked in runs(users, len(self.interests)):
            interests = self.interests[user]
            if len(interests):
                vectors = self.corpus.contents.at(items[asked])
                out[asked] = (vectors @ interests.T).max(axis=1)
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


def _replaced(
    near: tuple[Columns, FloatArray], rows: Mask, longer: tuple[Columns, FloatArray]
) -> tuple[Columns, FloatArray]:
    """Put longer lists in the place of some."""
    found = np.full((len(rows), longer[0].shape[1]), -1, np.int64)
    cosines = np.full(found.shape, -1, np.float32)
    width = near[0].shape[1]
    found[:, :width], cosines[:, :width] = near
    found[rows], cosines[rows] = longer
    return found, cosines

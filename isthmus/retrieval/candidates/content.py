"""Items like those of the history, by content alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.encoders.encoder import FloatArray
from isthmus.retrieval.candidates.corpus import Columns, Corpus, ragged
from isthmus.retrieval.candidates.histories import Histories
from isthmus.retrieval.candidates.opinion import Best, largest, runs
from isthmus.retrieval.candidates.source import CandidateSource, State
from isthmus.retrieval.interests import choose_interests


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

    def best(self, n: int, allowed: npt.NDArray[np.bool_], seen: Any) -> Best:
        """Give the best items, see `Opinion.best`."""
        lengths = [len(own) for own in self.interests]
        most = n + int(np.diff(seen.indptr).max(initial=0))
        asked = np.concatenate([np.empty((0, self.corpus.contents.dim)), *self.interests])
        found, cosines = self.corpus.contents.nearest(asked.astype(np.float32), most, allowed)
        ends = np.cumsum([0, *lengths])
        items, values = [], []
        for user in range(len(self.interests)):
            own = slice(ends[user], ends[user + 1])
            columns, scores = _best_of(found[own].ravel(), cosines[own].ravel())
            known = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
            kept = ~np.isin(columns, known)
            top = largest(scores[kept], n)
            items.append(columns[kept][top])
            values.append(scores[kept][top])
        starts, flat = ragged(items)
        return Best(starts, flat, np.concatenate([[], *values]).astype(np.float32))

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
    order = np.lexsort((-cosines, columns))
    order = order[(columns[order] >= 0) & (cosines[order] > 0)]
    distinct, first = np.unique(columns[order], return_index=True)
    return distinct, cosines[order][first]

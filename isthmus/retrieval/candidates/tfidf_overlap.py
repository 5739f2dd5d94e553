"""Items that share words with those of the history: of their texts and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.numerics.sparse import sparse_from_arrays, sparse_to_arrays, to_csr
from isthmus.numerics.sparse_rows import sparse_rows
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.scorer import TopK, runs, seen_by
from isthmus.retrieval.candidates.tfidf import TfidfVocabulary
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SHARPNESS = 5.0
LONGEST = 50
POSTINGS = 60_000  # pairs of a history's word and an item that has it, looked at for a user
SPARE = 4  # items found by the rarest words, over the length of a list
WORDS = "items"


@dataclass
class TfidfOverlap(CandidateGenerator):
    """Items whose texts and attributes share rare words with those of the history.

    A score is ``log(mean(exp(5 cosine))) / 5`` over the liked items, weighted as in the history;
    the cosines are of TF-IDF vectors (see `TfidfVocabulary`). Names, brands and categories, which
    embeddings blur, connect items here, new items included. Nothing is learned from interactions.
    """

    name: ClassVar[str] = "TF-IDF overlap"
    _joined: tuple[ItemFeatures, csr_array, ColumnsByDomain] | None = field(
        default=None, init=False, repr=False
    )

    def fit(self, corpus: TrainingData) -> Self:
        """Learn the words of all items."""
        self._vocabulary, self._items = corpus.tfidf
        self._joined = None
        return self

    def scorer(self, corpus: TrainingData, histories: UserHistories, target: int) -> TfidfScorer:
        """Score items of the domain by the words that they share."""
        items, columns_by_domain = self._joined_with(corpus)
        liked = histories.liked.top_weighted(LONGEST)
        return TfidfScorer(
            items, columns_by_domain.of(corpus, target), liked, corpus.in_domain(target)
        )

    def state(self) -> ArrayState:
        """Give the words of items."""
        return {**self._vocabulary.state(), **sparse_to_arrays(WORDS, self._items)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take the words of items."""
        self._vocabulary = TfidfVocabulary.from_state(state)
        self._items, self._joined = sparse_from_arrays(WORDS, state), None
        return self

    def _joined_with(self, corpus: TrainingData) -> tuple[csr_array, ColumnsByDomain]:
        """Give the words of all items, new ones too, and the items of each word."""
        from scipy.sparse import vstack

        joined = self._joined
        if joined is None or joined[0] is not corpus.features:
            items = self._items
            if len(corpus) > items.shape[0]:
                new = corpus.features.texts(np.arange(items.shape[0], len(corpus)))
                items = to_csr(vstack([items, self._vocabulary.transform(new)], format="csr"))
            joined = self._joined = corpus.features, items, ColumnsByDomain(to_csr(items.T))
        return joined[1], joined[2]


@dataclass(frozen=True, eq=False)
class TfidfScorer:
    """How alike in words items are to what users liked.

    Attributes
    ----------
    items : scipy.sparse.csr_array
        float32, shape (n_items, n_words), unit rows.
    turned : scipy.sparse.csr_array
        The items of the domain by words, float32, shape (n_words, n_items).
    liked : Histories
        The users.
    inside : numpy.ndarray
        bool, shape (n_items,): the items of the domain.
    """

    items: csr_array
    turned: csr_array
    liked: UserHistories
    inside: Mask

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Give the best items, see `Scorer.best`.

        Where the words of a history are in very many items, what shares the rarest of them is
        found first, and scored by all of them.
        """
        counts = np.diff(self.turned.indptr)
        found = []
        for user in range(len(self.liked)):
            own, weights = self._history(user)
            rare = _rarest(own, counts)
            sums = _sharpened(rare @ self.turned, weights)
            columns = np.flatnonzero((sums > 0) & allowed)
            columns = columns[~np.isin(columns, seen_by(seen, user))]
            if rare is not own:
                columns = columns[np.sort(top_k(sums[columns], SPARE * n))]
                sums[columns] = _sharpened(own @ self.items[columns].T, weights)
            top = columns[top_k(sums[columns], n)]
            found.append((top, _softened(sums[top])))
        return TopK(*sparse_rows(found))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Give the scores of pairs."""
        out = np.zeros(len(users), np.float32)
        for user, pairs in runs(users, len(self.liked)):
            asked = items[pairs]
            own, weights = self._history(user)
            sums = _sharpened(own @ self.items[asked].T, weights)
            out[pairs] = np.where(self.inside[asked], _softened(sums), 0)
        return out

    def _history(self, user: int) -> tuple[csr_array, FloatArray]:
        """Give the words of what a user liked, and how much each of that weighs."""
        columns, weights = self.liked.rows.row(user)
        return self.items[columns], weights / max(float(weights.sum()), 1e-9)


def _rarest(own: csr_array, counts: Columns) -> csr_array:
    """Keep the rarest words of a history, as many as there are postings to look at."""
    from scipy.sparse import csr_array

    lengths = counts[own.indices]
    if lengths.sum() <= POSTINGS:
        return own
    order = np.argsort(lengths, kind="stable")
    kept = np.zeros(len(order), bool)
    kept[order[np.cumsum(lengths[order]) <= POSTINGS]] = True
    starts = np.concatenate([[0], np.cumsum(kept)])[own.indptr]
    return csr_array((own.data[kept], own.indices[kept], starts), shape=own.shape)


def _sharpened(cosines: csr_array, weights: FloatArray) -> FloatArray:
    """Add up ``exp(5 cosine) - 1`` over a history, float32, shape (n_items,)."""
    rows = np.repeat(weights, np.diff(cosines.indptr))
    sharp = np.expm1(SHARPNESS * cosines.data) * rows
    return np.bincount(cosines.indices, sharp, cosines.shape[1]).astype(np.float32)


def _softened(sums: FloatArray) -> FloatArray:
    return np.asarray(np.log1p(sums) / SHARPNESS, np.float32)

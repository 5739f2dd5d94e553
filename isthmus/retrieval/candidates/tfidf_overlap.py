"""Candidates that share rare words with the history, in texts and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask
from isthmus.numerics.sparse import (
    isin_sorted,
    lengths_of,
    sparse_from_arrays,
    sparse_to_arrays,
    to_csr,
)
from isthmus.numerics.sparse_rows import (
    SparseRows,
    row_products,
    sparse_rows,
    sum_by_column,
    take_rows,
)
from isthmus.numerics.top_k import top_k
from isthmus.retrieval.candidates.generator import CandidateGenerator, ColumnsByDomain
from isthmus.retrieval.candidates.item_features import ItemFeatures
from isthmus.retrieval.candidates.scorer import TopK, pairs_by_user, seen_by
from isthmus.retrieval.candidates.tfidf import TfidfVocabulary
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SHARPNESS = 5.0
MAX_HISTORY = 50  # items of a history, those that weigh most
MAX_POSTINGS = 20_000  # entries of the inverted index that are read for a user
OVERFETCH = 4  # items found by the rarest words, over the length of the list
ITEMS = "items"


@dataclass
class TfidfOverlap(CandidateGenerator):
    """Score items by the words that they share with those of the history.

    A score is ``log(1 + mean(exp(5 cosine) - 1)) / 5`` over the liked items, weighted as in the
    history; the cosines are of TF-IDF vectors (see `TfidfVocabulary`). Names, brands and
    categories, which embeddings blur, connect items here, cold-start items included. Nothing is
    learned from interactions.
    """

    name: ClassVar[str] = "TF-IDF overlap"
    needs_users: ClassVar[bool] = False
    _extended: tuple[ItemFeatures, csr_array, ColumnsByDomain] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def fit(self, data: TrainingData) -> Self:
        """Take the TF-IDF vectors of all items."""
        self._vocabulary, self._items = data.tfidf
        self._extended = None
        return self

    def scorer(self, data: TrainingData, users: UserHistories, target: int) -> TfidfScorer:
        """Return the similarities of the domain's items by words."""
        items, inverted = self._extended_to(data)
        history = users.liked.top_weighted(MAX_HISTORY)
        return TfidfScorer(items, inverted.of(data, target), history, data.domains, target)

    def state(self) -> ArrayState:
        """Return the vocabulary, and the vectors of all items."""
        return {**self._vocabulary.state(), **sparse_to_arrays(ITEMS, self._items)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self._vocabulary = TfidfVocabulary.from_state(state)
        self._items, self._extended = sparse_from_arrays(ITEMS, state), None
        return self

    def _extended_to(self, data: TrainingData) -> tuple[csr_array, ColumnsByDomain]:
        """Return the vectors of all items, new ones too, and the inverted index."""
        from scipy.sparse import vstack

        extended = self._extended
        if extended is None or extended[0] is not data.features:
            items = self._items
            if len(data) > items.shape[0]:
                texts = data.features.texts(np.arange(items.shape[0], len(data)))
                items = to_csr(vstack([items, self._vocabulary.transform(texts)], format="csr"))
            extended = self._extended = data.features, items, ColumnsByDomain(to_csr(items.T))
        return extended[1], extended[2]


@dataclass(frozen=True, eq=False)
class TfidfScorer:
    """The similarity of items to histories, by the words that they share.

    Attributes
    ----------
    items : scipy.sparse.csr_array
        TF-IDF vectors, float32, shape (n_items, n_words), unit rows.
    inverted : scipy.sparse.csr_array
        The inverted index of the domain: float32, shape (n_words, n_items).
    users : UserHistories
        The liked items.
    domains : numpy.ndarray
        int64, shape (n_items,): the domain code of each item.
    target : int
        Code of the domain.
    """

    items: csr_array
    inverted: csr_array
    users: UserHistories
    domains: Columns
    target: int

    def top_k(self, n: int, allowed: Mask, seen: csr_array) -> TopK:
        """Return the best items, see `Scorer.top_k`.

        Where the words of a history are in very many items, the inverted index is read for the
        rarest of them only, and what it finds is reranked by all words.
        """
        rows = []
        for user, (vectors, weights) in enumerate(self._histories):
            rare = _rarest_words(vectors, self.inverted)
            columns, sums = _pooled(rare, self.inverted, weights)
            fits = allowed[columns] & ~isin_sorted(columns, seen_by(seen, user))
            columns, sums = columns[fits], sums[fits]
            if rare is not vectors:
                columns = columns[np.sort(top_k(sums, OVERFETCH * n))]
                sums = self._pooled_pairs(user, columns)
            top = top_k(sums, n)
            rows.append((columns[top], _scores(sums[top])))
        return TopK(*sparse_rows(rows))

    def score_pairs(self, users: Columns, items: Columns) -> FloatArray:
        """Return the scores of pairs."""
        out = np.zeros(len(users), np.float32)
        for user, pairs in pairs_by_user(users, len(self.users)):
            columns = items[pairs]
            scores = _scores(self._pooled_pairs(user, columns))
            out[pairs] = np.where(self.domains[columns] == self.target, scores, 0)
        return out

    @cached_property
    def _histories(self) -> list[tuple[SparseRows, FloatArray]]:
        """The vectors of each user's items, and their weights, which add up to 1."""
        return [
            (take_rows(self.items, columns), weights / max(float(weights.sum()), 1e-9))
            for columns, weights in self.users.rows.iter_rows()
        ]

    def _pooled_pairs(self, user: int, columns: Columns) -> FloatArray:
        """Return what `_pooled` returns of a user and some items, float32, (n_columns,)."""
        vectors, weights = self._histories[user]
        cosines = row_products(vectors, self.items, columns)
        entries, at = np.nonzero(cosines)
        values = np.expm1(SHARPNESS * cosines[entries, at]) * weights[entries]
        return np.bincount(at, values, len(columns)).astype(np.float32)


def _rarest_words(vectors: SparseRows, inverted: csr_array) -> SparseRows:
    """Return the rarest words of a history, as many as `MAX_POSTINGS` postings allow."""
    lengths = inverted.indptr[vectors.columns + 1] - inverted.indptr[vectors.columns]
    if lengths.sum() <= MAX_POSTINGS:
        return vectors
    order = np.argsort(lengths, kind="stable")
    kept = np.zeros(len(order), bool)
    kept[order[np.cumsum(lengths[order]) <= MAX_POSTINGS]] = True
    return vectors.filter(kept)


def _pooled(
    vectors: SparseRows, inverted: csr_array, weights: FloatArray
) -> tuple[Columns, FloatArray]:
    """Return the weighted sums of ``exp(5 cosine) - 1`` over a history: items, and their sums."""
    from scipy.sparse import csr_array

    n_rows, n_words = len(vectors.starts) - 1, inverted.shape[0]
    arrays = (vectors.values, vectors.columns.astype(np.int32), vectors.starts.astype(np.int32))
    cosines = csr_array(arrays, shape=(n_rows, n_words)) @ inverted
    values = np.expm1(SHARPNESS * cosines.data)
    values *= np.repeat(weights, lengths_of(cosines.indptr))
    columns, sums = sum_by_column(cosines.indices, values, cosines.shape[1])
    above = sums > 0
    return columns[above], sums[above]


def _scores(sums: FloatArray) -> FloatArray:
    """Return the soft maximum that pooled similarities stand for."""
    return np.asarray(np.log1p(sums) / SHARPNESS, np.float32)

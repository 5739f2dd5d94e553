"""Retrieval quality of vectors: contents that belong together search for one another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.metrics import ndcg, recall
from isthmus.numerics.top_k import top_k_of_rows

K: Final = 10
QUERIES_AT_ONCE: Final = 512

Rows = npt.NDArray[np.int64]
PerQuery = npt.NDArray[np.float64]
Hits = npt.NDArray[np.bool_]


class Relevance(ABC):
    """Which contents are relevant to which, among n contents.

    Attributes
    ----------
    counts : numpy.ndarray
        int64, shape (n,): number of contents that are relevant to each.
    """

    counts: Rows

    @abstractmethod
    def hits(self, queries: Rows, neighbors: Rows) -> Hits:
        """Return which neighbours, shape (n_queries, k), are relevant to their query."""


class PairRelevance(Relevance):
    """Contents are relevant to each other if they are a pair.

    Parameters
    ----------
    count : int
        Number of contents.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """

    def __init__(self, count: int, pairs: Rows) -> None:
        self._count = count
        both = np.concatenate([pairs, pairs[:, ::-1]])
        self._keys = np.unique(both[:, 0] * count + both[:, 1])
        self.counts = np.bincount(self._keys // max(count, 1), minlength=count)

    def hits(self, queries: Rows, neighbors: Rows) -> Hits:
        """Return which neighbours are a pair with their query."""
        return np.isin(queries[:, None] * self._count + neighbors, self._keys)


class LabelRelevance(Relevance):
    """Contents are relevant to each other if they have the same label; an empty one is none."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._codes = np.unique(np.array(labels, np.str_), return_inverse=True)[1]
        labelled = np.array([bool(label) for label in labels], bool)
        self.counts = np.where(labelled, np.bincount(self._codes)[self._codes] - 1, 0)

    def hits(self, queries: Rows, neighbors: Rows) -> Hits:
        """Return which neighbours have the label of their query."""
        return np.asarray(self._codes[neighbors] == self._codes[queries][:, None])


@dataclass(frozen=True, eq=False)
class SearchQuality:
    """Quality of the list of each query.

    Attributes
    ----------
    ndcg, recall : numpy.ndarray
        float64, shape (n_queries,): NDCG@10 and recall@10.
    """

    ndcg: PerQuery
    recall: PerQuery


def search_quality(
    vectors: FloatArray, relevance: Relevance, sides: Rows | None = None
) -> SearchQuality:
    """Search with each content that has relevant ones, and return the quality of its list.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), rows of unit norm.
    relevance : Relevance
        What is relevant to what.
    sides : numpy.ndarray, optional
        int64, shape (n,): a content searches those of other sides; by default all others.

    Examples
    --------
    >>> vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    >>> search_quality(vectors, PairRelevance(4, np.array([[0, 1]]))).ndcg.tolist()
    [1.0, 1.0]
    """
    queries = np.flatnonzero(relevance.counts)
    hits = relevance.hits(queries, nearest_neighbors(vectors, queries=queries, sides=sides))
    counts = relevance.counts[queries]
    return SearchQuality(ndcg(hits, counts, K), recall(hits, counts, K))


def nearest_neighbors(
    vectors: FloatArray, k: int = K, *, queries: Rows | None = None, sides: Rows | None = None
) -> Rows:
    """Return the k nearest others of some rows, the nearest first.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), rows of unit norm.
    k : int, default 10
        Length of the lists.
    queries : numpy.ndarray, optional
        int64, shape (n_queries,): rows that search; by default all.
    sides : numpy.ndarray, optional
        int64, shape (n,): a row searches those of other sides; by default all others.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_queries, min(k, n - 1)).
    """
    queries = np.arange(len(vectors)) if queries is None else queries
    k = min(k, len(vectors) - 1)
    parts = [np.empty((0, k), np.int64)]
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        rows = queries[start : start + QUERIES_AT_ONCE]
        scores = vectors[rows] @ vectors.T  # (n_rows, n)
        if sides is not None:
            scores[sides[rows][:, None] == sides] = -np.inf
        scores[np.arange(len(rows)), rows] = -np.inf
        parts.append(top_k_of_rows(scores, k))
    return np.concatenate(parts)


def neighbor_recall(expected: Rows, neighbors: Rows) -> float:
    """Return the share of expected neighbours that were found, averaged over rows.

    Examples
    --------
    >>> neighbor_recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    return float((expected[:, :, None] == neighbors[:, None, :]).any(2).mean())


def neighbor_cosines(vectors: FloatArray, neighbors: Rows) -> PerQuery:
    """Return the mean cosine of each row with its neighbours, shape (n,)."""
    parts = [
        np.einsum("nd,nkd->nk", vectors[start : start + QUERIES_AT_ONCE], vectors[rows]).mean(1)
        for start in range(0, len(neighbors), QUERIES_AT_ONCE)
        if len(rows := neighbors[start : start + QUERIES_AT_ONCE])
    ]
    return np.concatenate(parts).astype(np.float64)

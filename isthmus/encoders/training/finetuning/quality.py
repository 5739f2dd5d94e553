"""How well contents find those that they belong with: before, after, and how sure that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.encoders.training.finetuning.splits import Pairs, Rows
from isthmus.numerics.arrays import FloatArray

K: Final = 10
AT_ONCE: Final = 512
RESAMPLES: Final = 1_000
GAINS: Final = 1 / np.log2(np.arange(2, K + 2))

Figures = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Truth(ABC):
    """What belongs together among some contents."""

    answers: Rows
    """How many others belong to each content, shape (n,)."""

    @abstractmethod
    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which of what was found, shape (n, k), belongs to the query of its row."""


class PairTruth(Truth):
    """Contents that belong together by pairs.

    Parameters
    ----------
    count : int
        How many contents there are.
    pairs : numpy.ndarray
        int64, shape (n_pairs, 2).
    """

    def __init__(self, count: int, pairs: Pairs) -> None:
        self._count = count
        both = np.concatenate([pairs, pairs[:, ::-1]])
        self._known = np.unique(both[:, 0] * count + both[:, 1])
        self.answers = np.bincount(self._known // max(count, 1), minlength=count)

    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which are pairs."""
        return np.isin(queries[:, None] * self._count + found, self._known)


class LabelTruth(Truth):
    """Contents that belong together by a label; an empty one is none."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._marks = np.unique(np.array(labels, np.str_), return_inverse=True)[1]
        there = np.array([bool(label) for label in labels], bool)
        self.answers = np.where(there, np.bincount(self._marks)[self._marks] - 1, 0)

    def hits(self, queries: Rows, found: Rows) -> Mask:
        """Tell which have the same label."""
        return np.asarray(self._marks[found] == self._marks[queries][:, None])


@dataclass(frozen=True, eq=False)
class Found:
    """What each query was worth.

    Attributes
    ----------
    ndcg, recall : numpy.ndarray
        float64, shape (n_queries,): NDCG@10 and recall@10.
    """

    ndcg: Figures
    recall: Figures


def search_all(vectors: FloatArray, truth: Truth, sides: Rows | None = None) -> Found:
    """Let each content that belongs to another search the others, and see what is found.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), rows of unit norm.
    truth : Truth
        What belongs together.
    sides : numpy.ndarray, optional
        Shape (n,): a content searches only those of another side; by default all the others.

    Examples
    --------
    >>> vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    >>> search_all(vectors, PairTruth(4, np.array([[0, 1]]))).ndcg.tolist()
    [1.0, 1.0]
    """
    queries = np.flatnonzero(truth.answers)
    found = nearest_of(vectors, queries, sides)
    hits = truth.hits(queries, found)
    answers = truth.answers[queries]
    ideal = np.cumsum(GAINS)[np.minimum(answers, K) - 1]
    return Found((hits * GAINS[: hits.shape[1]]).sum(1) / ideal, hits.sum(1) / answers)


def nearest_of(vectors: FloatArray, queries: Rows, sides: Rows | None = None) -> Rows:
    """Give the nearest others of some rows, the nearest first, shape (n_queries, at most K)."""
    k = min(K, len(vectors) - 1)
    parts = [np.empty((0, k), np.int64)]
    for start in range(0, len(queries), AT_ONCE):
        own = queries[start : start + AT_ONCE]
        scores = vectors[own] @ vectors.T
        if sides is not None:
            scores[sides[own][:, None] == sides] = -np.inf
        scores[np.arange(len(own)), own] = -np.inf
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        parts.append(np.take_along_axis(top, order, 1))
    return np.concatenate(parts)


def similarity_kept(before: FloatArray, after: FloatArray) -> Figures:
    """Give what the neighbours found after are worth by the vectors of before.

    Returns
    -------
    numpy.ndarray
        float64, shape (n,): for each content the mean cosine, before, with the ten nearest of
        after over that with its ten nearest of before; 1 where none is lost.
    """
    rows = np.arange(len(before))
    near, found = nearest_of(before, rows), nearest_of(after, rows)
    own, new = (_mean_cosines(before, own) for own in (near, found))
    return np.asarray(new / np.maximum(own, 1e-9), np.float64)


@dataclass(frozen=True)
class Interval:
    """A figure, with the bounds that hold 95 % of what resampling the queries gives.

    Attributes
    ----------
    value, low, high : float
        The figure and its bounds.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def mean_of(figures: Figures, seed: int = 0) -> Interval:
    """Give the mean over queries."""
    means = _resampled(seed, figures)[0]
    return _interval(float(figures.mean()), means)


def ratio_of(after: Figures, before: Figures, seed: int = 0) -> Interval:
    """Give the mean after over the mean before, the queries of both drawn together.

    Examples
    --------
    >>> ratio_of(np.array([0.2, 0.4]), np.array([0.1, 0.2])).low
    2.0
    """
    means = _resampled(seed, after, before)
    return _interval(
        float(after.mean() / max(before.mean(), 1e-12)), means[0] / np.maximum(means[1], 1e-12)
    )


def _resampled(seed: int, *figures: Figures) -> list[Figures]:
    """Give the means of queries drawn with replacement, the same draws for all figures."""
    random, count = np.random.default_rng(seed), len(figures[0])
    draws = [random.multinomial(count, np.full(count, 1 / count)) for _ in range(RESAMPLES)]
    return [np.array([draw @ one for draw in draws]) / count for one in figures]


def _interval(value: float, means: Figures) -> Interval:
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _mean_cosines(vectors: FloatArray, found: Rows) -> Figures:
    parts = [
        np.einsum("nd,nkd->nk", vectors[start : start + AT_ONCE], vectors[rows]).mean(1)
        for start in range(0, len(found), AT_ONCE)
        if len(rows := found[start : start + AT_ONCE])
    ]
    return np.concatenate(parts).astype(np.float64)

"""Diversity: a list whose items are near the query, yet not near each other.

Maximal marginal relevance of Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking
for Reordering Documents and Producing Summaries", SIGIR 1998.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isthmus.encoders.fusion import MaskedVectors
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.quotas import Turns


@dataclass(frozen=True, eq=False)
class PairwiseSimilarity:
    """Similarity of items to each other: the mean cosine over the named vectors that both have.

    Attributes
    ----------
    parts : tuple of MaskedVectors
        Vectors of the items in each named vector, shape (n, dim).
    """

    parts: tuple[MaskedVectors, ...]

    @classmethod
    def among(cls, view: View, rows: Positions) -> PairwiseSimilarity:
        """Compare the items of some rows of a view."""
        return cls(
            tuple(view.vectors(named_vector.name, rows) for named_vector in view.named_vectors)
        )

    def __call__(self, item: int) -> FloatArray:
        """Return the similarity of all items to one, shape (n,); 0 without common vectors."""
        parts = [part for part in self.parts if part.present[item]]
        n_shared = np.sum([part.present for part in parts], axis=0)
        cosines = np.sum([part.vectors @ part.vectors[item] for part in parts], axis=0)
        return np.asarray(cosines / np.maximum(n_shared, 1), np.float32)


def maximal_marginal_relevance(
    relevance: FloatArray,
    similarity: Callable[[int], FloatArray],
    k: int,
    diversity: float,
    quota_ids: Positions | None = None,
    turns: Turns | None = None,
    before: Positions | None = None,
) -> Positions:
    """Choose k items one by one, each relevant and unlike those before it.

    The next item is ``argmax (1 - diversity) * relevance - diversity * m``, where ``m`` is the
    item's greatest similarity to an item that was chosen already (0 for the first choice). The
    first of equals is taken.

    Parameters
    ----------
    relevance : numpy.ndarray
        float32, shape (n,), on the scale of the similarity.
    similarity : callable
        Returns the similarity of every item to one of them, shape (n,).
    k : int
        How many to choose; fewer only where there are fewer.
    diversity : float
        From 0, relevance alone, to 1, dissimilarity alone.
    quota_ids : numpy.ndarray, optional
        int64, shape (n,): the quota of each item.
    turns : Turns, optional
        Which quotas may have each place.
    before : numpy.ndarray, optional
        int64: positions that were chosen before; the others are to be unlike them, too, and have
        the places after them.

    Returns
    -------
    numpy.ndarray
        int64: positions in the order they were chosen.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> relevance = np.array([0.9, 0.8, 0.5], np.float32)
    >>> maximal_marginal_relevance(relevance, lambda i: vectors @ vectors[i], 2, 0.5).tolist()
    [0, 2]
    """
    quota_ids = np.zeros(len(relevance), np.int64) if quota_ids is None else quota_ids
    available = np.ones(len(relevance), bool)
    max_similarity = np.zeros(len(relevance), np.float32)
    chosen: list[int] = []
    former = [] if before is None else before.tolist()
    available[former] = False
    if former:
        max_similarity = np.max([similarity(item) for item in former], axis=0)
    while len(chosen) < k and available.any():
        eligible = available
        if turns is not None:
            left = np.bincount(quota_ids[available], minlength=turns.n_quotas + 1)
            eligible = available & turns.eligible(len(former) + len(chosen), left)[quota_ids]
        gain = (1 - diversity) * relevance - diversity * max_similarity
        best = int(np.argmax(np.where(eligible, gain, -np.inf)))
        similarities = similarity(best)
        max_similarity = (
            np.maximum(max_similarity, similarities) if chosen or former else similarities
        )
        chosen.append(best)
        available[best] = False
    return np.array(chosen, np.int64)

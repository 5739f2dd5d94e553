"""How near two domains are: the users they share, and what their items are about."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.candidates.training_data import TrainingData

SAMPLE = 1_000


class Relatedness(BaseModel):
    """What a source domain has in common with a target domain.

    Attributes
    ----------
    shared_users : int
        Users who liked something of both.
    jaccard : float
        Shared users over the users of either.
    of_target : float
        Shared users over the users of the target.
    content_distance : float or None
        Between the contents of their items, from 0 (alike) to 1, see `content_distance`; None
        where a domain has fewer than two items with contents.
    """

    model_config = ConfigDict(extra="forbid")
    shared_users: int
    jaccard: float
    of_target: float
    content_distance: float | None


def relatedness_of(corpus: TrainingData, source: int, target: int, *, seed: int = 0) -> Relatedness:
    """Compare two domains, given by their codes."""
    theirs, own = corpus.domain_users(source), corpus.domain_users(target)
    shared = int((theirs & own).sum())
    sampled = [_sample(corpus, code, seed) for code in (source, target)]
    return Relatedness(
        shared_users=shared,
        jaccard=shared / max(int((theirs | own).sum()), 1),
        of_target=shared / max(int(own.sum()), 1),
        content_distance=content_distance(*sampled),
    )


def content_distance(one: FloatArray, other: FloatArray) -> float | None:
    """Give the energy coefficient of inhomogeneity of two samples of contents.

    ``(2 E|X - Y| - E|X - X'| - E|Y - Y'|) / 2 E|X - Y|``, with means over the pairs of different
    items: 0 if both have the same distribution, 1 if each is a point of its own (Székely and
    Rizzo, "Energy statistics", Journal of Statistical Planning and Inference 143, 2013). It asks
    for no user, and for no assumption about the distributions.

    Parameters
    ----------
    one, other : numpy.ndarray
        float32, shapes (n, dim) and (m, dim).

    Returns
    -------
    float or None
        None if there are fewer than two of one.

    Examples
    --------
    >>> content_distance(np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32))
    1.0
    """
    if min(len(one), len(other)) < 2:
        return None
    between = float(_distances(one, other).mean())
    within = _within(one) + _within(other)
    return float(np.clip(1 - within / (2 * between), 0, 1)) if between > 0 else 0.0


def _within(vectors: FloatArray) -> float:
    n = len(vectors)
    return float(_distances(vectors, vectors).sum() / (n * (n - 1)))


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def _sample(corpus: TrainingData, code: int, seed: int) -> FloatArray:
    """Give the contents of some items of a domain, of those that have any."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(corpus.in_domain(code)))
    vectors = corpus.features.take(np.sort(own[:SAMPLE]))
    return vectors[vectors.any(axis=1)]

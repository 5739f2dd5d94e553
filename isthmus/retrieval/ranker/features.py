"""Features: what the head looks at, the same for every domain and every space.

No feature names an item or a user, and most do not depend on the scale of a source's scores, so a
head that was trained on one domain means something on another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import row_max
from isthmus.retrieval.candidates.pool import CandidatePool
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.candidates.user_histories import UserHistories
from isthmus.retrieval.ranker.item_statistics import FACTS, ItemFacts
from isthmus.retrieval.ranker.numeric_features import OF_NUMBERS

OF_SOURCE = ("share", "place", "level")
OF_USER = ("items", "items in domain", "domains", "popularity of items")
LIKENESS = ("nearest", "mean", "alike")
OF_CONTENT = tuple(
    f"{what}{where}{how}"
    for how in ("", ", coarse")
    for where in ("", " in domain")
    for what in LIKENESS
)
LONGEST = 100
SHARPNESS = 5.0


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a pool.

    Attributes
    ----------
    values : numpy.ndarray
        float32, shape (n_candidates, n_features), see `feature_names`.
    evidence : numpy.ndarray
        float32, shape (n_users,): logarithm of one plus what is known of each.
    """

    values: FloatArray
    evidence: FloatArray


def feature_names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Name the features, in their order; numbers stand last, which a head may look past."""
    of_sources = [f"{source}: {what}" for source in sources for what in OF_SOURCE]
    return (
        *of_sources,
        *(f"item: {fact}" for fact in FACTS),
        *(f"user: {what}" for what in OF_USER),
        *(f"content: {what}" for what in OF_CONTENT),
        *(f"numbers: {what}" for what in OF_NUMBERS),
    )


def make_features(
    corpus: TrainingData,
    histories: UserHistories,
    pool: CandidatePool,
    facts: ItemFacts,
    target: int,
) -> Features:
    """Look at every candidate of a pool.

    Of each source: the score over the best that the user's candidates have, ``1 / log2(1 + rank)``
    in its list, and the logarithm of the score itself.
    """
    owners = pool.owners
    take_users, evidence = _of_users(corpus, histories, facts, target)
    values = np.concatenate(
        [
            _of_sources(pool, owners),
            facts.of(corpus, pool.items),
            take_users[owners],
            _of_content(corpus, histories, pool, facts, target),
            facts.numbers.nearness(corpus, histories, pool, target),
        ],
        axis=1,
    )
    return Features(values.astype(np.float32), evidence)


def _of_sources(pool: CandidatePool, owners: Columns) -> FloatArray:
    """Give share, place and level of every source, shape (n_candidates, 3 * n_sources)."""
    scores, ranks = pool.scores.T, pool.ranks.T
    positive = np.maximum(scores, 0)
    most = row_max(positive, pool.starts)[owners]
    share = positive / np.maximum(most, 1e-12)
    place = np.where(ranks > 0, 1 / np.log2(1 + np.maximum(ranks, 1)), 0)
    level = np.sign(scores) * np.log1p(10 * np.abs(scores))
    told = np.stack([share, place, level], axis=2).astype(np.float32)
    return told.reshape(len(owners), len(OF_SOURCE) * len(pool.sources))


def _of_users(
    corpus: TrainingData, histories: UserHistories, facts: ItemFacts, target: int
) -> tuple[FloatArray, FloatArray]:
    owners, n = histories.owners, len(histories)
    liked = histories.weights > 0
    domains = corpus.domains[histories.columns]
    counts = np.bincount(owners, liked, n)
    in_target = np.bincount(owners, liked & (domains == target), n)
    pairs = np.unique(owners[liked] * len(corpus.domain_names) + domains[liked])
    several = np.bincount(pairs // len(corpus.domain_names), minlength=n)
    popular = np.bincount(owners, liked * facts.popularity(histories.columns), n)
    values = [np.log1p(counts), np.log1p(in_target), several, popular / np.maximum(counts, 1)]
    return np.stack(values, axis=1).astype(np.float32), np.log1p(counts).astype(np.float32)


def _of_content(
    corpus: TrainingData,
    histories: UserHistories,
    pool: CandidatePool,
    facts: ItemFacts,
    target: int,
) -> FloatArray:
    """Compare contents, and coarse contents, with what was liked: all, and in the domain."""
    histories = histories.liked.top_weighted(LONGEST)
    out = np.zeros((len(pool.items), len(OF_CONTENT)), np.float32)
    inside = corpus.domains[histories.columns] == target
    kinds = [(_fetch(get, corpus, pool.items), get(corpus, histories.columns))
             for get in (facts.contents, facts.coarse)]  # fmt: skip
    for user in range(len(pool)):
        start, end = histories.starts[user], histories.starts[user + 1]
        own = slice(pool.starts[user], pool.starts[user + 1])
        if start == end or own.start == own.stop:
            continue
        weights, same = histories.weights[start:end], inside[start:end]
        cosines = np.stack([known[start:end] @ of(own).T for of, known in kinds])
        out[own] = _likenesses(cosines, weights, same).T
    return out


def _fetch(
    get: Callable[[TrainingData, Columns], FloatArray], corpus: TrainingData, items: Columns
) -> Callable[[slice], FloatArray]:
    """Tell how to get contents of some of the items: those of all at once if they are not held."""
    if corpus.projected_features is not None:
        return lambda part: get(corpus, items[part])
    whole = get(corpus, items)
    return lambda part: whole[part]


def _likenesses(cosines: FloatArray, weights: FloatArray, inside: Mask) -> FloatArray:
    """Give likenesses to all of a history, and to what of it is in the domain, 0 without any.

    Each is the largest cosine, the mean, and a mean between the two, in which what is near weighs
    more: ``log(mean(exp(5 cosine))) / 5``. Many items somewhat alike can so outweigh the one that
    is nearest, and a long history does not drown what is like the candidate.

    Parameters
    ----------
    cosines : numpy.ndarray
        float32, shape (n_kinds, n_entries, n_candidates): of contents of several kinds.
    weights : numpy.ndarray
        float32, shape (n_entries,).
    inside : numpy.ndarray
        bool, shape (n_entries,).

    Returns
    -------
    numpy.ndarray
        float32, shape (n_kinds * 2 * 3, n_candidates), see `OF_CONTENT`.
    """
    out = np.zeros((len(cosines), 2, len(LIKENESS), cosines.shape[2]), np.float32)
    shares = np.stack([weights, weights * inside])
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    counted = np.stack([np.ones_like(inside), inside]).astype(np.float32)
    counted /= np.maximum(counted.sum(axis=1, keepdims=True), 1)
    told = 2 if inside.any() else 1
    out[:, 0, 0] = cosines.max(axis=1)
    if told > 1:
        out[:, 1, 0] = out[:, 0, 0] if inside.all() else cosines[:, inside].max(axis=1)
    out[:, :told, 1] = shares[:told] @ cosines
    cosines *= SHARPNESS
    out[:, :told, 2] = np.log(counted[:told] @ np.exp(cosines, out=cosines)) / SHARPNESS
    return out.reshape(-1, cosines.shape[2])

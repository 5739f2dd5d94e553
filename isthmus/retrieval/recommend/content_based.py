"""Content-based recommendation: the interests of a user, each with a share of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.ann.exact import inner_products
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.diversity import maximal_marginal_relevance
from isthmus.retrieval.search.examples import Interest, find_interests
from isthmus.retrieval.search.query import Query, ScoredRows, order_of, search_top_k, shared_ranks

SAMPLE_SIZE = 4_000
MIN_ITEMS_PER_INTEREST = 20
TYPICAL_DIVERSITY = 0.5


def recommend(
    view: View,
    users: Sequence[User],
    text_vectors: Sequence[Mapping[str, FloatArray] | None],
    k: int,
    allowed: Selection | None,
    weights: Mapping[str, float],
) -> list[ScoredRows]:
    """Rank items for each user.

    Each interest ranks the items. The score of an item is the share of an interest in the weight
    of all interests, divided by the rank of the item for it, the largest over the interests. So
    every interest has about its share of any top of the list (the highest averages method of
    D'Hondt). A user without a history and a text gets typical and diverse items.

    Parameters
    ----------
    view : View
        The items.
    users : sequence of User
        The users.
    text_vectors : sequence of mapping or None
        The vectors of the text of each user by name, shape (dim,).
    k : int
        Items for each user.
    allowed : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    list of (rows, scores)
        For each user, best first, at most k; without the items of the history.
    """
    seen = _history_rows(view, users)
    interests = [
        _interests(view, user, rows, text)
        for user, rows, text in zip(users, seen, text_vectors, strict=True)
    ]
    queries = [
        Query(interest.vectors, exclude=rows)
        for of_user, rows in zip(interests, seen, strict=True)
        for interest in of_user
    ]
    lists = iter(search_top_k(view, queries, max(k, MIN_ITEMS_PER_INTEREST), allowed, weights))
    ranked = [
        _combine(view, [(interest, next(lists)) for interest in of_user], k)
        for of_user in interests
    ]
    return [
        found if of_user else _typical(view, k, allowed, rows)
        for of_user, rows, found in zip(interests, seen, ranked, strict=True)
    ]


def _history_rows(view: View, users: Sequence[User]) -> list[Positions]:
    """Return the rows of each history; -1 for an unknown item."""
    rows = view.find([entry.item_id for user in users for entry in user.history])
    ends = np.cumsum([len(user.history) for user in users])[:-1]
    return list(np.split(rows, ends)) if users else []


def _interests(
    view: View, user: User, rows: Positions, text: Mapping[str, FloatArray] | None
) -> list[Interest]:
    interests = find_interests(view, rows, user.importance())
    if text:
        weight = max((interest.weight for interest in interests), default=1.0)
        interests.insert(0, Interest(dict(text), weight))
    return interests


def _combine(view: View, lists: Sequence[tuple[Interest, ScoredRows]], k: int) -> ScoredRows:
    """Merge the lists of the interests of a user."""
    if not lists:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    total = sum(interest.weight for interest, _ in lists)
    rows = np.concatenate([rows for _, (rows, _) in lists])
    shares = [i.weight / total / shared_ranks(scores) for i, (_, scores) in lists]
    distinct, at = np.unique(rows, return_inverse=True)
    scores = np.zeros(len(distinct), np.float32)
    np.maximum.at(scores, at, np.concatenate(shares).astype(np.float32))
    order = order_of(view, distinct, scores)[:k]
    return distinct[order], scores[order]


def _typical(view: View, k: int, allowed: Selection | None, seen: Positions) -> ScoredRows:
    """Choose items that are central but dissimilar (maximal marginal relevance).

    The score is the cosine with the mean of the items, so it need not fall.
    """
    mask = (view.living if allowed is None else allowed).rows.copy()
    mask[seen[seen >= 0]] = False
    rows = np.flatnonzero(mask)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE_SIZE])
    named_vector = max(view.named_vectors, key=lambda v: int(view.present(v.name, rows).sum()))
    part = view.vectors(named_vector.name, rows)
    rows, vectors = rows[part.present], part.vectors[part.present]
    mean = vectors.mean(axis=0) if len(vectors) else np.zeros(0, np.float32)
    central = inner_products(vectors, mean)
    order = order_of(view, rows, central)  # of equals, the first is chosen first
    rows, vectors, central = rows[order], vectors[order], central[order]
    chosen = maximal_marginal_relevance(
        central, lambda at: inner_products(vectors, vectors[at]), k, TYPICAL_DIVERSITY
    )
    return rows[chosen], central[chosen]

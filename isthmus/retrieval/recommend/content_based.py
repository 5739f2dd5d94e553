"""Recommendation from content: a user's interests, each with its own share of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.recommend.users import User
from isthmus.retrieval.search.diversity import maximal_marginal_relevance
from isthmus.retrieval.search.examples import Interest, find_interests
from isthmus.retrieval.search.query import Query, ScoredRows, search_top_k

SAMPLE = 4_000
FEW_FROM_AN_INTEREST = 20
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

    Each interest ranks the items; an item's score is the interest's share of the user's
    attention over the item's rank in it, the best over the interests. So every interest has
    about its share of any top of the list (the method of highest averages, D'Hondt's).
    A user of whom nothing is known gets typical and diverse items.

    Parameters
    ----------
    view : View
        What is searched.
    users : sequence of User
        Whom to recommend to.
    text_vectors : sequence of mapping or None
        The vectors of each user's text by named vector, shape (dim,).
    k : int
        Items a user.
    allowed : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    list of (rows, scores)
        For each user, best first, at most k; items of the history are left out.
    """
    seen = _find_histories(view, users)
    interests = [
        _interests(view, user, rows, text)
        for user, rows, text in zip(users, seen, text_vectors, strict=True)
    ]
    queries = [
        Query(interest.vectors, exclude=rows)
        for own, rows in zip(interests, seen, strict=True)
        for interest in own
    ]
    lists = iter(search_top_k(view, queries, max(k, FEW_FROM_AN_INTEREST), allowed, weights))
    ranked = [_combine([(interest, next(lists)) for interest in own], k) for own in interests]
    return [
        _typical(view, k, allowed, rows) if not own else found
        for own, rows, found in zip(interests, seen, ranked, strict=True)
    ]


def _find_histories(view: View, users: Sequence[User]) -> list[Positions]:
    """Find the rows of all histories at once; -1 where an item is not there."""
    rows = view.find([entry.item_id for user in users for entry in user.history])
    ends = np.cumsum([len(user.history) for user in users])[:-1]
    return list(np.split(rows, ends)) if users else []


def _interests(
    view: View, user: User, rows: Positions, text: Mapping[str, FloatArray] | None
) -> list[Interest]:
    interests = find_interests(view, rows, user.importance())
    if text:
        most = max((interest.weight for interest in interests), default=1.0)
        interests.insert(0, Interest(dict(text), most))
    return interests


def _combine(found: Sequence[tuple[Interest, ScoredRows]], k: int) -> ScoredRows:
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    total = sum(interest.weight for interest, _ in found)
    rows = np.concatenate([rows for _, (rows, _) in found])
    shares = [i.weight / total / np.arange(1, len(r) + 1) for i, (r, _) in found]
    distinct, at = np.unique(rows, return_inverse=True)
    scores = np.zeros(len(distinct))
    np.maximum.at(scores, at, np.concatenate(shares))
    order = np.argsort(-scores, kind="stable")[:k]
    return distinct[order], scores[order].astype(np.float32)


def _typical(view: View, k: int, allowed: Selection | None, seen: Positions) -> ScoredRows:
    """Choose items that are central yet unlike each other (maximal marginal relevance)."""
    mask = (view.living if allowed is None else allowed).rows.copy()
    mask[seen[seen >= 0]] = False
    rows = np.flatnonzero(mask)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE])
    named_vector = max(view.named_vectors, key=lambda b: int(view.present(b.name, rows).sum()))
    part = view.vectors(named_vector.name, rows)
    rows, vectors = rows[part.present], part.vectors[part.present]
    central = vectors @ vectors.mean(axis=0) if len(vectors) else np.empty(0, np.float32)
    chosen = maximal_marginal_relevance(
        central, lambda at: vectors @ vectors[at], k, TYPICAL_DIVERSITY
    )
    return rows[chosen], (1 / np.arange(1, len(chosen) + 1)).astype(np.float32)

"""Range search: every item that scores at least so much.

Over several blocks, when to stop is decided as in the threshold algorithm of Fagin, Lotem and
Naor, "Optimal Aggregation Algorithms for Middleware", PODS 2001: when even an item that stands
just behind the last one found in every block would score too little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.retrieval.search.query import Query, Ranked, merge_blocks, search_blocks

FIRST_DEPTH = 256
WIDENING = 4


def at_least(found: Ranked, min_score: float) -> Ranked:
    """Keep what scores at least so much."""
    rows, scores = found
    keep = scores.astype(np.float64) >= min_score
    return rows[keep], scores[keep]


def answer_range(
    view: View,
    query: Query,
    min_score: float,
    allowed: Selection | None,
    weights: Mapping[str, float],
) -> Ranked:
    """Find all items that score at least `min_score`, best first.

    The search is widened fourfold until nothing that was not seen can score so much. It is
    complete where the search of a block is exact; an approximate index misses as much of the
    range as its recall says.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    min_score : float
        Least score, of the kind that `isthmus.retrieval.search.query.answer` gives.
    allowed : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each block.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,).
    """
    reachable = len(view) if allowed is None else allowed.count
    depth = min(FIRST_DEPTH, reachable)
    while depth:
        parts = search_blocks(view, [query], depth, allowed)[0]
        if depth == reachable or _best_unseen(view, query, parts, weights) < min_score:
            found = merge_blocks(view, query, parts, reachable, weights)
            return at_least(found, min_score)
        depth = min(depth * WIDENING, reachable)
    return np.empty(0, np.int64), np.empty(0, np.float32)


def _best_unseen(
    view: View, query: Query, parts: list[Ranked], weights: Mapping[str, float]
) -> float:
    """Give the most that an item in none of the lists can score.

    In a block of which the last cosine found is ``f``, it has at most ``f``: with several
    blocks ``(f - c) / (1 - c)`` for the least mean cosine ``c`` of a domain (the expression
    falls as ``c`` grows), or 0 if it lacks the block.
    """
    names = [block.name for block in view.blocks if block.name in query.vectors]
    last = [float(scores[-1]) for _, scores in parts]
    if len(names) == 1 or not np.isfinite(last).any():
        return max(last)
    own, total = query.block_weights(weights), 0.0
    for name, cosine in zip(names, last, strict=True):
        chance = float((view.domain_means.vectors[name] @ query.vectors[name]).min())
        total += own[name] * max(0.0, (cosine - chance) / max(1.0 - chance, 1e-6))
    return total / sum(own.values())

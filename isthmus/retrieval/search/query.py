"""Queries: vectors in some blocks of the item vector, ranked against every item at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray

Ranked = tuple[Positions, FloatArray]
CANDIDATES_A_RESULT = 4
FEWEST_CANDIDATES = 100
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for.

    Attributes
    ----------
    vectors : mapping of str to numpy.ndarray
        Unit vector, shape (dim,), for each block that the query has something to say in.
    exclude : numpy.ndarray
        int64: rows that must not be returned.
    """

    vectors: Mapping[str, FloatArray]
    exclude: Positions = field(default_factory=lambda: np.empty(0, np.int64))

    def block_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of the blocks that the query has."""
        return {name: weights[name] for name in self.vectors}


def answer(
    view: View,
    queries: Sequence[Query],
    k: int,
    allowed: Selection | None,
    weights: Mapping[str, float],
    effort: float = 1.0,
) -> list[Ranked]:
    """Rank items for each query.

    In one block the score is the cosine similarity. Over several it is the weighted mean of the
    adjusted similarity ``(cos - c) / (1 - c)`` over the query's blocks, where ``c`` is the
    query's mean cosine with the item's domain in that block: 0 is as alike as chance, 1 is
    identical. An item that lacks a picture counts there as an average item of its domain, so it
    is neither punished with a zero cosine nor favoured by being judged on its text alone.

    Parameters
    ----------
    view : View
        What is searched.
    queries : sequence of Query
        What is looked for.
    k : int
        Results a query.
    allowed : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each block.
    effort : float
        See `View.search`.

    Returns
    -------
    list of (rows, scores)
        For each query, best first, at most k.
    """
    most_excluded = max((len(query.exclude) for query in queries), default=0)
    several = any(len(query.vectors) > 1 for query in queries)
    depth = max(CANDIDATES_A_RESULT * k, FEWEST_CANDIDATES) if several else k
    found = search_blocks(view, queries, depth + most_excluded, allowed, effort)
    return [
        merge_blocks(view, query, parts, k, weights)
        for query, parts in zip(queries, found, strict=True)
    ]


def search_blocks(
    view: View,
    queries: Sequence[Query],
    depth: int,
    allowed: Selection | None,
    effort: float = 1.0,
) -> list[list[Ranked]]:
    """Search each block once for all the queries that have it.

    Returns
    -------
    list of list of (rows, scores)
        For each query, for each block it has, in the order of the view: shape (depth,), -1 and
        -inf where there are no more rows; excluded rows are still among them.
    """
    found: list[list[Ranked]] = [[] for _ in queries]
    for block in view.blocks:
        asking = [i for i, query in enumerate(queries) if block.name in query.vectors]
        if asking:
            vectors = np.stack([queries[i].vectors[block.name] for i in asking])
            reach = min(depth, max(len(view), 1))
            scores, rows = view.search(block.name, vectors, reach, allowed, effort)
            for at, i in enumerate(asking):
                found[i].append((rows[at], scores[at]))
    return found


def merge_blocks(
    view: View, query: Query, parts: list[Ranked], k: int, weights: Mapping[str, float]
) -> Ranked:
    """Score what the blocks found for a query, and give the best k that are not excluded."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if len(query.vectors) == 1:
        rows, scores = parts[0]
    else:
        rows = np.unique(np.concatenate([part[0] for part in parts]))
        rows = rows[rows >= 0]
        scores = adjusted_similarity(view, query, rows, weights)
        order = np.argsort(-scores, kind="stable")
        rows, scores = rows[order], scores[order]
    keep = rows >= 0
    if len(query.exclude):
        keep &= ~np.isin(rows, query.exclude)
    return rows[keep][:k], scores[keep][:k]


def adjusted_similarity(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> FloatArray:
    """Give the chance-corrected similarity of rows to a query, shape (len(rows),)."""
    pieces = [rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE)]
    scores = [_adjusted_similarity(view, query, piece, weights) for piece in pieces]
    return np.concatenate([np.empty(0, np.float32), *scores])


def _adjusted_similarity(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> FloatArray:
    own = query.block_weights(weights)
    parts = similarities(view, query, rows)
    total = sum(own[name] * part.astype(np.float64) for name, part in parts.items())
    return np.asarray(total / sum(own.values()), np.float32)


def similarities(view: View, query: Query, rows: Positions) -> dict[str, FloatArray]:
    """Give the chance-corrected similarity of rows in each block of a query, 0 where absent."""
    means, domains = view.domain_means, view.domain_codes(rows)
    found = {}
    for name, vector in query.vectors.items():
        part = view.vectors(name, rows)
        # An item alone in its domain is the mean of it, and would always score 0.
        chance = (means.vectors[name] @ vector * means.others[name])[domains]
        similarity = (part.vectors @ vector - chance) / np.maximum(1.0 - chance, 1e-6)
        found[name] = np.where(part.present, similarity, 0.0)
    return found

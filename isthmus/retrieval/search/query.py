"""Queries: vectors in some named vectors of the item vector, ranked against every item at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isthmus.errors import UnsupportedModality
from isthmus.index.ann.exact import Positions
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray

FIRST_DEPTH = 256
WIDENING = 4

ScoredRows = tuple[Positions, FloatArray]
CANDIDATES_A_RESULT = 4
FEWEST_CANDIDATES = 100
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for.

    Attributes
    ----------
    vectors : mapping of str to numpy.ndarray
        Unit vector, shape (dim,), for each named vector that the query has something to say in.
    exclude : numpy.ndarray
        int64: rows that must not be returned.
    """

    vectors: Mapping[str, FloatArray]
    exclude: Positions = field(default_factory=lambda: np.empty(0, np.int64))

    def vector_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of the named vectors that the query has."""
        return {name: weights[name] for name in self.vectors}


def search_top_k(
    view: View,
    queries: Sequence[Query],
    k: int,
    allowed: Selection | None,
    weights: Mapping[str, float],
    effort: float = 1.0,
) -> list[ScoredRows]:
    """Rank items for each query.

    In one named vector the score is the cosine similarity. Over several it is the weighted mean of
    the adjusted similarity ``(cos - c) / (1 - c)`` over the query's named vectors, where ``c`` is
    the query's mean cosine with the item's domain in that named vector: 0 is as alike as chance, 1
    is identical. An item that lacks a picture counts there as an average item of its domain, so it
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
        Weight of each named vector.
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
    found = search_vectors(view, queries, depth + most_excluded, allowed, effort)
    return [
        merge_vectors(view, query, parts, k, weights)
        for query, parts in zip(queries, found, strict=True)
    ]


def search_vectors(
    view: View,
    queries: Sequence[Query],
    depth: int,
    allowed: Selection | None,
    effort: float = 1.0,
) -> list[list[ScoredRows]]:
    """Search each named vector once for all the queries that have it.

    Returns
    -------
    list of list of (rows, scores)
        For each query, for each named vector it has, in the order of the view: shape (depth,), -1
        and -inf where there are no more rows; excluded rows are still among them.
    """
    found: list[list[ScoredRows]] = [[] for _ in queries]
    for named_vector in view.named_vectors:
        asking = [i for i, query in enumerate(queries) if named_vector.name in query.vectors]
        if asking:
            vectors = np.stack([queries[i].vectors[named_vector.name] for i in asking])
            reach = min(depth, max(len(view), 1))
            scores, rows = view.search(named_vector.name, vectors, reach, allowed, effort)
            for at, i in enumerate(asking):
                found[i].append((rows[at], scores[at]))
    return found


def merge_vectors(
    view: View, query: Query, parts: list[ScoredRows], k: int, weights: Mapping[str, float]
) -> ScoredRows:
    """Score what the named vectors found for a query, and give the best k that are not excluded."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if len(query.vectors) == 1:
        rows, scores = parts[0]
    else:
        rows = np.unique(np.concatenate([part[0] for part in parts]))
        rows = rows[rows >= 0]
        scores = chance_corrected_similarity(view, query, rows, weights)
        order = np.argsort(-scores, kind="stable")
        rows, scores = rows[order], scores[order]
    keep = rows >= 0
    if len(query.exclude):
        keep &= ~np.isin(rows, query.exclude)
    return rows[keep][:k], scores[keep][:k]


def chance_corrected_similarity(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> FloatArray:
    """Give the chance-corrected similarity of rows to a query, shape (len(rows),)."""
    pieces = [rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE)]
    scores = [_chance_corrected_similarity(view, query, piece, weights) for piece in pieces]
    return np.concatenate([np.empty(0, np.float32), *scores])


def _chance_corrected_similarity(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> FloatArray:
    own = query.vector_weights(weights)
    parts = similarities(view, query, rows)
    total = sum(own[name] * part.astype(np.float64) for name, part in parts.items())
    return np.asarray(total / sum(own.values()), np.float32)


def similarities(view: View, query: Query, rows: Positions) -> dict[str, FloatArray]:
    """Return chance-corrected similarities of rows in each named vector of a query; 0 if absent."""
    means, domains = view.domain_means, view.domain_codes(rows)
    found = {}
    for name, vector in query.vectors.items():
        part = view.vectors(name, rows)
        # An item alone in its domain is the mean of it, and would always score 0.
        chance = (means.vectors[name] @ vector * means.others[name])[domains]
        similarity = (part.vectors @ vector - chance) / np.maximum(1.0 - chance, 1e-6)
        found[name] = np.where(part.present, similarity, 0.0)
    return found


def filter_min_score(found: ScoredRows, min_score: float) -> ScoredRows:
    """Keep what scores at least so much."""
    rows, scores = found
    keep = scores.astype(np.float64) >= min_score
    return rows[keep], scores[keep]


def search_range(
    view: View,
    query: Query,
    min_score: float,
    allowed: Selection | None,
    weights: Mapping[str, float],
) -> ScoredRows:
    """Find all items that score at least `min_score`, best first.

    The search is widened fourfold until nothing that was not seen can score so much. It is
    complete where the search of a named vector is exact; an approximate index misses as much of the
    range as its recall says.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    min_score : float
        Least score, of the kind that `isthmus.retrieval.search.query.search_top_k` gives.
    allowed : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,).
    """
    reachable = len(view) if allowed is None else allowed.count
    depth = min(FIRST_DEPTH, reachable)
    while depth:
        parts = search_vectors(view, [query], depth, allowed)[0]
        if depth == reachable or _best_unseen(view, query, parts, weights) < min_score:
            found = merge_vectors(view, query, parts, reachable, weights)
            return filter_min_score(found, min_score)
        depth = min(depth * WIDENING, reachable)
    return np.empty(0, np.int64), np.empty(0, np.float32)


def _best_unseen(
    view: View, query: Query, parts: list[ScoredRows], weights: Mapping[str, float]
) -> float:
    """Give the most that an item in none of the lists can score.

    In a named vector of which the last cosine found is ``f``, it has at most ``f``: with several
    named vectors ``(f - c) / (1 - c)`` for the least mean cosine ``c`` of a domain (the expression
    falls as ``c`` grows), or 0 if it lacks the named vector.
    """
    names = [
        named_vector.name
        for named_vector in view.named_vectors
        if named_vector.name in query.vectors
    ]
    last = [float(scores[-1]) for _, scores in parts]
    if len(names) == 1 or not np.isfinite(last).any():
        return max(last)
    own, total = query.vector_weights(weights), 0.0
    for name, cosine in zip(names, last, strict=True):
        chance = float((view.domain_means.vectors[name] @ query.vectors[name]).min())
        total += own[name] * max(0.0, (cosine - chance) / max(1.0 - chance, 1e-6))
    return total / sum(own.values())


def blocks_with_vectors(view: View, selections: Sequence[Selection | None]) -> set[str]:
    """Name the named vectors in which some of the allowed items has a vector."""
    return {
        named_vector.name
        for named_vector in view.named_vectors
        if any(view.holds(named_vector.name, allowed) for allowed in selections)
    }


def why_incomparable(vectors: Mapping[str, FloatArray], held: set[str], space: Path) -> str:
    """Say why a query cannot find items that have vectors in some named vectors; empty if it can.

    Parameters
    ----------
    vectors : mapping of str to numpy.ndarray
        What is looked for, by named vector.
    held : set of str
        The named vectors of the items, see `vector_name`.
    space : Path
        Folder of the space, for the advice.
    """
    if not vectors or not held or held & vectors.keys():
        return ""
    alignable = "audio" not in {*vectors, *held}
    return (
        f"{' and '.join(sorted(vectors))} cannot find these items, which have only "
        f"{' and '.join(sorted(held))}: the vectors of encoders that were not aligned "
        "say nothing of each other. "
        + (
            f"Align them with: isthmus align --pairs FILES --space {space}"
            if alignable
            else "Text finds audio in a space whose encoder takes both, such as clap/NAME"
        )
    )


def require_comparable(
    view: View,
    vectors: Mapping[str, FloatArray],
    selections: Sequence[Selection | None],
    space: Path,
) -> None:
    """Refuse a query that found nothing since it has no named vector in common with any item.

    Raises
    ------
    UnsupportedModality
        If that is so.
    """
    reason = why_incomparable(vectors, blocks_with_vectors(view, selections), space)
    if reason:
        raise UnsupportedModality(reason)

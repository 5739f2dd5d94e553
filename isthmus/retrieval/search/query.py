"""Queries: unit vectors in some named vectors of the items, searched for the top k or a range.

In one named vector the score is the cosine similarity. Over several it is the weighted mean of the
chance-corrected similarities ``(cos - c) / (1 - c)`` in the query's named vectors, where ``c`` is
the query's mean cosine with the item's domain in that named vector: 0 is as similar as chance, 1 is
identical. An item that lacks a named vector counts there as an average item of its domain. It is
neither punished with a zero cosine nor favoured by being judged on its other named vectors alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from isthmus.errors import UnsupportedModality, command_in
from isthmus.index.ann.exact import inner_products
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions

# Where a query has several named vectors: candidates of each of them for a result.
OVERSAMPLING: Final = 4
MIN_CANDIDATES: Final = 100
RANGE_DEPTH: Final = 256  # candidates that a range search begins with
MAX_TIES: Final = 16_384  # of more items with one score, any may be in a list
ROUNDING: Final = 1e-6  # of the first search, by which its order may be off
WIDENING: Final = 4
ROWS_AT_ONCE: Final = 65_536
MIN_SPREAD: Final = 1e-6  # of 1 - c, against division by zero

ScoredRows = tuple[Positions, FloatArray]
"""Rows and their scores, best first: int64 and float32, shape (n,)."""
NO_ROWS: Final[ScoredRows] = (np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True, eq=False)
class Query:
    """A query as vectors.

    Attributes
    ----------
    vectors : mapping of str to numpy.ndarray
        Unit vector, shape (dim,), for each named vector that takes part.
    exclude : numpy.ndarray
        int64: rows that are not returned.
    """

    vectors: Mapping[str, FloatArray]
    exclude: Positions = field(default_factory=lambda: NO_ROWS[0])

    def vector_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of the query's named vectors."""
        return {name: weights[name] for name in self.vectors}


def search_top_k(
    view: View,
    queries: Sequence[Query],
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
    search_scale: float = 1.0,
) -> list[ScoredRows]:
    """Rank items for each query.

    Over several named vectors, the candidates are the nearest items of each named vector.

    Parameters
    ----------
    view : View
        What is searched.
    queries : sequence of Query
        The queries.
    k : int
        Results a query.
    selection : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each named vector.
    search_scale : float
        See `View.search`.

    Returns
    -------
    list of (rows, scores)
        For each query, best first, at most k.
    """
    # One item more than asked for: if its score is that of the last, more may have it.
    found = nearest(view, queries, k + 1, selection, weights, search_scale)
    return [
        _ordered(view, query, one, k, selection, weights)
        for query, one in zip(queries, found, strict=True)
    ]


def _ordered(
    view: View,
    query: Query,
    found: ScoredRows,
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
) -> ScoredRows:
    """Return the best k of a list of k + 1, in their order.

    While the score of place k may go on beyond the last place, more are searched for.
    """
    rows, scores = found
    if (scores[:-1] - scores[1:]).min(initial=1.0) > ROUNDING:  # no two are equal
        return rows[:k], scores[:k]
    depth = k + 1
    while len(rows) == depth and scores[-1] > scores[k - 1] - ROUNDING and depth < MAX_TIES:
        depth *= WIDENING
        rows, scores = nearest(view, [query], depth, selection, weights)[0]
    rows, scores = in_order(view, rows, scores)
    return rows[:k], scores[:k]


def search_batch(
    view: View, vector_name: str, queries: FloatArray, k: int, selection: Selection | None
) -> tuple[Positions, FloatArray]:
    """Rank items for queries, (n_queries, dim), in one named vector, as `search_top_k` does.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n_queries, k), or fewer columns where there are fewer items; -1
        and -inf where there are no more items.
    """
    scores, rows = view.search(vector_name, queries, min(k + 1, max(len(view), 1)), selection)
    best_rows, best_scores = _in_order_block(view, rows[:, :k], scores[:, :k])
    tied = _tied(scores, k)
    depth = k + 1
    while len(tied) and depth < MAX_TIES:
        depth *= WIDENING
        scores, rows = view.search(vector_name, queries[tied], min(depth, len(view)), selection)
        longer_rows, longer_scores = _in_order_block(view, rows, scores)
        best_rows[tied], best_scores[tied] = longer_rows[:, :k], longer_scores[:, :k]
        tied = tied[_tied(scores, k)]
    return best_rows, best_scores


def _in_order_block(
    view: View, rows: Positions, scores: FloatArray
) -> tuple[Positions, FloatArray]:
    """Return lists, (n_queries, k), each as `in_order` does; ids are looked up once for all."""
    order = np.argsort(-scores, axis=1, kind="stable")
    rows, scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
    equal = (scores[:, 1:] == scores[:, :-1]) & (rows[:, 1:] >= 0)
    if not equal.any():
        return rows, scores
    tied = np.pad(equal, ((0, 0), (1, 0))) | np.pad(equal, ((0, 0), (0, 1)))
    lists, places = np.nonzero(tied)
    unique, inverse = np.unique(rows[lists, places], return_inverse=True)
    names = [*zip(view.item_domains(unique), view.item_ids(unique), strict=True)]
    rank = np.empty(len(unique), np.int64)
    rank[sorted(range(len(unique)), key=names.__getitem__)] = np.arange(len(unique))
    by_name = np.lexsort((rank[inverse], -scores[lists, places], lists))
    rows[lists, places] = rows[lists, places][by_name]
    return rows, scores


def _tied(scores: FloatArray, k: int) -> Positions:
    """Return the queries where the score of place k may go on beyond the last place."""
    if scores.shape[1] <= k:
        return np.empty(0, np.int64)
    with np.errstate(invalid="ignore"):  # after the last item, -inf less -inf
        return np.flatnonzero(scores[:, k - 1] - scores[:, -1] < ROUNDING)


def finds_exactly(view: View, query: Query) -> bool:
    """Return whether a search compares a query with every item, in one named vector.

    A longer list then begins with the shorter one by itself.
    """
    indexes = [
        segment.named_vectors[name].index for name in query.vectors for segment in view.segments
    ]
    exact = all(index is None or getattr(index, "is_exact", False) for index in indexes)
    return len(query.vectors) == 1 and exact


def in_order(view: View, rows: Positions, scores: FloatArray) -> ScoredRows:
    """Return a list by falling score, equal ones by domain, then item id."""
    if (scores[1:] < scores[:-1]).all():
        return rows, scores
    order = order_of(view, rows, scores)
    return rows[order], scores[order]


def order_of(view: View, rows: Positions, scores: FloatArray) -> Positions:
    """Return the order of a list, (n,): by falling score, equal ones by domain, then item id."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return order
    domains, ids = view.item_domains(rows), view.item_ids(rows)
    places = sorted(range(len(rows)), key=lambda at: (-scores[at], domains[at], ids[at]))
    return np.array(places, np.int64)


def merge_lists(view: View, lists: Sequence[ScoredRows]) -> tuple[Positions, FloatArray, Positions]:
    """Merge lists by score; a list whose scores do not fall keeps its own order.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,).
    list_ids : numpy.ndarray
        int64, shape (n,): the list that each comes from.
    """
    rows = np.concatenate([NO_ROWS[0], *(rows for rows, _ in lists)])
    scores = np.concatenate([NO_ROWS[1], *(scores for _, scores in lists)]).astype(np.float32)
    list_ids = np.repeat(np.arange(len(lists)), [len(rows) for rows, _ in lists])
    if all((scores[1:] <= scores[:-1]).all() for _, scores in lists):
        order = order_of(view, rows, scores)
    else:
        floors = [np.minimum.accumulate(scores) for _, scores in lists]
        order = np.argsort(-np.concatenate(floors), kind="stable")
    return rows[order], scores[order], list_ids[order]


def scores_of(lists: Sequence[ScoredRows], rows: Positions, otherwise: float = 0.0) -> FloatArray:
    """Return the score that each row has in one of several lists, float32, shape (len(rows),).

    Examples
    --------
    >>> found = np.array([7, 8]), np.array([0.5, 0.25], np.float32)
    >>> scores_of([found], np.array([8, 9])).tolist()
    [0.25, 0.0]
    """
    scores = {
        row: score
        for listed, of_rows in lists
        for row, score in zip(listed.tolist(), of_rows.tolist(), strict=True)
    }
    return np.array([scores.get(row, otherwise) for row in rows.tolist()], np.float32)


def carry_scores(before: ScoredRows, rows: Positions, scores: FloatArray) -> FloatArray:
    """Return the scores of a longer list as the shorter one before it has them.

    A score may depend on the length of the list. Rows whose score is that of a row of the shorter
    list have the score that it has there, so that equal items have equal scores.

    Examples
    --------
    >>> before = np.array([7]), np.array([0.5], np.float32)
    >>> carry_scores(before, np.array([7, 8, 9]), np.array([0.25, 0.25, 0.125])).tolist()
    [0.5, 0.5, 0.125]
    """
    if not len(before[0]):
        return scores
    shared = np.flatnonzero(np.isin(rows, before[0]))
    scores_before = dict(zip(before[0].tolist(), before[1].tolist(), strict=True))
    carried = {scores[at]: scores_before[int(rows[at])] for at in shared[::-1].tolist()}
    return np.array([carried.get(score, score) for score in scores], scores.dtype)


def shared_ranks(scores: FloatArray) -> Positions:
    """Return the rank of each score of a list, from 1; equal scores have the best of their ranks.

    Examples
    --------
    >>> shared_ranks(np.array([0.9, 0.5, 0.5, 0.1])).tolist()
    [1, 2, 2, 4]
    """
    new = np.concatenate([np.ones(min(len(scores), 1), bool), scores[1:] != scores[:-1]])
    return np.maximum.accumulate(np.where(new, np.arange(1, len(scores) + 1), 0))


def nearest(
    view: View,
    queries: Sequence[Query],
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
    search_scale: float = 1.0,
) -> list[ScoredRows]:
    """Rank items for each query as `search_top_k`, but in any order among equal scores."""
    n_excluded = max([len(query.exclude) for query in queries], default=0)
    several_vectors = any(len(query.vectors) > 1 for query in queries)
    depth = max(OVERSAMPLING * k, MIN_CANDIDATES) if several_vectors else k
    lists = search_vectors(view, queries, depth + n_excluded, selection, search_scale)
    return [
        merge_vectors(view, query, parts, k, weights)
        for query, parts in zip(queries, lists, strict=True)
    ]


def search_range(
    view: View,
    query: Query,
    min_score: float,
    selection: Selection | None,
    weights: Mapping[str, float],
) -> ScoredRows:
    """Find all items that score at least `min_score`, best first.

    The search is widened fourfold until no unseen item can score so much, as in the threshold
    algorithm of Fagin, Lotem and Naor, "Optimal Aggregation Algorithms for Middleware", PODS 2001.
    It is complete where the search of a named vector is exact; an approximate index misses as much
    of the range as its recall says.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        The query.
    min_score : float
        Minimum score, as `search_top_k` scores.
    selection : Selection, optional
        The rows that may be returned.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (n,).
    """
    n_reachable = len(view) if selection is None else selection.count
    depth = min(RANGE_DEPTH, n_reachable)
    while depth:
        parts = search_vectors(view, [query], depth, selection)[0]
        if depth == n_reachable or _best_unseen(view, query, parts, weights) < min_score:
            rows, scores = merge_vectors(view, query, parts, n_reachable, weights)
            return filter_min_score(in_order(view, rows, scores), min_score)
        depth = min(depth * WIDENING, n_reachable)
    return np.empty(0, np.int64), np.empty(0, np.float32)


def filter_min_score(scored: ScoredRows, min_score: float) -> ScoredRows:
    """Return the rows that score at least `min_score`."""
    rows, scores = scored
    keep = scores.astype(np.float64) >= min_score
    return rows[keep], scores[keep]


def search_vectors(
    view: View,
    queries: Sequence[Query],
    depth: int,
    selection: Selection | None,
    search_scale: float = 1.0,
) -> list[list[ScoredRows]]:
    """Search each named vector once for all the queries that have it.

    Returns
    -------
    list of list of (rows, scores)
        For each query, for each of its named vectors, in the order of the view: shape (depth,), -1
        and -inf where there are no more rows; excluded rows are still among them.
    """
    lists: list[list[ScoredRows]] = [[] for _ in queries]
    k = min(depth, max(len(view), 1))
    for named_vector in view.named_vectors:
        name = named_vector.name
        places = [at for at, query in enumerate(queries) if name in query.vectors]
        if places:
            vectors = [queries[at].vectors[name] for at in places]
            stacked = np.stack(vectors) if len(vectors) > 1 else vectors[0][None]
            scores, rows = view.search(name, stacked, k, selection, search_scale)
            for row, at in enumerate(places):
                lists[at].append((rows[row], scores[row]))
    return lists


def merge_vectors(
    view: View, query: Query, parts: list[ScoredRows], k: int, weights: Mapping[str, float]
) -> ScoredRows:
    """Score the candidates of all named vectors, and return the best k that are not excluded."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if len(query.vectors) == 1:
        rows, scores = parts[0]
        if rows[-1] >= 0 and not len(query.exclude):
            return rows[:k], scores[:k]
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
    """Return the weighted mean of `similarities` over the named vectors, shape (len(rows),)."""
    vector_weights = query.vector_weights(weights)
    total_weight = sum(vector_weights.values())
    scores = [np.empty(0, np.float32)]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        parts = similarities(view, query, rows[start : start + ROWS_AT_ONCE])
        weighted = sum(
            vector_weights[name] * part.astype(np.float64) for name, part in parts.items()
        )
        scores.append(np.asarray(weighted / total_weight, np.float32))
    return np.concatenate(scores)


def similarities(view: View, query: Query, rows: Positions) -> dict[str, FloatArray]:
    """Return the chance-corrected similarity, (n_rows,), by named vector; 0 where absent."""
    means, domains = view.domain_means, view.domain_codes(rows)
    by_vector = {}
    for name, vector in query.vectors.items():
        part = view.vectors(name, rows)
        # An item alone in its domain is the mean of it, and would always score 0.
        chance = (means.vectors[name] @ vector * means.others[name])[domains]
        cosines = inner_products(part.vectors, vector)
        similarity = (cosines - chance) / np.maximum(1.0 - chance, MIN_SPREAD)
        by_vector[name] = np.where(part.present, similarity, 0.0)
    return by_vector


def _best_unseen(
    view: View, query: Query, parts: list[ScoredRows], weights: Mapping[str, float]
) -> float:
    """Return an upper bound of the score of an item that is in none of the lists.

    In a named vector whose last cosine is ``f``, such an item has at most ``f``: with several named
    vectors ``(f - c) / (1 - c)`` for the smallest mean cosine ``c`` of a domain (the expression
    falls as ``c`` grows), or 0 if it lacks the named vector.
    """
    names = [
        named_vector.name
        for named_vector in view.named_vectors
        if named_vector.name in query.vectors
    ]
    last_cosines = [float(scores[-1]) for _, scores in parts]
    if len(names) == 1 or not np.isfinite(last_cosines).any():
        return max(last_cosines)
    vector_weights, total = query.vector_weights(weights), 0.0
    for name, cosine in zip(names, last_cosines, strict=True):
        chance = float((view.domain_means.vectors[name] @ query.vectors[name]).min())
        bound = (cosine - chance) / max(1.0 - chance, MIN_SPREAD)
        total += vector_weights[name] * max(0.0, bound)
    return total / sum(vector_weights.values())


def vectors_of_items(view: View, selections: Sequence[Selection | None]) -> set[str]:
    """Return the named vectors in which one of the selected items has a vector."""
    return {
        named_vector.name
        for named_vector in view.named_vectors
        if any(view.has_vectors(named_vector.name, selection) for selection in selections)
    }


def why_incomparable(
    vectors: Mapping[str, FloatArray], item_vector_names: set[str], space: Path
) -> str:
    """Return why a query cannot find items with some named vectors; empty if it can.

    Parameters
    ----------
    vectors : mapping of str to numpy.ndarray
        Vectors of the query, by named vector.
    item_vector_names : set of str
        The named vectors of the items, see `vectors_of_items`.
    space : Path
        Folder of the space, for the advice.
    """
    if not vectors or not item_vector_names or item_vector_names & vectors.keys():
        return ""
    alignable = "audio" not in {*vectors, *item_vector_names}
    return (
        f"{' and '.join(sorted(vectors))} cannot find these items, which have only "
        f"{' and '.join(sorted(item_vector_names))}: the vectors of encoders that were not aligned "
        "say nothing of each other. "
        + (
            f"Align them with: {command_in(space, 'align --pairs FILES')}"
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
    """Refuse a query without results that has no named vector in common with any item.

    Raises
    ------
    UnsupportedModality
        If that is so.
    """
    reason = why_incomparable(vectors, vectors_of_items(view, selections), space)
    if reason:
        raise UnsupportedModality(reason)

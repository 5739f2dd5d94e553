"""Hybrid search: the ranking by vectors and the ranking by words, fused.

Words are scored by BM25 (Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009), in
the text index of the catalog, or by learned sparse vectors (`second_stage`). The rankings are
fused by reciprocal rank fusion (Cormack, Clarke & Buettcher, SIGIR 2009), which needs no
comparable scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import inner_products
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.text_index import WORD_SCORE
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.query import (
    Query,
    ScoredRows,
    chance_corrected_similarity,
    order_of,
    search_top_k,
    shared_ranks,
)
from isthmus.retrieval.search.request import RankingOptions
from isthmus.schema import ITEM_ID, TEXT

RRF_CONSTANT: Final = 60
OVERSAMPLING: Final = 4
MIN_CANDIDATES: Final = 100
WIDENING: Final = 8
RankWords = Callable[[int, Selection | None], ScoredRows]
FUSED: Final = "hybrid search gives the best k by fused ranks"


def index_text(space: Path, catalog: Catalog, wait_s: float) -> None:
    """Build or update the text index; the catalog is locked meanwhile.

    Raises
    ------
    SpaceLocked
        If another process is still writing to the catalog after `wait_s` seconds.
    """
    with write_lock(space, "catalog", wait_s):
        catalog.index_text()


def index_text_if_free(space: Path, catalog: Catalog) -> None:
    """Build or update the text index, unless it is locked or the folder is read-only.

    The index is a cache: texts that it lacks are searched without it.
    """
    try:
        index_text(space, catalog, 0)
    except OSError:  # SpaceLocked is one
        return


def require_hybrid(text: str | None, bm25_weight: float) -> str:
    """Validate the arguments of a hybrid search, and return its text.

    Raises
    ------
    InvalidInput
        If there is no text, or the weight is negative or not finite.
    """
    if text is None or not text.strip():
        raise InvalidInput("hybrid search compares words; give a text")
    require_weight(bm25_weight)
    return text


def require_weight(bm25_weight: float) -> None:
    """Raise `InvalidInput` if the weight is negative or not finite."""
    if not (np.isfinite(bm25_weight) and bm25_weight >= 0):
        raise InvalidInput(f"bm25_weight is {bm25_weight}; give a number of zero or more")


def require_plain(options: RankingOptions, examples: bool, why: str) -> None:
    """Refuse options that scores of another kind cannot be combined with.

    Raises
    ------
    InvalidInput
        If there are examples, or any option but k and business rules.
    """
    if examples or options.quotas or options.diversity or not options.plainly_scored:
        raise InvalidInput(
            f"{why}; it goes without like, unlike, "
            "min_score, diversity, quotas, normalize_scores, center_scores and hubness_correction"
        )


def search_hybrid(
    view: View,
    query: Query,
    rank_words: RankWords,
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
    words_weight: float,
) -> ScoredRows:
    """Rank items by vectors and by words, and fuse the two rankings.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        The query as vectors.
    rank_words : callable
        Returns the best rows by words, given how many and which rows may be among them.
    k : int
        How many items.
    selection : Selection, optional
        The rows that may be returned by both rankings.
    weights : mapping of str to float
        Weight of each named vector.
    words_weight : float
        Weight of the ranking by words; that of the ranking by vectors is 1.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, shape (at most k,), best first: the fused scores.
    """
    depth = max(OVERSAMPLING * k, MIN_CANDIDATES)
    rankings = [(1.0, *search_top_k(view, [query], depth, selection, weights)[0])]
    if words_weight:
        rankings.append((words_weight, *rank_words(depth, selection)))
    rows, scores = reciprocal_rank_fusion(rankings)
    order = order_of(view, rows, scores)[:k]
    return rows[order], scores[order]


def search_bm25(
    view: View, text: str, depth: int, selection: Selection | None = None
) -> ScoredRows:
    """Rank the living rows that share a word with a text by BM25, at most `depth` of them.

    The filter is applied after the search, which is widened until enough rows pass it.
    """
    passing = (selection or view.living).rows
    limit = depth
    while True:
        matches = view.snapshot.match_words(text, limit)
        rows = view.find(matches.column(ITEM_ID).to_pylist())
        scores = _scores_by_text(matches)
        order = order_of(view, rows, scores)
        rows, scores = rows[order], scores[order]
        keep = (rows >= 0) & passing[rows] if len(passing) else np.zeros(len(rows), bool)
        if keep.sum() >= depth or len(matches) < limit:
            return rows[keep][:depth], np.asarray(scores[keep][:depth], np.float32)
        limit *= WIDENING


def _scores_by_text(matches: pa.Table) -> FloatArray:
    """Return the scores of matches; those of one text get the best of theirs.

    Lance scores by the statistics of a part of the index, and items newer than it by others.
    """
    texts, scores = matches.column(TEXT).to_pylist(), matches.column(WORD_SCORE).to_pylist()
    best: dict[str, float] = {}
    for text, score in zip(texts, scores, strict=True):
        best[text] = max(score, best.get(text, score))
    return np.array([best[text] for text in texts], np.float32)


def reciprocal_rank_fusion(
    rankings: Sequence[tuple[float, npt.NDArray[np.int64], FloatArray]],
) -> ScoredRows:
    """Fuse weighted rankings: an item's score is the sum of weight / (60 + rank).

    Items of one score in a ranking share the best of their ranks, so that equal items stay equal.

    Parameters
    ----------
    rankings : sequence of (weight, rows, scores)
        Best first.

    Returns
    -------
    rows, scores : numpy.ndarray
        int64 and float32, in no order.

    Examples
    --------
    >>> by_vector = (1.0, np.array([7, 8]), np.array([0.9, 0.5]))
    >>> by_words = (1.0, np.array([8, 9]), np.array([3.1, 3.1]))
    >>> rows, scores = reciprocal_rank_fusion([by_vector, by_words])
    >>> rows.tolist(), [f"{score:.4f}" for score in scores]
    ([7, 8, 9], ['0.0164', '0.0325', '0.0164'])
    """
    all_rows = np.concatenate([rows for _, rows, _ in rankings])
    shares = [weight / (RRF_CONSTANT + shared_ranks(scores)) for weight, _, scores in rankings]
    distinct, inverse = np.unique(all_rows, return_inverse=True)
    fused = np.bincount(inverse, np.concatenate(shares), len(distinct))
    return distinct, fused.astype(np.float32)


def hybrid_similarities(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> list[float | None]:
    """Return the scores of n rows by vectors alone; None where an item has none of the query."""
    parts = {name: view.vectors(name, rows) for name in query.vectors}
    present = np.logical_or.reduce([part.present for part in parts.values()])
    if len(parts) == 1:
        name, part = next(iter(parts.items()))
        scores = inner_products(part.vectors, query.vectors[name])
    else:
        scores = chance_corrected_similarity(view, query, rows, weights)
    return [float(score) if has else None for score, has in zip(scores, present, strict=True)]

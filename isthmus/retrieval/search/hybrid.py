"""Hybrid search: the ranking by vectors and the ranking by words (BM25), fused.

Words are scored by BM25 (Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009), in
the text index of the catalog. The rankings are fused by reciprocal rank fusion (Cormack, Clarke &
Buettcher, SIGIR 2009), which needs no comparable scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.lock import write_lock
from isthmus.index.catalog.text_index import WORD_SCORE
from isthmus.index.releases.view import Selection, View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.query import (
    Query,
    ScoredRows,
    chance_corrected_similarity,
    search_top_k,
)
from isthmus.retrieval.search.request import RankingOptions
from isthmus.schema import ITEM_ID

RRF_CONSTANT: Final = 60
OVERSAMPLING: Final = 4
MIN_CANDIDATES: Final = 100
WIDENING: Final = 8


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
    if not (np.isfinite(bm25_weight) and bm25_weight >= 0):
        raise InvalidInput(f"bm25_weight is {bm25_weight}; give a number of zero or more")
    return text


def require_plain(options: RankingOptions, examples: bool) -> None:
    """Refuse options that fused ranks cannot be combined with.

    Raises
    ------
    InvalidInput
        If there are examples, or any option but k.
    """
    if examples or not options.plain:
        raise InvalidInput(
            "hybrid search gives the best k by fused ranks; it goes without like, unlike, "
            "min_score, diversity, quotas, normalize_scores, center_scores and hubness_correction"
        )


def search_hybrid(
    view: View,
    query: Query,
    text: str,
    k: int,
    selection: Selection | None,
    weights: Mapping[str, float],
    bm25_weight: float,
) -> tuple[Positions, FloatArray, list[float | None]]:
    """Rank items by vectors and by words, and fuse the two rankings.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        The query as vectors.
    text : str
        The query as words.
    k : int
        How many items.
    selection : Selection, optional
        The rows that may be returned by both rankings.
    weights : mapping of str to float
        Weight of each named vector.
    bm25_weight : float
        Weight of the ranking by words; that of the ranking by vectors is 1.

    Returns
    -------
    rows : numpy.ndarray
        int64, shape (at most k,), best first.
    scores : numpy.ndarray
        float32, same shape: the fused scores.
    similarities : list of float or None
        The score of a search by vectors alone; None where an item has no vector in the query's
        named vectors.
    """
    depth = max(OVERSAMPLING * k, MIN_CANDIDATES)
    by_vector = search_top_k(view, [query], depth, selection, weights)[0][0]
    by_words = search_bm25(view, text, depth, selection)[0] if bm25_weight else by_vector[:0]
    rows, scores = reciprocal_rank_fusion([(1.0, by_vector), (bm25_weight, by_words)], k)
    return rows, scores, _similarities(view, query, rows, weights)


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
        scores = matches.column(WORD_SCORE).to_numpy()
        order = np.lexsort((rows, -scores))
        rows, scores = rows[order], scores[order]
        keep = (rows >= 0) & passing[rows] if len(passing) else np.zeros(len(rows), bool)
        if keep.sum() >= depth or len(matches) < limit:
            return rows[keep][:depth], np.asarray(scores[keep][:depth], np.float32)
        limit *= WIDENING


def reciprocal_rank_fusion(
    rankings: Sequence[tuple[float, npt.NDArray[np.int64]]], k: int
) -> ScoredRows:
    """Fuse weighted rankings: an item's score is the sum of weight / (60 + rank).

    Items of one score keep the order of the first ranking that has them.

    Examples
    --------
    >>> rows, scores = reciprocal_rank_fusion([(1.0, np.array([7, 8])), (1.0, np.array([8]))], k=2)
    >>> rows.tolist(), [f"{score:.4f}" for score in scores]
    ([8, 7], ['0.0325', '0.0164'])
    """
    all_rows = np.concatenate([rows for _, rows in rankings])
    shares = [w / (RRF_CONSTANT + np.arange(1, len(rows) + 1)) for w, rows in rankings]
    distinct, first, inverse = np.unique(all_rows, return_index=True, return_inverse=True)
    scores = np.bincount(inverse, np.concatenate(shares), len(distinct))
    order = np.lexsort((first, -scores))[:k]
    return distinct[order], scores[order].astype(np.float32)


def _similarities(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> list[float | None]:
    parts = {name: view.vectors(name, rows) for name in query.vectors}
    present = np.logical_or.reduce([part.present for part in parts.values()])
    if len(parts) == 1:
        name, part = next(iter(parts.items()))
        scores = part.vectors @ query.vectors[name]
    else:
        scores = chance_corrected_similarity(view, query, rows, weights)
    return [float(score) if has else None for score, has in zip(scores, present, strict=True)]

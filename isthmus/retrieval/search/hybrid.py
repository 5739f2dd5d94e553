"""Hybrid search: the ranking by vectors and the ranking by words, fused.

Words are scored by BM25 (Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009), in
the catalog's own index of words. The rankings are joined by reciprocal rank fusion (Cormack,
Clarke & Buettcher, SIGIR 2009), which needs no scores that can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.index.ann.exact import Positions
from isthmus.index.catalog.catalog import Catalog
from isthmus.index.catalog.lock import writing
from isthmus.index.catalog.text_index import WORD_SCORE
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import (
    Query,
    ScoredRows,
    chance_corrected_similarity,
    search_top_k,
)
from isthmus.retrieval.search.ranking import RankingOptions
from isthmus.schema import ITEM_ID

RRF_CONSTANT = 60
CANDIDATES_A_RESULT = 4
FEWEST_CANDIDATES = 100
WIDEN = 8


def index_text(space: Path, catalog: Catalog, wait_s: float) -> None:
    """Make the index of words, or bring it up to date; the catalog is locked meanwhile.

    Raises
    ------
    SpaceLocked
        If somebody is still writing to the catalog after `wait_s` seconds.
    """
    with writing(space, "catalog", wait_s):
        catalog.index_text()


def index_text_if_free(space: Path, catalog: Catalog) -> None:
    """Do as `index_text`, unless somebody is writing or the folder cannot be written.

    The index is a cache: what it lacks is read from the texts themselves.
    """
    try:
        index_text(space, catalog, 0)
    except OSError:  # SpaceLocked is one
        return


def require_hybrid(text: str | None, lexical_weight: float) -> str:
    """Check the arguments of a hybrid search, and give its text.

    Raises
    ------
    InvalidInput
        If there is no text, or the weight is negative or not finite.
    """
    if text is None or not text.strip():
        raise InvalidInput("hybrid search compares words; give a text")
    if not (np.isfinite(lexical_weight) and lexical_weight >= 0):
        raise InvalidInput(f"lexical_weight is {lexical_weight}; give a number of zero or more")
    return text


def require_plain(ranking: RankingOptions, examples: bool) -> None:
    """Refuse what fused ranks cannot be combined with.

    Raises
    ------
    InvalidInput
        If anything but the best k is asked for.
    """
    if examples or not ranking.plain:
        raise InvalidInput(
            "hybrid search gives the best k by fused ranks; it goes without like, unlike, "
            "min_score, diversity, quotas, calibrate, center and hubness"
        )


def search_hybrid(
    view: View,
    query: Query,
    text: str,
    k: int,
    allowed: Selection | None,
    weights: Mapping[str, float],
    lexical_weight: float,
) -> tuple[Positions, FloatArray, list[float | None]]:
    """Rank items by vectors and by words, and fuse the two rankings.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for, as vectors.
    text : str
        What is looked for, as words.
    k : int
        How many items.
    allowed : Selection, optional
        The rows of the view; holds for both rankings.
    weights : mapping of str to float
        Weight of each named vector.
    lexical_weight : float
        Weight of the ranking by words; that of the ranking by vectors is 1.

    Returns
    -------
    rows : numpy.ndarray
        int64, shape (at most k,), best first.
    scores : numpy.ndarray
        float32, same shape: the fused scores.
    similarities : list of float or None
        The score that a search by vectors alone gives; None where an item has no vector in the
        query's named vectors.
    """
    depth = max(CANDIDATES_A_RESULT * k, FEWEST_CANDIDATES)
    by_vector = search_top_k(view, [query], depth, allowed, weights)[0][0]
    by_words = search_bm25(view, text, depth, allowed)[0] if lexical_weight else by_vector[:0]
    rows, scores = reciprocal_rank_fusion([(1.0, by_vector), (lexical_weight, by_words)], k)
    return rows, scores, _similarities(view, query, rows, weights)


def search_bm25(view: View, text: str, depth: int, allowed: Selection | None = None) -> ScoredRows:
    """Rank the living rows that share a word with a text by BM25, at most `depth` of them.

    Filters hold after the search: candidates are added until enough of them get through.
    """
    passing = (allowed or view.living).rows
    reach = depth
    while True:
        found = view.snapshot.match_words(text, reach)
        rows = view.find(found.column(ITEM_ID).to_pylist())
        scores = found.column(WORD_SCORE).to_numpy()
        order = np.lexsort((rows, -scores))
        rows, scores = rows[order], scores[order]
        keep = (rows >= 0) & passing[rows] if len(passing) else np.zeros(len(rows), bool)
        if keep.sum() >= depth or len(found) < reach:
            return rows[keep][:depth], np.asarray(scores[keep][:depth], np.float32)
        reach *= WIDEN


def reciprocal_rank_fusion(
    rankings: Sequence[tuple[float, npt.NDArray[np.int64]]], k: int
) -> ScoredRows:
    """Fuse weighted rankings: an item's score is the sum of weight / (60 + rank).

    Items of one score stand in the order of the first ranking that has them.

    Examples
    --------
    >>> rows, scores = fuse_rankings([(1.0, np.array([7, 8])), (1.0, np.array([8]))], k=2)
    >>> rows.tolist(), [f"{score:.4f}" for score in scores]
    ([8, 7], ['0.0325', '0.0164'])
    """
    everything = np.concatenate([rows for _, rows in rankings])
    shares = [w / (RRF_CONSTANT + np.arange(1, len(rows) + 1)) for w, rows in rankings]
    distinct, first, at = np.unique(everything, return_index=True, return_inverse=True)
    scores = np.bincount(at, np.concatenate(shares), len(distinct))
    order = np.lexsort((first, -scores))[:k]
    return distinct[order], scores[order].astype(np.float32)


def _similarities(
    view: View, query: Query, rows: Positions, weights: Mapping[str, float]
) -> list[float | None]:
    parts = {name: view.vectors(name, rows) for name in query.vectors}
    known = np.logical_or.reduce([part.present for part in parts.values()])
    if len(parts) == 1:
        name, part = next(iter(parts.items()))
        scores = part.vectors @ query.vectors[name]
    else:
        scores = chance_corrected_similarity(view, query, rows, weights)
    return [float(s) if there else None for s, there in zip(scores, known, strict=True)]

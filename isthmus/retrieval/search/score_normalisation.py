"""Score normalisation: scores that mean the same in every domain.

Cosines of one query lie higher, or spread wider, in one domain than in another, for reasons of
style, length or language and not of relevance: its best items crowd out those of the others. The
standard score ``z = (s - mean_d) / std_d`` says how far an item stands out from what the query
scores in the item's own domain (zero mean, unit variance: Montague and Aslam, "Relevance Score
Normalization for Metasearch", CIKM 2001). The chance-corrected similarity ``(s - c) / (1 - c)``,
which makes named vectors comparable within one query, corrects the mean alone, and a domain that
spreads wider would still win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray, Positions
from isthmus.retrieval.search.query import Query, chance_corrected_similarity

SAMPLE_SIZE: Final = 2_000
PRIOR_ITEMS: Final = 10
MIN_STD: Final = 1e-4


@dataclass(frozen=True)
class ScoreDistribution:
    """Mean and standard deviation of a query's scores in a domain."""

    mean: float
    std: float

    def standardize(self, scores: FloatArray) -> FloatArray:
        """Return scores in standard deviations above the domain's mean, same shape."""
        return np.asarray((scores.astype(np.float64) - self.mean) / self.std, np.float32)

    def unstandardize(self, z: float) -> float:
        """Return the score that is `z` standard deviations above the mean."""
        return self.mean + z * self.std


def score_distributions(
    view: View, query: Query, domains: Sequence[str], weights: Mapping[str, float]
) -> dict[str, ScoreDistribution]:
    """Measure the mean and spread of a query's scores in each domain, whatever the filter.

    Of large domains, a fixed sample of 2,000 items is measured. The estimates are shrunk: each
    domain counts as if it held ten items more that score as the mean domain does, so that a
    domain of one item is judged as an ordinary one.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        The query.
    domains : sequence of str
        Which domains.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    dict of str to ScoreDistribution
        For each domain.
    """
    by_domain = {name: _scores(view, query, _sample(view, name), weights) for name in domains}
    not_empty = [scores for scores in by_domain.values() if len(scores)]
    if not not_empty:
        return dict.fromkeys(domains, ScoreDistribution(0.0, 1.0))
    mean = float(np.mean([scores.mean() for scores in not_empty]))
    variance = float(np.mean([scores.var() for scores in not_empty]))
    return {name: _shrink(scores, mean, variance) for name, scores in by_domain.items()}


def _shrink(scores: FloatArray, prior_mean: float, prior_variance: float) -> ScoreDistribution:
    n = len(scores)
    mean, variance = (scores.mean(), scores.var()) if n else (0.0, 0.0)
    std = np.sqrt((n * variance + PRIOR_ITEMS * prior_variance) / (n + PRIOR_ITEMS))
    mean = float((n * mean + PRIOR_ITEMS * prior_mean) / (n + PRIOR_ITEMS))
    return ScoreDistribution(mean, max(float(std), MIN_STD))


def _sample(view: View, domain: str) -> Positions:
    rows = np.flatnonzero((view.select([domain]) or view.living).rows)
    if len(rows) <= SAMPLE_SIZE:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, SAMPLE_SIZE, replace=False))


def _scores(view: View, query: Query, rows: Positions, weights: Mapping[str, float]) -> FloatArray:
    """Score the rows that have a vector, as `search_top_k` does, in float64."""
    if len(query.vectors) > 1:
        return chance_corrected_similarity(view, query, rows, weights).astype(np.float64)
    [(name, vector)] = query.vectors.items()
    part = view.vectors(name, rows)
    return (part.vectors[part.present] @ vector).astype(np.float64)

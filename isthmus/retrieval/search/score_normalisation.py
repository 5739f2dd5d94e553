"""Calibration: scores that mean the same in every domain.

Cosines of one query lie higher, or spread wider, in one domain than in another, for reasons of
style, length or language and not of relevance: its best items crowd out those of the others.
The standard score ``z = (s - mean_d) / std_d`` says how far an item stands out from what the
query scores in the item's own domain (zero mean, unit variance: Montague and Aslam, "Relevance
Score Normalization for Metasearch", CIKM 2001). The adjusted similarity ``(s - c) / (1 - c)``,
which makes named vectors comparable within one query, corrects the mean alone, and a domain that
spreads wider would still win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import Query, chance_corrected_similarity

SAMPLE = 2_000
PRIOR = 10
LEAST_STD = 1e-4


@dataclass(frozen=True)
class ScoreDistribution:
    """What a query scores in a domain by chance.

    Attributes
    ----------
    mean, std : float
        Of the scores.
    """

    mean: float
    std: float

    def calibrate(self, scores: FloatArray) -> FloatArray:
        """Turn scores into standard deviations above the domain's mean, same shape."""
        return np.asarray((scores.astype(np.float64) - self.mean) / self.std, np.float32)

    def raw(self, calibrated: float) -> float:
        """Give the score that calibrates to a number."""
        return self.mean + calibrated * self.std


def score_distributions(
    view: View, query: Query, domains: Sequence[str], weights: Mapping[str, float]
) -> dict[str, ScoreDistribution]:
    """Measure the mean and spread of a query's scores in each domain, whatever the filter.

    Of large domains, a fixed sample of 2,000 items is measured. Few items tell little of their
    domain: each one counts as if it held ten items more that score as the mean domain does, so
    that a domain of one item is judged as an ordinary one.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    domains : sequence of str
        Which domains.
    weights : mapping of str to float
        Weight of each named vector.

    Returns
    -------
    dict of str to Chance
        For each domain.
    """
    scores = {name: _scores(view, query, _sample(view, name), weights) for name in domains}
    scored = [own for own in scores.values() if len(own)]
    if not scored:
        return dict.fromkeys(domains, ScoreDistribution(0.0, 1.0))
    mean = float(np.mean([own.mean() for own in scored]))
    variance = float(np.mean([own.var() for own in scored]))
    return {name: _shrunk(own, mean, variance) for name, own in scores.items()}


def _shrunk(scores: FloatArray, mean: float, variance: float) -> ScoreDistribution:
    n = len(scores)
    own_mean, own_variance = (scores.mean(), scores.var()) if n else (0.0, 0.0)
    std = np.sqrt((n * own_variance + PRIOR * variance) / (n + PRIOR))
    return ScoreDistribution(
        float((n * own_mean + PRIOR * mean) / (n + PRIOR)), max(float(std), LEAST_STD)
    )


def _sample(view: View, domain: str) -> Positions:
    rows = np.flatnonzero((view.select([domain]) or view.living).rows)
    if len(rows) <= SAMPLE:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))


def _scores(view: View, query: Query, rows: Positions, weights: Mapping[str, float]) -> FloatArray:
    """Score those of the rows that can be scored, as `search_top_k` does, in float64."""
    if len(query.vectors) > 1:
        return chance_corrected_similarity(view, query, rows, weights).astype(np.float64)
    [(name, vector)] = query.vectors.items()
    part = view.vectors(name, rows)
    return (part.vectors[part.present] @ vector).astype(np.float64)

"""The mean of all ratings, and how far each domain lies from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings


@dataclass(frozen=True)
class Levels:
    """What is expected of a rating when its item's domain alone is known.

    Attributes
    ----------
    mean : float
        Of all ratings.
    offsets : numpy.ndarray
        float64, shape (n_domains,): what is added for each domain.
    """

    mean: float
    offsets: Floats

    @classmethod
    def fit(cls, ratings: Ratings, domains: Codes) -> Levels:
        """Learn from ratings; the domain of each item is a code from 0.

        The offsets are shrunk by empirical Bayes: ``t² / (t² + e_d²)`` of what was seen stays,
        with ``e_d`` the standard error of a domain's mean over its items and ``t²`` the variance
        between domains beyond it (DerSimonian and Laird's moments, equal weights). A domain
        without ratings stays at the mean of all.
        """
        mean = float(ratings.values.mean())
        count = int(domains.max(initial=-1)) + 1
        rated = np.flatnonzero(ratings.by_item)
        sums = np.bincount(ratings.columns, ratings.values - mean, ratings.shape[1])[rated]
        own, of = sums / ratings.by_item[rated], domains[rated]
        items = np.bincount(of, minlength=count)
        centres = np.bincount(of, own, count) / np.maximum(items, 1)
        freedom = len(rated) - int((items > 0).sum())
        within = float(((own - centres[of]) ** 2).sum()) / freedom if freedom > 0 else 0.0
        there = items > 0
        errors = within / np.maximum(items, 1)
        seen = _means_by_domain(ratings, domains, mean, count)
        if there.sum() < 2:
            return cls(mean, np.zeros(count))
        between = max(float((seen[there] ** 2).mean() - errors[there].mean()), 0.0)
        kept = between / np.maximum(between + errors, 1e-12)
        return cls(mean, np.where(there, kept * seen, 0.0))

    def of(self, domains: Codes) -> Floats:
        """Give the offset of each domain code; of a code never seen, 0."""
        known = domains < len(self.offsets)
        return np.where(known, np.append(self.offsets, 0.0)[np.where(known, domains, -1)], 0.0)


def _means_by_domain(ratings: Ratings, domains: Codes, mean: float, count: int) -> Floats:
    of = domains[ratings.columns]
    sums = np.bincount(of, ratings.values - mean, count)
    return np.asarray(sums / np.maximum(np.bincount(of, minlength=count), 1), np.float64)

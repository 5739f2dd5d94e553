"""The parts that a prediction is the sum of, before they are weighed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from isthmus.retrieval.ratings.content import Features, unit
from isthmus.retrieval.ratings.factors import Factors, Users, solve_users
from isthmus.retrieval.ratings.neighbours import Asked, CoRatings, Neighbours, NeighbourSettings
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

PARTS = ("content", "item", "user", "factors", "neighbours")
EVIDENCE = (
    "ratings of the user",
    "ratings of the item",
    "variance of the user",
    "variance of the item",
    "closeness of the user",
    "similarity found",
    "content there",
)


@dataclass(frozen=True)
class Settings:
    """What is chosen by cross-validation.

    Attributes
    ----------
    factors : int
        Number of factors.
    features : int
        Components of the content that the prior of items reads.
    neighbours : NeighbourSettings
        How neighbours are weighed.
    """

    factors: int = 4
    features: int = 64
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)


@dataclass(frozen=True)
class Items:
    """What is known of items beside ratings.

    Attributes
    ----------
    features : numpy.ndarray
        float32, shape (n_items, n_features): content, zeros where there is none.
    domains : numpy.ndarray
        int64, shape (n_items,): code of the domain.
    """

    features: Features
    domains: Codes

    def __len__(self) -> int:
        return len(self.domains)


@dataclass(frozen=True)
class Parts:
    """What each part says of some pairs, in standard deviations of the ratings.

    Attributes
    ----------
    level : numpy.ndarray
        float64, shape (n,): what the domain adds to the mean of all.
    values : numpy.ndarray
        float64, shape (n, len(PARTS)).
    evidence : numpy.ndarray
        float64, shape (n, len(EVIDENCE)): how much each rests on.
    domains : numpy.ndarray
        int64, shape (n,): the domain of the item.
    """

    level: Floats
    values: Floats
    evidence: Floats
    domains: Codes

    @property
    def sums(self) -> Floats:
        """The sum of all parts, each at weight 1."""
        return np.asarray(self.level + self.values.sum(axis=1), np.float64)


@dataclass(frozen=True)
class PartModel:
    """Levels, factors and neighbours, learned from one set of ratings.

    Attributes
    ----------
    levels : Levels
        Of domains, in ratings.
    deviation : float
        The standard deviation of the ratings: all else is in units of it.
    counts : numpy.ndarray
        int64, shape (n_items,): ratings of each item.
    factors : Factors
        Deviations and factors of items.
    neighbours : Neighbours
        Similarities of items.
    items : Items
        Content and domains.
    """

    levels: Levels
    deviation: float
    counts: Codes
    factors: Factors
    neighbours: Neighbours
    items: Items

    @classmethod
    def fit(cls, ratings: Ratings, items: Items, settings: Settings, seed: int) -> PartModel:
        """Learn from ratings in their own scale."""
        levels, deviation, centred = standardised(ratings, items)
        features = items.features[:, : settings.features]
        factors = Factors.fit(centred, features, settings.factors, seed)
        co_ratings = CoRatings.fit(user_residuals(factors, centred))
        shrink = settings.neighbours.shrink
        neighbours = Neighbours(settings.neighbours, co_ratings.similarities(shrink))
        return cls(levels, deviation, ratings.by_item, factors, neighbours, items)

    def parts(self, histories: Ratings, asked: Asked) -> Parts:
        """Give what each part says of asked pairs to users known by these histories alone.

        The cost follows from the items that histories and questions name, not from all there are.
        """
        named = np.concatenate([histories.columns, asked.columns])
        near, places = np.unique(named, return_inverse=True)
        known, shape = len(histories), (histories.shape[0], len(near))
        return self._only(near)._parts(
            Ratings(histories.rows, places[:known], histories.values, shape),
            Asked(asked.rows, places[known:]),
        )

    def _only(self, columns: Codes) -> PartModel:
        return replace(
            self,
            counts=self.counts[columns],
            factors=self.factors.only(columns),
            neighbours=self.neighbours.only(columns),
            items=Items(self.items.features[columns], self.items.domains[columns]),
        )

    def _parts(self, histories: Ratings, asked: Asked) -> Parts:
        centred = centre(histories, self.items, self.levels, self.deviation)
        moments = self.factors.items
        users = solve_users(centred, moments, self.factors.noise)
        residuals = centred.values - expected(moments.means, users, centred.rows, centred.columns)
        lean, similarity = self.neighbours.lean(
            centred, residuals, asked, unit(self.items.features)
        )
        rows, columns = asked
        tastes, own = users.moments.means[rows], moments.means[columns]
        prior = self._prior(columns)
        values = np.stack(
            [prior, own[:, 0] - prior, tastes[:, 0], _dot(tastes[:, 1:], own[:, 1:]), lean], axis=1
        )
        domains = self.items.domains[columns]
        level = self.levels.of(domains) / self.deviation
        evidence = self._evidence(histories, asked, users, similarity)
        return Parts(level, values, evidence, domains)

    def extended(self, new: Items) -> PartModel:
        """Append items without ratings."""
        items = Items(
            np.concatenate([self.items.features, new.features]),
            np.concatenate([self.items.domains, new.domains]),
        )
        features = new.features[:, : len(self.factors.weights)]
        return replace(
            self,
            counts=np.concatenate([self.counts, np.zeros(len(new), np.int64)]),
            factors=self.factors.extended(features),
            neighbours=self.neighbours.extended(len(items)),
            items=items,
        )

    def _prior(self, columns: Codes) -> Floats:
        weights = self.factors.weights[:, 0]
        features = self.items.features[columns, : len(weights)]
        return np.asarray(features.astype(np.float64) @ weights, np.float64)

    def _evidence(
        self, histories: Ratings, asked: Asked, users: Users, similarity: Floats
    ) -> Floats:
        rows, columns = asked
        moments, people = self.factors.items[columns], users.moments
        mine, its = moments.design, people.design[rows]
        user_variance = np.einsum("nk,nkl,nl->n", mine, people.covariances[rows], mine)
        item_variance = np.einsum("nk,nkl,nl->n", its, moments.covariances, its)
        return np.stack(
            [
                np.log1p(histories.by_user[rows]),
                np.log1p(self.counts[columns]),
                user_variance,
                item_variance,
                np.log(users.closeness[rows]),
                np.log1p(similarity),
                self.items.features[columns].any(axis=1).astype(np.float64),
            ],
            axis=1,
        )


def standardised(ratings: Ratings, items: Items) -> tuple[Levels, float, Ratings]:
    """Give levels, the standard deviation, and ratings less their level in units of it."""
    levels = Levels.fit(ratings, items.domains)
    deviation = float(ratings.values.std()) or 1.0
    return levels, deviation, centre(ratings, items, levels, deviation)


def centre(ratings: Ratings, items: Items, levels: Levels, deviation: float) -> Ratings:
    """Give ratings less the level of their domain, in standard deviations."""
    level = levels.mean + levels.of(items.domains)[ratings.columns]
    values = (ratings.values - level) / deviation
    return Ratings(ratings.rows, ratings.columns, values, ratings.shape)


def expected(means: Floats, users: Users, rows: Codes, columns: Codes) -> Floats:
    """Give what factors expect of pairs."""
    tastes, own = users.moments.means[rows], means[columns]
    return np.asarray(tastes[:, 0] + own[:, 0] + _dot(tastes[:, 1:], own[:, 1:]), np.float64)


def user_residuals(factors: Factors, centred: Ratings) -> Ratings:
    """Give how far the ratings are from what factors expect, in each user's deviations."""
    users = solve_users(centred, factors.items, factors.noise)
    off = centred.values - expected(factors.items.means, users, centred.rows, centred.columns)
    scale = np.sqrt(users.closeness[centred.rows] / factors.noise.variance)
    return Ratings(centred.rows, centred.columns, off * scale, centred.shape)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray((a * b).sum(axis=1), np.float64)


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

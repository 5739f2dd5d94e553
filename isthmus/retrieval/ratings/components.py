"""The components that a prediction is the sum of, before they are weighted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from isthmus.retrieval.ratings.content import Features, unit_rows
from isthmus.retrieval.ratings.factors import FactorModel, UserPosteriors
from isthmus.retrieval.ratings.neighbours import CoRatings, Neighbours, NeighbourSettings, Pairs
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

COMPONENTS = ("content", "item", "user", "factors", "neighbours")
ITEM_COMPONENTS = ("content", "item")  # those that do not depend on the user
USER_RATINGS = "ratings of the user"
EVIDENCE = (
    USER_RATINGS,
    "ratings of the item",
    "variance of the user",
    "variance of the item",
    "precision of the user",
    "similarity of neighbours",
    "item has content",
)


@dataclass(frozen=True)
class RatingSettings:
    """Hyperparameters, chosen by cross-validation.

    Attributes
    ----------
    factors : int
        Number of factors.
    features : int
        Number of content features that the prior of items uses.
    neighbours : NeighbourSettings
        Hyperparameters of the item neighbours.
    """

    factors: int = 4
    features: int = 64
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)


@dataclass(frozen=True)
class Items:
    """What is known of items apart from ratings.

    Attributes
    ----------
    features : numpy.ndarray
        float32, shape (n_items, n_features): content features, zeros where there is no content.
    domains : numpy.ndarray
        int64, shape (n_items,): code of the domain.
    """

    features: Features
    domains: Codes

    def __len__(self) -> int:
        return len(self.domains)


@dataclass(frozen=True)
class Biases:
    """The mean of all ratings, and the bias of each domain.

    Attributes
    ----------
    mean : float
        Mean of all ratings.
    domains : numpy.ndarray
        float64, shape (n_domains,): bias of each domain.
    """

    mean: float
    domains: Floats

    @classmethod
    def fit(cls, ratings: Ratings, domains: Codes) -> Biases:
        """Learn from ratings; the domain of each item is a code from 0.

        The biases are shrunk by empirical Bayes: the observed mean of domain d is multiplied by
        ``t² / (t² + e_d²)``, with ``e_d`` the standard error of the mean over the items of the
        domain and ``t²`` the variance between domains beyond it (moments of DerSimonian and Laird,
        equal weights). A domain without ratings has the bias 0.
        """
        mean = float(ratings.values.mean())
        n_domains = int(domains.max(initial=-1)) + 1
        rated = np.flatnonzero(ratings.item_counts)
        sums = np.bincount(ratings.columns, ratings.values - mean, ratings.shape[1])[rated]
        item_means, of = sums / ratings.item_counts[rated], domains[rated]
        n_items = np.bincount(of, minlength=n_domains)
        centres = np.bincount(of, item_means, n_domains) / np.maximum(n_items, 1)
        freedom = len(rated) - int((n_items > 0).sum())
        residual = float(((item_means - centres[of]) ** 2).sum())
        within = residual / freedom if freedom > 0 else 0.0
        present = n_items > 0
        errors = within / np.maximum(n_items, 1)
        observed = _domain_means(ratings, domains, mean, n_domains)
        if present.sum() < 2:
            return cls(mean, np.zeros(n_domains))
        between = max(float((observed[present] ** 2).mean() - errors[present].mean()), 0.0)
        shrinkage = between / np.maximum(between + errors, 1e-12)
        return cls(mean, np.where(present, shrinkage * observed, 0.0))

    def of(self, domains: Codes) -> Floats:
        """Return the bias of domain codes; 0 for an unknown code."""
        known = domains < len(self.domains)
        return np.where(known, np.append(self.domains, 0.0)[np.where(known, domains, -1)], 0.0)


def _domain_means(ratings: Ratings, domains: Codes, mean: float, n_domains: int) -> Floats:
    of = domains[ratings.columns]
    sums = np.bincount(of, ratings.values - mean, n_domains)
    return np.asarray(sums / np.maximum(np.bincount(of, minlength=n_domains), 1), np.float64)


@dataclass(frozen=True)
class Scale:
    """How ratings are standardised: by the bias of their domain, and one standard deviation.

    Attributes
    ----------
    biases : Biases
        Biases of the domains, in ratings.
    deviation : float
        Standard deviation of the ratings; everything else is in units of it.
    """

    biases: Biases
    deviation: float

    @classmethod
    def fit(cls, ratings: Ratings, items: Items) -> Scale:
        """Learn from ratings."""
        return cls(Biases.fit(ratings, items.domains), float(ratings.values.std()) or 1.0)

    def standardise(self, values: Floats, domains: Codes) -> Floats:
        """Return ratings minus the bias of their domain, in standard deviations."""
        bias = self.biases.mean + self.biases.of(domains)
        return np.asarray((values - bias) / self.deviation, np.float64)

    def standardised(self, ratings: Ratings, items: Items) -> Ratings:
        """Return the ratings of a table, standardised."""
        domains = items.domains[ratings.columns]
        return ratings.with_values(self.standardise(ratings.values, domains))


@dataclass(frozen=True)
class Components:
    """The components of the predictions of some pairs, in standard deviations.

    Attributes
    ----------
    bias : numpy.ndarray
        float64, shape (n,): bias of the domain.
    values : numpy.ndarray
        float64, shape (n, len(COMPONENTS)).
    evidence : numpy.ndarray
        float64, shape (n, len(EVIDENCE)): what each component rests on.
    domains : numpy.ndarray
        int64, shape (n,): domain of the item.
    """

    bias: Floats
    values: Floats
    evidence: Floats
    domains: Codes

    def __getitem__(self, rows: Codes) -> Components:
        return Components(
            self.bias[rows], self.values[rows], self.evidence[rows], self.domains[rows]
        )

    @property
    def sums(self) -> Floats:
        """The sum of all components, each with weight 1, shape (n,)."""
        return np.asarray(self.bias + self.values.sum(axis=1), np.float64)


@dataclass(frozen=True)
class ComponentModel:
    """Biases, factors and neighbours, learned from one set of ratings.

    Attributes
    ----------
    scale : Scale
        Standardisation of ratings.
    counts : numpy.ndarray
        int64, shape (n_items,): number of ratings of each item.
    factors : FactorModel
        Biases and factors of items.
    neighbours : Neighbours
        Similarities of items.
    items : Items
        Content and domains.
    """

    scale: Scale
    counts: Codes
    factors: FactorModel
    neighbours: Neighbours
    items: Items

    @classmethod
    def fit(
        cls, ratings: Ratings, items: Items, settings: RatingSettings, seed: int
    ) -> ComponentModel:
        """Learn from ratings in their own scale."""
        scale = Scale.fit(ratings, items)
        standardised = scale.standardised(ratings, items)
        features = items.features[:, : settings.features]
        factors = FactorModel.fit(standardised, features, settings.factors, seed)
        co_ratings = CoRatings.fit(scaled_residuals(factors, standardised))
        shrink = settings.neighbours.shrink
        neighbours = Neighbours(settings.neighbours, co_ratings.similarities(shrink))
        return cls(scale, ratings.item_counts, factors, neighbours, items)

    def components(self, histories: Ratings, pairs: Pairs) -> Components:
        """Return the components of pairs, for users known by these histories alone.

        The cost depends on the items of the histories and pairs, not on the number of all items.
        """
        named = np.concatenate([histories.columns, pairs.columns])
        used, places = np.unique(named, return_inverse=True)
        n, shape = len(histories), (histories.shape[0], len(used))
        return self._take_items(used)._components(
            Ratings(histories.rows, places[:n], histories.values, shape),
            Pairs(pairs.rows, places[n:]),
        )

    def extended(self, new: Items) -> ComponentModel:
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

    def _take_items(self, columns: Codes) -> ComponentModel:
        return replace(
            self,
            counts=self.counts[columns],
            factors=self.factors.take_items(columns),
            neighbours=self.neighbours.take_items(columns),
            items=Items(self.items.features[columns], self.items.domains[columns]),
        )

    def _components(self, histories: Ratings, pairs: Pairs) -> Components:
        standardised = self.scale.standardised(histories, self.items)
        users = self.factors.users(standardised)
        expected = self.factors.expected(users, standardised.rows, standardised.columns)
        neighbour_residuals, similarity = self.neighbours.residuals(
            standardised, standardised.values - expected, pairs, unit_rows(self.items.features)
        )
        rows, columns = pairs
        of_users = users.parameters.means[rows]  # (n, k + 1)
        of_items = self.factors.items.means[columns]
        prior = self._item_prior(columns)
        values = np.stack(
            [
                prior,
                of_items[:, 0] - prior,
                of_users[:, 0],
                (of_users[:, 1:] * of_items[:, 1:]).sum(axis=1),
                neighbour_residuals,
            ],
            axis=1,
        )
        domains = self.items.domains[columns]
        bias = self.scale.biases.of(domains) / self.scale.deviation
        return Components(
            bias, values, self._evidence(histories, pairs, users, similarity), domains
        )

    def _item_prior(self, columns: Codes) -> Floats:
        """Return the biases of items that their content predicts, shape (n,)."""
        weights = self.factors.weights[:, 0]
        features = self.items.features[columns, : len(weights)]
        return np.asarray(features.astype(np.float64) @ weights, np.float64)

    def _evidence(
        self, histories: Ratings, pairs: Pairs, users: UserPosteriors, similarity: Floats
    ) -> Floats:
        """Return what the components of each pair rest on, see `EVIDENCE`."""
        rows, columns = pairs
        of_items, of_users = self.factors.items[columns], users.parameters
        item_design, user_design = of_items.design, of_users.design[rows]
        user_variance = np.einsum(
            "nk,nkl,nl->n", item_design, of_users.covariances[rows], item_design
        )
        item_variance = np.einsum("nk,nkl,nl->n", user_design, of_items.covariances, user_design)
        return np.stack(
            [
                np.log1p(histories.user_counts[rows]),
                np.log1p(self.counts[columns]),
                user_variance,
                item_variance,
                np.log(users.precisions[rows]),
                np.log1p(similarity),
                self.items.features[columns].any(axis=1).astype(np.float64),
            ],
            axis=1,
        )


def scaled_residuals(factors: FactorModel, standardised: Ratings) -> Ratings:
    """Return the residuals of a factor model, in standard deviations of each user."""
    users = factors.users(standardised)
    expected = factors.expected(users, standardised.rows, standardised.columns)
    precisions = users.precisions[standardised.rows]
    scale = np.sqrt(precisions / factors.user_prior.noise_variance)
    return standardised.with_values((standardised.values - expected) * scale)

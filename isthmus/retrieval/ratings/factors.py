"""Deviations and factors of users and items, by variational Bayes, with content as the prior.

A rating is ``b_u + b_i + p_u . q_i`` plus noise, beyond what its domain has. An item's
``(b_i, q_i)`` has the prior ``N(W' x_i, V)`` with x_i its content, a user's the prior ``N(0, L)``.
W, V, L and the noise are learned with the rest by expectation and maximisation, so there is no
ridge to set: how much is believed of a user or an item follows from how much is known of them.

After Lim and Teh, *Variational Bayesian approach to movie rating prediction* (KDD Cup 2007), with
full prior covariances, priors from content (as Agarwal and Chen, *Regression-based latent factor
models*, KDD 2009), and a precision of each user's own (Lakshminarayanan et al., *Robust Bayesian
matrix factorisation*, AISTATS 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from isthmus.retrieval.ratings.content import Features
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings
from isthmus.retrieval.ratings.regression import ContentPrior
from isthmus.retrieval.ratings.users import Moments, Noise, Users, gather, solve_users

SWEEPS = 30
ENOUGH = 1e-4
SAMENESS = 10.0
FIRST_NOISE = 0.3
FIRST_DEVIATION, FIRST_TASTE, FIRST_FACTOR = 0.2, 1.0, 0.1


@dataclass(frozen=True)
class Factors:
    """What is known of items and of users in general.

    Attributes
    ----------
    means : numpy.ndarray
        float32, shape (n_items, k + 1): deviation and factors of items.
    covariances : numpy.ndarray
        float32, shape (n_items, k + 1, k + 1).
    weights : numpy.ndarray
        float64, shape (n_features, k + 1): W, from content to the prior mean.
    spread : numpy.ndarray
        float64, shape (k + 1, k + 1): V, of items around it.
    noise : Noise
        Of users.
    """

    means: Features
    covariances: Features
    weights: Floats
    spread: Floats
    noise: Noise

    @classmethod
    def fit(cls, ratings: Ratings, features: Features, count: int, seed: int) -> Factors:
        """Learn from ratings.

        Parameters
        ----------
        ratings : Ratings
            Values less what is expected of the domain, in standard deviations.
        features : numpy.ndarray
            float32, shape (n_items, n_features): content.
        count : int
            Number of factors, 0 or more.
        seed : int
            Of where the search starts.
        """
        items = ratings.shape[1]
        rated = np.flatnonzero(ratings.by_item)
        prior = ContentPrior(features[rated].astype(np.float64), count + 1)
        state = _start(ratings, count, seed)
        expected, previous = np.zeros((items, count + 1)), np.inf
        for _ in range(SWEEPS):
            people = solve_users(ratings, state.items, state.noise)
            found = _solve_items(ratings, people, state, expected)
            weights = prior.fit(found.means[rated], np.diag(state.spread))
            expected = features.astype(np.float64) @ weights
            state = _learn(ratings, people, found, expected, rated)
            if abs(previous - state.noise.variance) < ENOUGH * state.noise.variance:
                break
            previous = state.noise.variance
        kept = state.items
        return cls(
            kept.means.astype(np.float32),
            kept.covariances.astype(np.float32),
            weights,
            state.spread,
            state.noise,
        )

    @property
    def items(self) -> Moments:
        """Moments of all items."""
        return Moments(self.means.astype(np.float64), self.covariances.astype(np.float64))

    def only(self, columns: Codes) -> Factors:
        """Give some of the items."""
        return replace(self, means=self.means[columns], covariances=self.covariances[columns])

    def extended(self, features: Features) -> Factors:
        """Append items of which the content alone is known."""
        means = features.astype(np.float64) @ self.weights
        covariances = np.repeat(self.spread[None], len(features), axis=0)
        return replace(
            self,
            means=np.concatenate([self.means, means.astype(np.float32)]),
            covariances=np.concatenate([self.covariances, covariances.astype(np.float32)]),
        )


@dataclass(frozen=True)
class _State:
    items: Moments
    spread: Floats
    noise: Noise


def _start(ratings: Ratings, count: int, seed: int) -> _State:
    generator = np.random.default_rng(seed)
    means = np.zeros((ratings.shape[1], count + 1))
    means[:, 1:] = generator.normal(size=(ratings.shape[1], count)) * np.sqrt(FIRST_FACTOR)
    spread = np.diag([FIRST_DEVIATION, *[FIRST_FACTOR] * count])
    prior = np.diag([FIRST_DEVIATION, *[FIRST_TASTE] * count])
    covariances = np.repeat(spread[None] / 2, len(means), axis=0)
    return _State(Moments(means, covariances), spread, Noise(prior, FIRST_NOISE, SAMENESS))


def _solve_items(ratings: Ratings, people: Users, state: _State, expected: Floats) -> Moments:
    weights = people.closeness[ratings.rows] / state.noise.variance
    ones = ratings.matrix(weights).T.tocsr()
    values = ratings.matrix(weights * ratings.values).T.tocsr()
    found = gather(ones, values, people.moments)
    precision = np.linalg.inv(state.spread)
    covariances = np.linalg.inv(found.grams + precision)
    targets = found.targets + expected @ precision
    return Moments(np.einsum("nij,nj->ni", covariances, targets), covariances)


def _learn(
    ratings: Ratings,
    people: Users,
    items: Moments,
    expected: Floats,
    rated: Codes,
) -> _State:
    active = ratings.by_user > 0
    own = people.moments
    prior = _second(own.means[active], own.covariances[active])
    off = items.means[rated] - expected[rated]
    spread = _second(off, items.covariances[rated])
    variance = float((people.closeness * people.squares).sum() / len(ratings))
    sameness = _sameness(people.closeness[active], people.log_closeness[active])
    return _State(items, spread, Noise(prior, max(variance, 1e-6), sameness))


def _second(means: Floats, covariances: Floats) -> Floats:
    """Give the mean second moment, kept invertible."""
    found = (means.T @ means + covariances.sum(axis=0)) / len(means)
    return np.asarray(found + 1e-8 * np.eye(len(found)), np.float64)


def _sameness(closeness: Floats, logs: Floats) -> float:
    """Solve the weight of the Gamma prior for the users' posteriors, by bisection."""
    from scipy.special import digamma

    gap = 1 + float((logs - closeness).mean())
    low, high = np.log(1.0), np.log(1e4)
    for _ in range(50):
        middle = (low + high) / 2
        half = np.exp(middle) / 2
        low, high = (middle, high) if gap + np.log(half) - digamma(half) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))

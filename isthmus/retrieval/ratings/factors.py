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
from typing import TYPE_CHECKING

import numpy as np

from isthmus.retrieval.ratings.content import ContentPrior, Features
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROUNDS = 8

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


@dataclass(frozen=True)
class Moments:
    """Normal distributions of vectors whose first number is a deviation, the others factors.

    Attributes
    ----------
    means : numpy.ndarray
        float64, shape (n, k + 1).
    covariances : numpy.ndarray
        float64, shape (n, k + 1, k + 1).
    """

    means: Floats
    covariances: Floats

    def __getitem__(self, chosen: Codes) -> Moments:
        return Moments(self.means[chosen], self.covariances[chosen])

    @property
    def design(self) -> Floats:
        """What the other side is multiplied by: ``(1, factors)``, shape (n, k + 1)."""
        out = self.means.copy()
        out[:, 0] = 1
        return out

    @property
    def design_covariances(self) -> Floats:
        """The covariance of the design: that of the factors, framed by zeros."""
        out = self.covariances.copy()
        out[:, 0, :] = 0
        out[:, :, 0] = 0
        return out


@dataclass(frozen=True)
class Noise:
    """What is known of users in general.

    Attributes
    ----------
    prior : numpy.ndarray
        float64, shape (k + 1, k + 1): the covariance L.
    variance : float
        Of a rating around what is expected, s².
    sameness : float
        Weight of the prior of t_u, in ratings: the larger, the more alike users are.
    """

    prior: Floats
    variance: float
    sameness: float


@dataclass(frozen=True)
class Users:
    """The states of some users.

    Attributes
    ----------
    moments : Moments
        Deviation and tastes.
    closeness : numpy.ndarray
        float64, shape (n,): t_u, 1 for an average user.
    log_closeness : numpy.ndarray
        float64, shape (n,): the expectation of its logarithm.
    squares : numpy.ndarray
        float64, shape (n,): the expected sum of squared errors.
    """

    moments: Moments
    closeness: Floats
    log_closeness: Floats
    squares: Floats


@dataclass(frozen=True)
class Evidence:
    """Sums over one side's entries that a posterior needs.

    Attributes
    ----------
    grams : numpy.ndarray
        ``sum E[z z']``, shape (n, k + 1, k + 1).
    targets : numpy.ndarray
        ``sum E[z (y - b)]``, shape (n, k + 1).
    """

    grams: Floats
    targets: Floats


def gather(ones: csr_array, values: csr_array, other: Moments) -> Evidence:
    """Sum over the entries of each row, weighted.

    Parameters
    ----------
    ones, values : scipy.sparse.csr_array
        The weight of each entry, and the weight times the value, shape (n, n_other).
    other : Moments
        Of the columns.
    """
    design, width = other.design, other.means.shape[1]
    squares = design[:, :, None] * design[:, None, :] + other.design_covariances
    offsets = design * other.means[:, :1]
    offsets[:, 1:] += other.covariances[:, 0, 1:]
    grams = (ones @ squares.reshape(-1, width * width)).reshape(-1, width, width)
    return Evidence(grams, values @ design - ones @ offsets)


def solve_users(ratings: Ratings, items: Moments, noise: Noise) -> Users:
    """Solve every user's state from the entries of their row.

    Parameters
    ----------
    ratings : Ratings
        Values less what is expected of the domain, in standard deviations.
    items : Moments
        Of all items.
    noise : Noise
        Of users in general.
    """
    from scipy.special import digamma

    used, places = np.unique(ratings.columns, return_inverse=True)
    near = Ratings(ratings.rows, places, ratings.values, (ratings.shape[0], len(used)))
    own, counts = items[used], near.by_user
    found = gather(near.matrix(np.ones(len(near))), near.matrix(near.values), own)
    left = (near.values - own.means[places, 0]) ** 2 + own.covariances[places, 0, 0]
    totals = np.bincount(near.rows, left, near.shape[0])
    precision = np.linalg.inv(noise.prior)
    closeness = np.ones(len(counts))
    for _ in range(ROUNDS):
        weights = closeness / noise.variance
        covariances = np.linalg.inv(weights[:, None, None] * found.grams + precision)
        means = np.einsum("nij,nj->ni", covariances, weights[:, None] * found.targets)
        second = means[:, :, None] * means[:, None, :] + covariances
        squares = totals - 2 * (means * found.targets).sum(axis=1)
        squares += (found.grams * second).sum(axis=(1, 2))
        shape = noise.sameness + counts
        rate = noise.sameness + np.maximum(squares, 0) / noise.variance
        closeness = shape / rate
    logs = digamma(shape / 2) - np.log(rate / 2)
    return Users(Moments(means, covariances), closeness, logs, np.maximum(squares, 0))

"""Biases and factors of users and items by variational Bayes, with content as the prior of items.

Beyond the bias of its domain, a rating is ``b_u + b_i + p_u . q_i`` plus noise of variance
``s² / t_u``. The parameters ``(b_i, q_i)`` of an item have the prior ``N(W' x_i, V)`` with x_i its
features, those of a user the prior ``N(0, L)``, and the precision factor t_u of a user a Gamma
prior of mean 1. W, V, L and s² are learned with the rest by expectation maximisation, so there is
no regularisation to tune: how far an estimate moves from the prior follows from the number of
ratings.

Items are known up to a covariance S, so in the posterior of a user
``E[(1, q_i)(1, q_i)'] = z z' + S`` takes the place of the ``z z'`` of a regression on known items.
Given t_u the posterior is Gaussian; both are solved alternately (the expectation maximisation of
the t-distribution).

After Lim and Teh, *Variational Bayesian approach to movie rating prediction* (KDD Cup 2007), with
full prior covariances, priors from content (as Agarwal and Chen, *Regression-based latent factor
models*, KDD 2009), and a precision for each user (Lakshminarayanan et al., *Robust Bayesian matrix
factorisation*, AISTATS 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from isthmus.retrieval.ratings.content import ContentPrior, Features
from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_ITERATIONS = 30
TOLERANCE = 1e-4  # relative change of the noise variance
USER_ITERATIONS = 8
INITIAL_CONCENTRATION = 10.0
INITIAL_NOISE = 0.3
INITIAL_BIAS, INITIAL_USER_FACTOR, INITIAL_ITEM_FACTOR = 0.2, 1.0, 0.1  # variances


@dataclass(frozen=True)
class Posteriors:
    """Normal distributions of vectors of a bias and k factors.

    Attributes
    ----------
    means : numpy.ndarray
        float64, shape (n, k + 1).
    covariances : numpy.ndarray
        float64, shape (n, k + 1, k + 1).
    """

    means: Floats
    covariances: Floats

    def __getitem__(self, chosen: Codes) -> Posteriors:
        return Posteriors(self.means[chosen], self.covariances[chosen])

    @property
    def design(self) -> Floats:
        """The vectors ``(1, factors)`` that the other side is multiplied by, shape (n, k + 1)."""
        out = self.means.copy()
        out[:, 0] = 1
        return out

    @property
    def design_covariances(self) -> Floats:
        """The covariances of `design`: those of the factors, with zeros for the constant."""
        out = self.covariances.copy()
        out[:, 0, :] = 0
        out[:, :, 0] = 0
        return out


@dataclass(frozen=True)
class UserPrior:
    """The distribution of users.

    Attributes
    ----------
    covariance : numpy.ndarray
        float64, shape (k + 1, k + 1): L.
    noise_variance : float
        s², of a rating around its expectation.
    concentration : float
        Weight of the Gamma prior of t_u, in ratings; the larger, the more similar users are.
    """

    covariance: Floats
    noise_variance: float
    concentration: float


@dataclass(frozen=True)
class UserPosteriors:
    """The states of some users.

    Attributes
    ----------
    parameters : Posteriors
        Biases and factors.
    precisions : numpy.ndarray
        float64, shape (n,): expectation of t_u, 1 for an average user.
    log_precisions : numpy.ndarray
        float64, shape (n,): expectation of the logarithm of t_u.
    squared_errors : numpy.ndarray
        float64, shape (n,): expected sum of squared errors.
    """

    parameters: Posteriors
    precisions: Floats
    log_precisions: Floats
    squared_errors: Floats


@dataclass(frozen=True)
class NormalEquations:
    """Sums over the ratings of each row that its posterior needs.

    Attributes
    ----------
    grams : numpy.ndarray
        ``sum E[z z']``, shape (n, k + 1, k + 1).
    targets : numpy.ndarray
        ``sum E[z (y - b)]``, shape (n, k + 1).
    """

    grams: Floats
    targets: Floats

    @classmethod
    def of(cls, weights: csr_array, weighted: csr_array, columns: Posteriors) -> NormalEquations:
        """Sum over the entries of each row.

        Parameters
        ----------
        weights, weighted : scipy.sparse.csr_array
            Weight, and weight times value, of each entry, shape (n, n_columns).
        columns : Posteriors
            Parameters of the columns.
        """
        design, width = columns.design, columns.means.shape[1]
        squares = design[:, :, None] * design[:, None, :] + columns.design_covariances
        offsets = design * columns.means[:, :1]
        offsets[:, 1:] += columns.covariances[:, 0, 1:]
        grams = (weights @ squares.reshape(-1, width * width)).reshape(-1, width, width)
        return cls(grams, weighted @ design - weights @ offsets)


def infer_users(ratings: Ratings, items: Posteriors, prior: UserPrior) -> UserPosteriors:
    """Infer the state of every user from the ratings of the user.

    Parameters
    ----------
    ratings : Ratings
        Values minus the bias of the domain, in standard deviations.
    items : Posteriors
        Parameters of all items.
    prior : UserPrior
        The distribution of users.
    """
    from scipy.special import digamma

    used, places = np.unique(ratings.columns, return_inverse=True)
    near = Ratings(ratings.rows, places, ratings.values, (ratings.shape[0], len(used)))
    rated, counts = items[used], near.user_counts
    sums = NormalEquations.of(near.matrix(np.ones(len(near))), near.matrix(near.values), rated)
    squares = (near.values - rated.means[places, 0]) ** 2 + rated.covariances[places, 0, 0]
    totals = np.bincount(near.rows, squares, near.shape[0])
    prior_precision = np.linalg.inv(prior.covariance)
    precisions = np.ones(len(counts))
    for _ in range(USER_ITERATIONS):
        weights = precisions / prior.noise_variance
        covariances = np.linalg.inv(weights[:, None, None] * sums.grams + prior_precision)
        means = np.einsum("nij,nj->ni", covariances, weights[:, None] * sums.targets)
        second = means[:, :, None] * means[:, None, :] + covariances
        errors = totals - 2 * (means * sums.targets).sum(axis=1)
        errors += (sums.grams * second).sum(axis=(1, 2))
        shape = prior.concentration + counts  # of the Gamma posterior of t_u, times two
        rate = prior.concentration + np.maximum(errors, 0) / prior.noise_variance
        precisions = shape / rate
    logs = digamma(shape / 2) - np.log(rate / 2)
    return UserPosteriors(Posteriors(means, covariances), precisions, logs, np.maximum(errors, 0))


@dataclass(frozen=True)
class FactorModel:
    """Parameters of items, and the distribution of users.

    Attributes
    ----------
    means : numpy.ndarray
        float32, shape (n_items, k + 1): biases and factors of items.
    covariances : numpy.ndarray
        float32, shape (n_items, k + 1, k + 1).
    weights : numpy.ndarray
        float64, shape (n_features, k + 1): W, from features to the prior mean.
    item_covariance : numpy.ndarray
        float64, shape (k + 1, k + 1): V, of items around the prior mean.
    user_prior : UserPrior
        The distribution of users.
    """

    means: Features
    covariances: Features
    weights: Floats
    item_covariance: Floats
    user_prior: UserPrior

    @classmethod
    def fit(cls, ratings: Ratings, features: Features, n_factors: int, seed: int) -> FactorModel:
        """Learn from ratings.

        Parameters
        ----------
        ratings : Ratings
            Values minus the bias of the domain, in standard deviations.
        features : numpy.ndarray
            float32, shape (n_items, n_features): content features.
        n_factors : int
            Number of factors, 0 or more.
        seed : int
            Seed of the initial factors.
        """
        n_items = ratings.shape[1]
        rated = np.flatnonzero(ratings.item_counts)
        prior = ContentPrior(features[rated].astype(np.float64), n_factors + 1)
        state = _initial_state(ratings, n_factors, seed)
        expected, previous = np.zeros((n_items, n_factors + 1)), np.inf
        for _ in range(MAX_ITERATIONS):
            users = infer_users(ratings, state.items, state.user_prior)
            items = _infer_items(ratings, users, state, expected)
            weights = prior.fit(items.means[rated], np.diag(state.item_covariance))
            expected = features.astype(np.float64) @ weights
            state = _updated_state(ratings, users, items, expected, rated)
            noise = state.user_prior.noise_variance
            if abs(previous - noise) < TOLERANCE * noise:
                break
            previous = noise
        return cls(
            state.items.means.astype(np.float32),
            state.items.covariances.astype(np.float32),
            weights,
            state.item_covariance,
            state.user_prior,
        )

    @property
    def items(self) -> Posteriors:
        """Parameters of all items."""
        return Posteriors(self.means.astype(np.float64), self.covariances.astype(np.float64))

    def users(self, ratings: Ratings) -> UserPosteriors:
        """Infer the state of every user from the ratings of the user, see `infer_users`."""
        return infer_users(ratings, self.items, self.user_prior)

    def expected(self, users: UserPosteriors, rows: Codes, columns: Codes) -> Floats:
        """Return the expected rating of pairs of a user and an item, float64, shape (n,)."""
        of_users = users.parameters.means[rows]
        of_items = self.means[columns].astype(np.float64)
        factors = (of_users[:, 1:] * of_items[:, 1:]).sum(axis=1)
        return np.asarray(of_users[:, 0] + of_items[:, 0] + factors, np.float64)

    def take_items(self, columns: Codes) -> FactorModel:
        """Return the model of some of the items."""
        return replace(self, means=self.means[columns], covariances=self.covariances[columns])

    def extended(self, features: Features) -> FactorModel:
        """Append items without ratings, of which only the features are known."""
        means = features.astype(np.float64) @ self.weights
        covariances = np.repeat(self.item_covariance[None], len(features), axis=0)
        return replace(
            self,
            means=np.concatenate([self.means, means.astype(np.float32)]),
            covariances=np.concatenate([self.covariances, covariances.astype(np.float32)]),
        )


@dataclass(frozen=True)
class _State:
    items: Posteriors
    item_covariance: Floats
    user_prior: UserPrior


def _initial_state(ratings: Ratings, n_factors: int, seed: int) -> _State:
    generator = np.random.default_rng(seed)
    n_items = ratings.shape[1]
    means = np.zeros((n_items, n_factors + 1))
    means[:, 1:] = generator.normal(size=(n_items, n_factors)) * np.sqrt(INITIAL_ITEM_FACTOR)
    item_covariance = np.diag([INITIAL_BIAS, *[INITIAL_ITEM_FACTOR] * n_factors])
    user_covariance = np.diag([INITIAL_BIAS, *[INITIAL_USER_FACTOR] * n_factors])
    covariances = np.repeat(item_covariance[None] / 2, n_items, axis=0)
    prior = UserPrior(user_covariance, INITIAL_NOISE, INITIAL_CONCENTRATION)
    return _State(Posteriors(means, covariances), item_covariance, prior)


def _infer_items(
    ratings: Ratings, users: UserPosteriors, state: _State, expected: Floats
) -> Posteriors:
    weights = users.precisions[ratings.rows] / state.user_prior.noise_variance
    sums = NormalEquations.of(
        ratings.matrix(weights).T.tocsr(),
        ratings.matrix(weights * ratings.values).T.tocsr(),
        users.parameters,
    )
    prior_precision = np.linalg.inv(state.item_covariance)
    covariances = np.linalg.inv(sums.grams + prior_precision)
    targets = sums.targets + expected @ prior_precision
    return Posteriors(np.einsum("nij,nj->ni", covariances, targets), covariances)


def _updated_state(
    ratings: Ratings,
    users: UserPosteriors,
    items: Posteriors,
    expected: Floats,
    rated: Codes,
) -> _State:
    active = ratings.user_counts > 0
    parameters = users.parameters
    user_covariance = _second_moment(parameters.means[active], parameters.covariances[active])
    off = items.means[rated] - expected[rated]
    item_covariance = _second_moment(off, items.covariances[rated])
    noise = float((users.precisions * users.squared_errors).sum() / len(ratings))
    concentration = _concentration(users.precisions[active], users.log_precisions[active])
    prior = UserPrior(user_covariance, max(noise, 1e-6), concentration)
    return _State(items, item_covariance, prior)


def _second_moment(means: Floats, covariances: Floats) -> Floats:
    """Return the mean second moment, kept invertible."""
    moment = (means.T @ means + covariances.sum(axis=0)) / len(means)
    return np.asarray(moment + 1e-8 * np.eye(len(moment)), np.float64)


def _concentration(precisions: Floats, logs: Floats) -> float:
    """Solve the concentration of the Gamma prior given the posteriors of users, by bisection."""
    from scipy.special import digamma

    gap = 1 + float((logs - precisions).mean())
    low, high = np.log(1.0), np.log(1e4)
    for _ in range(50):
        middle = (low + high) / 2
        half = np.exp(middle) / 2
        low, high = (middle, high) if gap + np.log(half) - digamma(half) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))

"""The state of users, solved from their histories in closed form.

A user has a deviation and k tastes, ``w = (b_u, p_u)``, and rates an item at
``b_i + w . (1, q_i)`` plus noise of variance ``s² / t_u``. Items are known up to a covariance, so
``E[(1, q_i)(1, q_i)'] = z z' + S`` stands where a regression on known items had ``z z'``. With the
prior ``w ~ N(0, L)`` the posterior is Gaussian; how closely a user keeps to it, ``t_u``, has a
Gamma prior of mean 1 and is solved alternately (the t-distribution's EM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isthmus.retrieval.ratings.ratings import Codes, Floats, Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROUNDS = 8


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

"""The privacy accountant: what Gaussian mechanisms come to together, as (epsilon, delta).

Two data sets are neighbours if one has one user more than the other, with all rows of this user.
A mechanism adds Gaussian noise to a sum over users whose value changes by at most 1 between
neighbours, in the Euclidean norm; its noise multiplier is the deviation of the noise. It may be
run on a Poisson sample of the users, several times.

Without sampling the composition is one Gaussian mechanism, whose delta is known in closed form
(Balle and Wang, ICML 2018). With sampling the distributions of the privacy loss are convolved
(Gopi, Lee and Wutschitz, NeurIPS 2021). `renyi_epsilon` is a bound by another method, which is
never the smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Float64Array = npt.NDArray[np.float64]

EPSILON_ERROR: Final = 0.01  # of the convolution; added to every epsilon
MASS_ERROR: Final = 1e-10  # that a discretised sum of losses is further away than this
DEVIATIONS: Final = 12.0  # of a normal distribution, beyond which nothing is counted
MAX_EPSILON: Final = 1e4
ORDERS: Final = (*np.arange(1.1, 11.0, 0.1).tolist(), *range(11, 129))
QUADRATURE: Final = 20_001


class Mechanism(BaseModel):
    """A Gaussian mechanism.

    Attributes
    ----------
    name : str
        What it releases.
    noise_multiplier : float
        Deviation of the noise over the sensitivity.
    sampling_rate : float
        Probability of each user to take part in a step.
    steps : int
        How often it is run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    noise_multiplier: float = Field(gt=0)
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    steps: int = Field(default=1, ge=1)


def delta_of(mechanisms: Sequence[Mechanism], epsilon: float) -> float:
    """Return the delta of all mechanisms together at an epsilon.

    Examples
    --------
    >>> counts = Mechanism(name="counts", noise_multiplier=1.0)
    >>> round(delta_of([counts], 1.0), 4)
    0.1269
    """
    if all(one.sampling_rate == 1 for one in mechanisms):
        return _gaussian_delta(signal(mechanisms), epsilon)
    return max(_convolved_delta(mechanisms, epsilon, sign) for sign in (1.0, -1.0))


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return the epsilon of all mechanisms together at a delta; 0 where there are none.

    Examples
    --------
    >>> gram = Mechanism(name="Gram matrix", noise_multiplier=noise_multiplier(3.0, 1e-6))
    >>> round(epsilon_of([gram], 1e-6), 3)
    3.0
    """
    from scipy.optimize import brentq

    if not mechanisms or delta_of(mechanisms, 0.0) <= delta:
        return 0.0
    high = 1.0
    while delta_of(mechanisms, high) > delta:
        high *= 2
        if high > MAX_EPSILON:
            return float("inf")
    found = brentq(lambda epsilon: delta_of(mechanisms, epsilon) - delta, 0.0, high, xtol=1e-9)
    return float(found)


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Return the smallest noise multiplier of one Gaussian mechanism, not sampled, for a budget.

    Examples
    --------
    >>> round(noise_multiplier(1.0, 1e-5), 2)
    3.73
    """
    from scipy.optimize import brentq

    low, high = 1e-3, 1.0
    while _gaussian_delta(1 / high, epsilon) > delta:
        high *= 2
    found = brentq(lambda sigma: _gaussian_delta(1 / sigma, epsilon) - delta, low, high, xtol=1e-12)
    return float(found) * (1 + 1e-9)


def signal(mechanisms: Sequence[Mechanism]) -> float:
    """Return the inverse noise multiplier of the one Gaussian mechanism that they compose to."""
    return float(np.sqrt(sum(one.steps / one.noise_multiplier**2 for one in mechanisms)))


def renyi_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return a bound of epsilon by Rényi differential privacy, not as tight as `epsilon_of`.

    The divergences of sampled Gaussian mechanisms (Mironov, Talwar and Zhang, 2019) add up; the
    conversion is that of Balle et al. (AISTATS 2020).
    """
    orders = np.array(ORDERS)
    divergences = sum(one.steps * _renyi_divergence(one, orders) for one in mechanisms)
    converted = (
        divergences
        + np.log((orders - 1) / orders)
        - (np.log(delta) + np.log(orders)) / (orders - 1)
    )
    return float(max(converted.min(), 0.0))


def _gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the delta of a Gaussian mechanism whose distributions are mu deviations apart."""
    from scipy.special import log_ndtr, ndtr

    if mu == 0:
        return 0.0
    first = ndtr(mu / 2 - epsilon / mu)
    return float(max(first - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)), 0.0))


def _convolved_delta(mechanisms: Sequence[Mechanism], epsilon: float, sign: float) -> float:
    """Return the delta of one direction: a user is removed (sign 1), or added (sign -1)."""
    steps = sum(one.steps for one in mechanisms)
    spacing = EPSILON_ERROR / np.sqrt(steps / 2 * np.log(12 / MASS_ERROR))
    reach = _reach(mechanisms, epsilon)
    size = 1 << int(np.ceil(np.log2(2 * reach / spacing)))
    transform = np.ones(size // 2 + 1, np.complex128)
    shift = 0.0
    for one in mechanisms:
        masses, moved = _loss_masses(one, size, spacing, sign)
        transform *= np.fft.rfft(masses) ** one.steps
        shift += one.steps * moved
    composed = np.maximum(np.fft.irfft(transform, size), 0)
    places = np.fft.fftfreq(size, 1 / size)  # mass i stands for the loss i * spacing
    losses = places * spacing + shift
    excess = np.maximum(-np.expm1(epsilon - EPSILON_ERROR - losses[losses > epsilon]), 0)
    return min(float(excess @ composed[losses > epsilon]) + MASS_ERROR, 1.0)


def _reach(mechanisms: Sequence[Mechanism], epsilon: float) -> float:
    """Return a loss that the sum exceeds with a probability of `MASS_ERROR` at most."""
    return 2 * max(renyi_epsilon(mechanisms, MASS_ERROR), epsilon) + 2


def _loss_masses(
    mechanism: Mechanism, size: int, spacing: float, sign: float
) -> tuple[Float64Array, float]:
    """Return the distribution of the loss of one step, and by how much it was moved.

    The loss is rounded to the grid, and the grid is moved so that its mean stays.
    """
    sigma, rate = mechanism.noise_multiplier, mechanism.sampling_rate
    x = np.linspace(-DEVIATIONS * sigma, 1 + DEVIATIONS * sigma, 400_001)
    plain = np.exp(-(x**2) / (2 * sigma**2))
    mixed = (1 - rate) * plain + rate * np.exp(-((x - 1) ** 2) / (2 * sigma**2))
    density = mixed if sign > 0 else plain
    weights = density / density.sum()
    loss = sign * _log_ratio(x, sigma, rate)
    places = np.rint(loss / spacing).astype(np.int64)
    masses = np.asarray(np.bincount(places % size, weights, size), np.float64)
    return masses, float(weights @ (loss - places * spacing))


def _log_ratio(x: Float64Array, sigma: float, rate: float) -> Float64Array:
    """Return the log of the density with a user over that without, at outcomes x."""
    with np.errstate(divide="ignore"):
        without = np.log1p(-rate)
    return np.asarray(np.logaddexp(without, np.log(rate) + (2 * x - 1) / (2 * sigma**2)))


def _renyi_divergence(mechanism: Mechanism, orders: Float64Array) -> Float64Array:
    """Return the Rényi divergence of one step of each order, by quadrature, (n_orders,)."""
    from scipy.special import logsumexp

    sigma, rate = mechanism.noise_multiplier, mechanism.sampling_rate
    if rate == 1:
        return np.asarray(orders / (2 * sigma**2))
    x = np.linspace(-DEVIATIONS * sigma, orders.max() + DEVIATIONS * sigma, QUADRATURE)
    log_density = -(x**2) / (2 * sigma**2) - np.log(sigma * np.sqrt(2 * np.pi))
    ratio = _log_ratio(x, sigma, rate)
    step = np.log(x[1] - x[0])
    moments = [logsumexp(log_density + order * ratio) + step for order in orders]
    return np.asarray(np.array(moments) / (orders - 1))

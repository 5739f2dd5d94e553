"""Sequential tests: p-values that stay valid however often, and whenever, one looks.

The mixture sequential probability ratio test (Robbins, "Statistical Methods Related to the Law of
the Iterated Logarithm", Annals of Mathematical Statistics 1970) with a normal mixture, as Johari,
Koomen, Pekelis and Walsh use it for A/B tests ("Peeking at A/B Tests", KDD 2017; "Always Valid
Inference", Operations Research 2022). For a difference ``d``, with the variance ``v`` of its
estimate, and a mixture of the variance ``s``

    L = sqrt(v / (v + s)) * exp(s d ** 2 / (2 v (v + s)))

is a martingale with the mean 1 where there is no difference, so it ever reaches ``1 / a`` with a
probability of at most ``a`` (Ville's inequality). The p-value is the least ``1 / L`` of all looks
so far. The interval of a look is the set of differences that its L would not reject; it holds at
all looks together.

The difference is one of ratios, clicks over places, whose variance is that of the delta method over
users (Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018). The normal
approximation needs some data: looks before both arms have `MIN_UNITS` users and `MIN_REWARDS`
clicks say nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_UNITS: Final = 100
MIN_REWARDS: Final = 30
RELATIVE_EFFECT: Final = 0.1  # standard deviation of the mixture, as a share of the common rate


class ArmSums(NamedTuple):
    """Sums over the users of an arm at each look; arrays of equal shape, looks along the last axis.

    Attributes
    ----------
    units : numpy.ndarray
        Number of users.
    rewards, places : numpy.ndarray
        Sums of clicks and of places.
    rewards_squared, places_squared, products : numpy.ndarray
        Sums of their squares, and of their product.
    """

    units: Floats
    rewards: Floats
    places: Floats
    rewards_squared: Floats
    places_squared: Floats
    products: Floats

    @classmethod
    def of(cls, rewards: Floats, places: Floats) -> ArmSums:
        """Sum over users, along the last axis; users without places do not count.

        Examples
        --------
        >>> float(ArmSums.of(np.array([1.0, 0, 0]), np.array([10.0, 15, 0])).rate)
        0.04
        """
        return cls(
            (places > 0).sum(axis=-1).astype(np.float64),
            rewards.sum(axis=-1),
            places.sum(axis=-1),
            (rewards**2).sum(axis=-1),
            (places**2).sum(axis=-1),
            (rewards * places).sum(axis=-1),
        )

    @property
    def rate(self) -> Floats:
        """Clicks over places."""
        return np.asarray(self.rewards / np.maximum(self.places, 1))[()]

    @property
    def variance(self) -> Floats:
        """The variance of the rate, by the delta method over users."""
        n, rate = np.maximum(self.units, 2), self.rate
        squares = self.rewards_squared - 2 * rate * self.products + rate**2 * self.places_squared
        return np.asarray(squares * n / (n - 1) / np.maximum(self.places, 1) ** 2)

    @property
    def says_something(self) -> npt.NDArray[np.bool_]:
        """Whether the normal approximation holds."""
        return np.asarray((self.units >= MIN_UNITS) & (self.rewards >= MIN_REWARDS))


class SequentialTest(NamedTuple):
    """The difference of two arms at each look; arrays of one shape.

    Attributes
    ----------
    difference, low, high : numpy.ndarray
        The difference of the rates, and its 95 % confidence sequence; infinite where a look says
        nothing.
    p_value : numpy.ndarray
        Always valid: at most a share ``a`` of tests without a difference ever has one below ``a``.
    """

    difference: Floats
    low: Floats
    high: Floats
    p_value: Floats


def always_valid_test(control: ArmSums, treatment: ArmSums, alpha: float = 0.05) -> SequentialTest:
    """Test whether two arms differ, at every look.

    Parameters
    ----------
    control, treatment : ArmSums
        Sums at each look, looks along the last axis.
    alpha : float
        One less the level of the confidence sequence.
    """
    difference = np.atleast_1d(treatment.rate - control.rate)
    variance = np.atleast_1d(control.variance + treatment.variance)
    says = np.atleast_1d(control.says_something & treatment.says_something & (variance > 0))
    common = np.atleast_1d(
        (control.rewards + treatment.rewards) / np.maximum(control.places + treatment.places, 1)
    )
    # The mixture must not follow the data: it is that of the first look that says something.
    first = np.argmax(says, axis=-1, keepdims=True)
    mixture = (RELATIVE_EFFECT * np.take_along_axis(common, first, axis=-1)) ** 2
    v = np.where(says, variance, 1.0)
    s = np.maximum(mixture, 1e-300)
    log_ratio = 0.5 * np.log(v / (v + s)) + s * difference**2 / (2 * v * (v + s))
    at_look = np.where(says, np.exp(-np.minimum(log_ratio, 700)), 1.0)
    p_value = np.minimum(np.minimum.accumulate(at_look, axis=-1), 1.0)
    width = np.sqrt(v * (v + s) / s * (2 * np.log(1 / alpha) + np.log((v + s) / v)))
    width = np.where(says, width, np.inf)
    return SequentialTest(difference, difference - width, difference + width, p_value)

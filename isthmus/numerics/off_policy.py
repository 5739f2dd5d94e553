"""Off-policy evaluation: what another policy would have earned, from what a logged one showed.

A sample is a place of a logged list: the probability ``p`` with which the logged policy showed the
item there, the probability ``t`` with which the evaluated policy shows the same item there, and the
reward ``r``. With ``w = t / p``:

* inverse propensity scoring (IPS; Horvitz and Thompson, 1952): the mean of ``w r``. Unbiased where
  the logged policy can show whatever the other one shows.
* self-normalised IPS (SNIPS; Swaminathan and Joachims, "The Self-Normalized Estimator for
  Counterfactual Learning", NeurIPS 2015): the sum of ``w r`` over that of ``w``. Slightly biased,
  steadier.
* doubly robust (DR; Dudík, Langford and Li, "Doubly Robust Policy Evaluation and Learning", ICML
  2011): the mean of ``q_t + w (r - q)``, where ``q`` is the reward that a model predicts of the
  shown item and ``q_t`` that of the other policy. Unbiased where the model or the propensities are
  right. The model must not have seen the sample: `cross_fitted` fits it to the other folds.

A reward is taken to depend on the item and its place alone, and not on the rest of the list.
Intervals are bootstrap intervals over units, such as users, whose samples belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isthmus.numerics.statistics import Estimate, ratio_estimate

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

PRIOR_SHOWN = 10.0  # expected rewards that an item's rate is shrunk by


@dataclass(frozen=True, eq=False)
class LoggedSamples:
    """Places of logged lists; all arrays have the shape (n,).

    Attributes
    ----------
    units : numpy.ndarray
        int64, from 0: whose samples belong together.
    rewards, propensities, targets : numpy.ndarray
        float64: ``r``, ``p`` (above 0) and ``t``.
    predicted, predicted_target : numpy.ndarray
        float64: ``q`` and ``q_t``.
    """

    units: Codes
    rewards: Floats
    propensities: Floats
    targets: Floats
    predicted: Floats
    predicted_target: Floats

    @property
    def weights(self) -> Floats:
        """The importance weights."""
        return self.targets / self.propensities

    @property
    def effective_size(self) -> float:
        """The number of samples of equal weight that would say as much (Kish, 1965)."""
        squares = float((self.weights**2).sum())
        return float(self.weights.sum()) ** 2 / squares if squares else 0.0


@dataclass(frozen=True)
class OffPolicyEstimates:
    """The mean reward of a place under the evaluated policy, with 95 % intervals.

    Attributes
    ----------
    logged : Estimate
        That of the logged policy.
    ips, doubly_robust : Estimate
        See the module.
    snips : Estimate or None
        None where a resample has no sample that the evaluated policy could have shown.
    """

    logged: Estimate
    ips: Estimate
    snips: Estimate | None
    doubly_robust: Estimate


def estimate_off_policy(
    samples: LoggedSamples, *, resamples: int = 2_000, seed: int = 0
) -> OffPolicyEstimates:
    """Estimate the mean reward of a policy from the log of another.

    Examples
    --------
    >>> ones = np.ones(4)
    >>> samples = LoggedSamples(np.arange(4), np.array([1.0, 0, 0, 1]), ones, ones, ones, ones)
    >>> found = estimate_off_policy(samples)
    >>> found.logged.value, found.ips.value, found.snips.value, found.doubly_robust.value
    (0.5, 0.5, 0.5, 0.5)
    """
    weights = samples.weights
    number = _sums(samples, np.ones(len(weights)))
    earned = _sums(samples, weights * samples.rewards)
    corrected = samples.predicted_target + weights * (samples.rewards - samples.predicted)

    def mean(sums: Floats) -> Estimate:
        found = ratio_estimate(sums, number, resamples=resamples, seed=seed)
        assert found is not None  # every unit has samples
        return found

    return OffPolicyEstimates(
        mean(_sums(samples, samples.rewards)),
        mean(earned),
        ratio_estimate(earned, _sums(samples, weights), resamples=resamples, seed=seed),
        mean(_sums(samples, corrected)),
    )


def _sums(samples: LoggedSamples, values: Floats) -> Floats:
    return np.asarray(np.bincount(samples.units, weights=values), np.float64)


@dataclass(frozen=True, eq=False)
class RewardModel:
    """The reward of an item at a place: the mean of the place times a factor of the item.

    Attributes
    ----------
    of_place : numpy.ndarray
        float64, shape (n_places,).
    of_item : numpy.ndarray
        float64, shape (n_items,): rewards over those expected of its places, shrunk towards 1.
    """

    of_place: Floats
    of_item: Floats

    @classmethod
    def fit(
        cls, items: Codes, places: Codes, rewards: Floats, n_items: int, n_places: int
    ) -> RewardModel:
        """Fit a model to samples of items, places and rewards, each of shape (n,)."""
        overall = float(rewards.mean()) if len(rewards) else 0.0
        shown = np.bincount(places, minlength=n_places)
        earned = np.bincount(places, weights=rewards, minlength=n_places)
        of_place = (earned + overall) / (shown + 1)
        expected = np.bincount(items, weights=of_place[places], minlength=n_items)
        of_items = np.bincount(items, weights=rewards, minlength=n_items)
        return cls(of_place, (of_items + PRIOR_SHOWN) / (expected + PRIOR_SHOWN))

    def predict(self, items: Codes, places: Codes) -> Floats:
        """Return the reward of each item at its place, shape (n,)."""
        return np.asarray(self.of_place[places] * self.of_item[items])


def cross_fitted(
    units: Codes,
    items: Codes,
    places: Codes,
    rewards: Floats,
    target_items: Codes,
    n_items: int,
    folds: int = 5,
) -> tuple[Floats, Floats]:
    """Predict rewards of what was shown, and of what a policy would show, by models of other units.

    Parameters
    ----------
    units, items, places : numpy.ndarray
        int64, shape (n,): of each sample.
    rewards : numpy.ndarray
        float64, shape (n,).
    target_items : numpy.ndarray
        int64, shape (n,): what the policy would show there; -1 for nothing, which earns nothing.
    n_items : int
        Number of items.
    folds : int
        Number of folds of the units.

    Returns
    -------
    predicted, predicted_target : numpy.ndarray
        float64, shape (n,).
    """
    n_places = int(places.max(initial=0)) + 1
    predicted, target = np.zeros(len(units)), np.zeros(len(units))
    for fold in range(folds):
        inside = units % folds == fold
        rest = ~inside
        model = RewardModel.fit(items[rest], places[rest], rewards[rest], n_items, n_places)
        predicted[inside] = model.predict(items[inside], places[inside])
        there = inside & (target_items >= 0)
        target[there] = model.predict(target_items[there], places[there])
    return predicted, target

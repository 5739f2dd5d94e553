"""Bootstrap intervals, and paired tests between systems.

Intervals are percentile bootstrap intervals over users (Efron and Tibshirani, 1993). Systems are
compared on the same users, so a resample takes the same users of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.metrics import PerUser

Test = Literal["fisher", "student"]
Correction = Literal["holm", "bonferroni"]
Means = npt.NDArray[np.float64]
TESTS: tuple[Test, ...] = get_args(Test)
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)
PERMUTATIONS = 10_000
SAMPLES_AT_ONCE = 1 << 22


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A system compared with a reference, on the same users.

    Attributes
    ----------
    difference : Estimate
        Mean of the system minus mean of the reference.
    ratio : Estimate or None
        Mean of the system over mean of the reference; None where `ratio_estimate` returns None.
    p_value, adjusted_p : float
        Of the null hypothesis of no difference, and corrected for the number of comparisons.
    """

    difference: Estimate
    ratio: Estimate | None
    p_value: float
    adjusted_p: float


def resampled_means(values: Means, resamples: int = 2_000, seed: int = 0) -> Means:
    """Return the means over users that are sampled with replacement.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n_users, m): m values of each user.
    resamples : int
        Number of resamples.
    seed : int
        The same seed takes the same users.

    Returns
    -------
    numpy.ndarray
        Shape (resamples, m).
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    means = []
    step = max(1, SAMPLES_AT_ONCE // n)
    for start in range(0, resamples, step):
        sampled = rng.integers(0, n, (min(step, resamples - start), n))
        counts = np.stack([np.bincount(row, minlength=n) for row in sampled])  # (step, n)
        means.append(counts @ values / n)
    return np.concatenate(means)


def interval(means: Means, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values, shape (resamples,)."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(values: PerUser, *, resamples: int = 2_000, seed: int = 0) -> Estimate:
    """Return the mean of one value a user, with its 95 % interval.

    Examples
    --------
    >>> estimate(np.array([0.5, 0.5, 0.5]))
    Estimate(value=0.5, low=0.5, high=0.5)
    """
    means = resampled_means(values[:, None], resamples, seed)[:, 0]
    return Estimate(float(values.mean()), *interval(means))


def share_estimate(
    hits: npt.NDArray[np.int64], trials: npt.NDArray[np.int64], level: float = 0.95
) -> Estimate:
    """Return a share of hits among the trials of clusters, with Wilson's score interval.

    The trials of a cluster, such as the ten true neighbours of a query, are not independent. Their
    number is therefore divided by the design effect (Kish, Survey Sampling, 1965), and is never
    smaller than that of the clusters.

    Parameters
    ----------
    hits, trials : numpy.ndarray
        int64, shape (n_clusters,).
    level : float
        Of the interval; close to 1 too, where a bootstrap has nothing to say.

    Examples
    --------
    >>> share_estimate(np.full(100, 10), np.full(100, 10))
    Estimate(value=1.0, low=0.9630065017930143, high=1.0)
    """
    n, total = len(hits), int(trials.sum())
    if total == 0:
        return Estimate(1.0, 0.0, 1.0)
    share = float(hits.sum() / total)
    spread = float(np.square(hits - share * trials).sum()) / total**2  # of the ratio
    simple = share * (1 - share)
    effective = float(np.clip(simple / spread, n, total)) if spread > 0 else float(n)
    return Estimate(share, *wilson_interval(share, effective, level))


def wilson_interval(share: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share of n trials; the share lies in it.

    Examples
    --------
    >>> [round(end, 3) for end in wilson_interval(0.9, 100)]
    [0.826, 0.945]
    >>> wilson_interval(1.0, 60)[1], wilson_interval(0.0, 60)[0]
    (1.0, 0.0)
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    # Rounded, an end may be on the wrong side of a share of 0 or 1.
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def ratio_estimate(
    above: PerUser, below: PerUser, *, resamples: int = 2_000, seed: int = 0
) -> Estimate | None:
    """Return the ratio of two means over the same users, with its paired 95 % interval.

    None if the mean below is 0, over the users or over a resample: such a ratio has no interval.

    Examples
    --------
    >>> ratio_estimate(np.array([0.2, 0.4, 0.8]), np.array([0.1, 0.2, 0.4]))
    Estimate(value=2.0, low=2.0, high=2.0)
    """
    means = resampled_means(np.stack([above, below], axis=1), resamples, seed)
    return _ratio(float(above.mean()), float(below.mean()), means)


def compare(
    values: Mapping[str, PerUser],
    reference: str,
    *,
    test: Test = "fisher",
    correction: Correction = "holm",
    resamples: int = 2_000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare every system with one of them, on the same users.

    Parameters
    ----------
    values : mapping of str to numpy.ndarray
        One value a user, for each system, shape (n_users,).
    reference : str
        The system that the others are compared with.
    test : str
        ``"fisher"``: Fisher's paired randomization test (Smucker et al., CIKM 2007).
        ``"student"``: the paired t-test.
    correction : str
        ``"holm"`` or ``"bonferroni"``, over the compared systems.
    resamples, seed : int
        Of the intervals; the seed is that of the randomization too.

    Returns
    -------
    dict of str to Comparison
        For each system but the reference.

    Raises
    ------
    InvalidInput
        If the reference, the test or the correction is unknown.
    """
    if reference not in values or test not in TESTS or correction not in CORRECTIONS:
        raise InvalidInput(
            f"cannot compare with {reference!r} by {test!r} and {correction!r}; systems are "
            f"{', '.join(values)}, tests {', '.join(TESTS)}, corrections {', '.join(CORRECTIONS)}"
        )
    others = [name for name in values if name != reference]
    theirs = values[reference]
    means = resampled_means(np.stack([theirs, *(values[n] for n in others)], 1), resamples, seed)
    p_values = [p_value(theirs, values[name], test, seed=seed) for name in others]
    adjusted = CORRECT[correction](p_values)
    base = float(theirs.mean())
    out = {}
    for place, name in enumerate(others):
        mean, pair = float(values[name].mean()), means[:, [place + 1, 0]]
        difference = Estimate(mean - base, *interval(pair[:, 0] - pair[:, 1]))
        out[name] = Comparison(
            difference, _ratio(mean, base, pair), p_values[place], adjusted[place]
        )
    return out


def p_value(control: PerUser, treatment: PerUser, test: Test = "fisher", *, seed: int = 0) -> float:
    """Return the two-sided p-value of the difference between two systems on the same users.

    Parameters
    ----------
    control, treatment : numpy.ndarray
        Shape (n_users,): a metric of each user.
    test : str
        ``"fisher"``, a randomisation test, or ``"student"``, the paired t-test.
    seed : int
        Seed of the randomisation.
    """
    if np.array_equal(control, treatment):
        return 1.0
    if test == "student":
        return _student(control, treatment)
    return _fisher(control, treatment, seed)


def _student(control: PerUser, treatment: PerUser) -> float:
    from scipy.stats import ttest_rel

    return float(ttest_rel(control, treatment).pvalue)


def _fisher(control: PerUser, treatment: PerUser, seed: int) -> float:
    """Test by flipping the signs of the users' differences, all ways or 10,000 at random.

    The p-value of SciPy is reproducible, and never 0.
    """
    from scipy.stats import permutation_test

    tested = permutation_test(
        (treatment - control,),
        lambda flipped, axis: flipped.mean(axis=axis),
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        batch=max(1, SAMPLES_AT_ONCE // len(control)),
        random_state=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's step-down method (Scandinavian Journal of Statistics, 1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.array(p_values)[order] * factors)
    out = np.empty(len(p_values))
    out[order] = np.minimum(stepped, 1)
    return [float(p) for p in out]


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by the number of them.

    Examples
    --------
    >>> bonferroni([0.01, 0.6])
    [0.02, 1.0]
    """
    return [min(1.0, p * len(p_values)) for p in p_values]


CORRECT = {"holm": holm, "bonferroni": bonferroni}


def _ratio(above: float, below: float, means: Means) -> Estimate | None:
    if below == 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = means[:, 0] / means[:, 1]
    return Estimate(above / below, *interval(ratios)) if np.isfinite(ratios).all() else None

"""Thompson sampling on counts: the probability that each arm is the best, without drawing.

The rate of an arm has the posterior Beta(1 + successes, 1 + failures). Thompson sampling draws a
rate of each arm and takes the largest, so it takes an arm with the probability that its rate is the
largest. Arms with equal counts are one group, so the cost depends on the number of different counts
and not on that of arms.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

FINEST: Final = 1e-13  # distance of the grid from 0 and 1
GRID_POINTS: Final = 800  # at each end


def best_probabilities(successes: Counts, trials: Counts, arms: Counts) -> Floats:
    """Return the probability that one arm of each group has the largest rate of all arms.

    The largest rate has the distribution function ``G = prod F_g ** n_g``. Within a small step it
    belongs to group ``g`` with a probability proportional to ``n_g d log F_g``.

    Parameters
    ----------
    successes, trials : numpy.ndarray
        Shape (n_groups,): of an arm of each group.
    arms : numpy.ndarray
        Shape (n_groups,): how many arms a group has; those of a group without arms have 0.

    Returns
    -------
    numpy.ndarray
        float64, shape (n_groups,); times `arms` they sum to 1.

    Examples
    --------
    >>> best_probabilities(np.array([0, 9]), np.array([0, 10]), np.array([4, 0])).round(6).tolist()
    [0.25, 0.0]
    """
    from scipy.special import betainc, betaincc

    out = np.zeros(len(arms))
    there = np.flatnonzero(arms > 0)
    if not len(there):
        return out
    n = arms[there].astype(np.float64)
    edges = _grid()
    won, tried = successes[there].astype(np.float64), trials[there].astype(np.float64)
    a, b = won + 1, tried - won + 1
    cumulative = _log_cdf(betainc, betaincc, a, b, edges)  # (n_groups, n_edges)
    largest = np.exp(n @ cumulative)  # G
    steps = n[:, None] * np.diff(cumulative, axis=1)
    totals = steps.sum(axis=0)
    used = (totals > 0) & (np.diff(largest) > 0)
    weights = steps[:, used] / totals[used]
    probabilities = weights @ np.diff(largest)[used]
    probabilities /= probabilities.sum()
    out[there] = probabilities / n
    return out


def _grid() -> Floats:
    """Return points from nearly 0 to nearly 1, dense at both ends."""
    ends = np.geomspace(FINEST, 0.5, GRID_POINTS)
    return np.unique(np.concatenate([ends, 1 - ends]))


def _log_cdf(below: Any, above: Any, a: Floats, b: Floats, x: Floats) -> Floats:
    """Return the logarithm of the distribution functions of betas, (n, n_points)."""
    lower = below(a[:, None], b[:, None], x[None])
    with np.errstate(divide="ignore"):
        log = np.where(
            lower < 0.5,
            np.log(np.maximum(lower, 1e-300)),
            np.log1p(-above(a[:, None], b[:, None], x)),
        )
    return np.asarray(log)

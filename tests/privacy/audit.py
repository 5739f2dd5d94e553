"""Attacks on what a private training releases, and the epsilon that they prove."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

CONFIDENCE = 0.95


def proven_epsilon(scores: npt.NDArray[np.float64], included: npt.NDArray[np.bool_]) -> float:
    """Return a lower bound of epsilon from one run, with 95 % confidence.

    Each canary was included by the toss of a coin. An attacker calls the canaries with the highest
    scores included and those with the lowest left out, as many as is best. Of r such guesses, an
    epsilon-private release lets no more be right than a binomial variable of the probability
    ``e^epsilon / (1 + e^epsilon)`` (Steinke, Nasr and Jagielski, NeurIPS 2023, for delta of 0).
    The choice of r is paid for by the union bound.
    """
    order = np.argsort(scores)
    choices = [len(scores), len(scores) // 2, len(scores) // 5]
    bounds = []
    for guesses in choices:
        low, high = order[: guesses // 2], order[-(guesses // 2) :]
        right = int((~included[low]).sum() + included[high].sum())
        bounds.append(_bound(right, 2 * (guesses // 2), (1 - CONFIDENCE) / len(choices)))
    return max(bounds)


def _bound(right: int, guesses: int, error: float) -> float:
    epsilons = np.linspace(0, 12, 1_201)
    chances = binom.sf(right - 1, guesses, np.exp(epsilons) / (1 + np.exp(epsilons)))
    refuted = epsilons[chances < error]
    return float(refuted.max(initial=0.0))


def auc(members: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the area under the curve of a membership attack, and half its 95 % interval.

    The interval is that of chance: of the Mann-Whitney statistic of two equal samples.
    """
    greater = (members[:, None] > others).mean() + 0.5 * (members[:, None] == others).mean()
    n, m = len(members), len(others)
    return float(greater), 1.96 * float(np.sqrt((n + m + 1) / (12 * n * m)))

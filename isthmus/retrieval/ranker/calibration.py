"""Calibration: scores of a ranker model become the log-odds that a candidate is liked.

A score counts by the logarithm of its share of the softmax over the candidates of the user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from isthmus.numerics.arrays import Columns, FloatArray, Mask

ITERATIONS = 30
MIN_SLOPE = 1e-3
RIDGE = 1e-6
BINS = 10


class ReliabilityBin(BaseModel):
    """Candidates with similar probabilities.

    Attributes
    ----------
    predicted, observed : float
        Mean probability, and share of these candidates that were liked.
    candidates : int
        How many they are.
    """

    model_config = ConfigDict(extra="forbid")
    predicted: float
    observed: float
    candidates: int


@dataclass(frozen=True)
class Calibration:
    """The log-odds of a candidate: ``slope * log share + intercept``, with a slope above 0.

    Platt, "Probabilistic outputs for support vector machines" (1999). The slope is positive, so
    that the order stays; steps, as of isotonic regression, would make candidates equal.

    Attributes
    ----------
    slope, intercept : float
        See above.
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, scores: FloatArray, labels: Mask) -> Calibration:
        """Fit to scores, (n_candidates,), of users that the model was not trained on."""
        positives = int(labels.sum())
        if not positives or positives == len(labels):
            return cls()
        centre, scale = float(scores.mean()), max(float(scores.std()), 1e-6)
        inputs = np.stack([(scores - centre) / scale, np.ones(len(scores))], axis=1)
        rate = positives / len(labels)
        weights = np.array([1.0, np.log(rate / (1 - rate))])
        for _ in range(ITERATIONS):  # Newton's method
            probabilities = expit(inputs @ weights)
            variances = probabilities * (1 - probabilities)
            hessian = (inputs * variances[:, None]).T @ inputs + RIDGE * np.eye(2)
            step = np.linalg.solve(hessian, inputs.T @ (probabilities - labels))
            weights = weights - np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-6:
                break
        slope = max(float(weights[0]), MIN_SLOPE) / scale
        return cls(slope, float(weights[1]) - slope * centre)

    def log_odds(self, scores: FloatArray) -> FloatArray:
        """Return the log-odds of candidates, in the shape of the scores."""
        return np.asarray(self.slope * scores + self.intercept, np.float32)


def expit(log_odds: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the probabilities of log-odds, float64, in their shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -60, 60).astype(np.float64))))


def reliability(
    probabilities: npt.NDArray[np.float64], labels: Mask, bins: int = BINS
) -> list[ReliabilityBin]:
    """Return bins of equally many of the candidates, shape (n_candidates,), by probability."""
    order = np.argsort(probabilities, kind="stable")
    return [
        ReliabilityBin(
            predicted=float(probabilities[part].mean()),
            observed=float(labels[part].mean()),
            candidates=len(part),
        )
        for part in np.array_split(order, bins)
        if len(part)
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Return the expected calibration error (Naeini et al., AAAI 2015)."""
    total = sum(part.candidates for part in bins)
    apart = sum(part.candidates * abs(part.predicted - part.observed) for part in bins)
    return apart / total if total else 0.0


def listed(scores: FloatArray, starts: Columns, n: int) -> Columns:
    """Return the rows of the n best candidates of each user; the scores are (n_candidates,)."""
    owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((-scores, owners))
    places = np.arange(len(order)) - starts[owners]
    return np.asarray(order[places < n])

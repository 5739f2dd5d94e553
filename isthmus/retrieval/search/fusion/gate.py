"""A gate: from the evidence of a query to how much each block counts.

The weight of a block is multiplied by ``exp(offset + slopes · z)``, where ``z`` is the evidence in
standard deviations from its mean over queries (the gating of a mixture of experts; Jacobs, Jordan,
Nowlan and Hinton, "Adaptive Mixtures of Local Experts", Neural Computation 1991). The masks are
those of every search: an item that lacks a block counts there as an average one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.fusion.evidence import Evidence

Doubles = npt.NDArray[np.float64]

MOST: Final = 4.0
FURTHEST: Final = 3.0
UNLEARNED_SLOPE: Final = 0.5


@dataclass(frozen=True, eq=False)
class Gate:
    """How much each block counts, by the evidence of a query.

    Attributes
    ----------
    blocks : tuple of str
        The blocks that it knows.
    means, scales : numpy.ndarray
        float64, shape (n_blocks, 2): of the evidence over queries.
    offsets : numpy.ndarray
        float64, shape (n_blocks,).
    slopes : numpy.ndarray
        float64, shape (n_blocks, 2).
    """

    blocks: tuple[str, ...]
    means: Doubles
    scales: Doubles
    offsets: Doubles
    slopes: Doubles

    @classmethod
    def unlearned(cls, blocks: Sequence[str], evidence: FloatArray) -> Gate:
        """Make the gate that trusts a block the more, the more a query's best stand out there.

        Parameters
        ----------
        blocks : sequence of str
            The blocks.
        evidence : numpy.ndarray
            float32, shape (n, n_blocks, 2): of some queries, NaN where one has no block.
        """
        means, scales = spread(evidence)
        slopes = np.zeros_like(means)
        slopes[:, 0] = UNLEARNED_SLOPE
        offsets = np.zeros_like(means[:, 0])
        return cls(tuple(blocks), means, scales, offsets, slopes)

    def factors(self, evidence: Evidence) -> dict[str, float]:
        """Give what the weight of each block is multiplied by; 1 for blocks that it knows not."""
        found = dict.fromkeys(evidence, 1.0)
        for at, name in enumerate(self.blocks):
            if name in evidence:
                z = self.standardised(evidence[name], at)
                power = float(self.offsets[at] + self.slopes[at] @ z)
                found[name] = float(np.exp(np.clip(power, -MOST, MOST)))
        return found

    def standardised(self, numbers: FloatArray, at: int) -> Doubles:
        """Give the evidence of a block in standard deviations from its mean."""
        z = (numbers - self.means[at]) / self.scales[at]
        return np.asarray(np.clip(z, -FURTHEST, FURTHEST))

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values."""
        arrays = ("means", "scales", "offsets", "slopes")
        return {"blocks": list(self.blocks)} | {n: getattr(self, n).tolist() for n in arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, list[str]]) -> Gate:
        """Take it from plain values."""
        arrays = ("means", "scales", "offsets", "slopes")
        return cls(tuple(values["blocks"]), *(np.array(values[n], np.float64) for n in arrays))


def spread(evidence: FloatArray) -> tuple[Doubles, Doubles]:
    """Give mean and standard deviation of evidence over queries, each of shape (n_blocks, 2)."""
    known = np.isfinite(evidence)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, evidence, 0.0).astype(np.float64)
    means = values.sum(axis=0) / count
    variances = (np.where(known, evidence - means, 0.0) ** 2).sum(axis=0) / count
    return means, np.maximum(np.sqrt(variances), 1e-3)

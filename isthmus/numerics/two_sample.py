"""Whether two samples come from one distribution: permutation tests for vectors and for values.

Under the null hypothesis the labels "reference" and "sample" are exchangeable, so the p-value of a
statistic is the share of permuted labellings with a value at least as large, the observed one among
them (Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 2010). It is
exact for any sample size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.statistics import holm

PERMUTATIONS = 1_999
BANDWIDTHS = (0.5, 1.0, 2.0)  # times the median distance
FOLDS = 5
MIN_SAMPLE = 10
ROUNDING = 1e-6  # of float32, relative

Labels = npt.NDArray[np.float32]


class TwoSampleTest(NamedTuple):
    """The result of two tests of the same samples.

    Attributes
    ----------
    p_value : float
        Of the null hypothesis that both samples come from one distribution: the smaller of the two
        below, corrected for the choice by Holm.
    mmd, classifier : float
        The p-values of `mmd_p_value` and `classifier_p_value`.
    """

    p_value: float
    mmd: float
    classifier: float


def vectors_differ(
    reference: FloatArray, sample: FloatArray, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> TwoSampleTest:
    """Test whether two samples of vectors come from one distribution.

    Two statistics are computed over the same permutations. The maximum mean discrepancy finds
    differences of any shape; the classifier finds small shifts along few directions, which are lost
    among the distances of many dimensions.

    Parameters
    ----------
    reference, sample : numpy.ndarray
        float32, shapes (n_reference, dim) and (n_sample, dim), of 10 rows or more each.
    permutations : int
        The smallest p-value of one statistic is 1 / (permutations + 1).
    seed : int
        Of permutations and folds.

    Raises
    ------
    InvalidInput
        If a sample has fewer than 10 rows, or a value that is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 200, 8)).astype(np.float32)
    >>> vectors_differ(a, b).p_value > 0.05, vectors_differ(a, b + 1).p_value < 0.01
    (True, True)
    """
    _check(reference, sample)
    joined = np.concatenate([reference, sample]).astype(np.float32)
    if np.ptp(joined, axis=0).max() <= ROUNDING * np.abs(joined).max():  # all are equal
        return TwoSampleTest(1.0, 1.0, 1.0)
    rng = np.random.default_rng(seed)
    labels = _labellings(len(reference), len(sample), permutations, rng)
    mmd = _p_value(_quadratic(_kernel(joined), labels))
    classifier = _p_value(_quadratic(_held_out_smoother(joined, rng), labels))
    return TwoSampleTest(min(holm([mmd, classifier])), mmd, classifier)


def values_differ(
    reference: npt.NDArray[np.float64],
    sample: npt.NDArray[np.float64],
) -> float:
    """Return the p-value of the test of Kolmogorov and Smirnov for two samples of numbers.

    Parameters
    ----------
    reference, sample : numpy.ndarray
        float64, shapes (n_reference,) and (n_sample,); 1 value or more each.

    Examples
    --------
    >>> values_differ(np.arange(100.0), np.arange(50.0, 150.0)) < 0.001
    True
    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, sample).pvalue)


def counts_differ(reference: npt.NDArray[np.int64], sample: npt.NDArray[np.int64]) -> float:
    """Return the p-value of Pearson's chi-squared test that two rows of counts have one law.

    Categories are joined, the rarest first, until each is expected 5 times in both rows, as the
    approximation by the chi-squared distribution needs (Cochran, 1954).

    Parameters
    ----------
    reference, sample : numpy.ndarray
        int64, shape (n_categories,): how often each category was seen.

    Returns
    -------
    float
        1 where fewer than two categories are left.

    Examples
    --------
    >>> counts_differ(np.array([50, 50]), np.array([49, 51])) > 0.5
    True
    >>> counts_differ(np.array([90, 10]), np.array([10, 90])) < 0.001
    True
    """
    from scipy.stats import chi2_contingency

    table = np.stack([reference, sample]).astype(np.float64)  # (2, n_categories)
    table = _joined_rare(table[:, table.sum(axis=0) > 0])
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def _joined_rare(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Join the rarest columns until the smaller row expects 5 of each."""
    share = table.sum(axis=1).min() / max(table.sum(), 1)
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    expected = np.cumsum(table.sum(axis=0)) * share
    rare = table.sum(axis=0) * share < 5
    n = int(rare.sum())
    if not n:
        return table
    if expected[n - 1] < 5 and n < table.shape[1]:
        n += 1  # even together they are rare
    return np.concatenate([table[:, :n].sum(axis=1, keepdims=True), table[:, n:]], axis=1)


def _check(reference: FloatArray, sample: FloatArray) -> None:
    for name, vectors in (("reference", reference), ("sample", sample)):
        if len(vectors) < MIN_SAMPLE:
            raise InvalidInput(
                f"the {name} has {len(vectors)} vectors; the tests of drift need {MIN_SAMPLE}"
            )
        if not np.isfinite(vectors).all():
            raise InvalidInput(f"the {name} has vectors with values that are not finite")


def _labellings(
    n_reference: int, n_sample: int, permutations: int, rng: np.random.Generator
) -> Labels:
    """Return labels whose mean is 0, the true ones first, shape (n, 1 + permutations)."""
    true = np.concatenate(
        [np.full(n_reference, 1 / n_reference), np.full(n_sample, -1 / n_sample)]
    ).astype(np.float32)
    columns = np.repeat(true[:, None], 1 + permutations, axis=1)
    columns[:, 1:] = rng.permuted(columns[:, 1:], axis=0)
    return columns


def _quadratic(matrix: FloatArray, labels: Labels) -> npt.NDArray[np.float64]:
    """Return ``y' M y`` of every labelling, shape (1 + permutations,)."""
    return np.asarray(np.einsum("np,np->p", labels, matrix @ labels), np.float64)


def _p_value(statistics: npt.NDArray[np.float64]) -> float:
    """Return the share of the statistics that reach the first; ties count, but for rounding."""
    slack = ROUNDING * (abs(float(statistics[0])) + float(statistics.std()))
    return float((statistics >= statistics[0] - slack).mean())


def _kernel(vectors: FloatArray) -> FloatArray:
    """Return the mean of Gaussian kernels of several widths, shape (n, n).

    ``y' K y`` with labels ``1 / n`` and ``-1 / m`` is the squared maximum mean discrepancy (Gretton
    et al., JMLR 2012); the widths are multiples of the median distance.
    """
    norms = np.einsum("nd,nd->n", vectors, vectors)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * vectors @ vectors.T, 0)
    median = float(np.median(squared[np.triu_indices(len(vectors), 1)])) or 1.0
    kernels = [np.exp(-squared / (2 * median * scale**2)) for scale in BANDWIDTHS]
    return np.asarray(np.mean(kernels, axis=0), np.float32)


def _held_out_smoother(vectors: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the matrix that maps labels to their predictions by cross-fitted ridge regressions.

    ``y' S y`` is the covariance of the labels with what a classifier that has not seen them says,
    the statistic of a classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017). Folds do not
    depend on the labels, so one matrix, shape (n, n), serves all permutations. The penalty is the
    mean eigenvalue of the Gram matrix of the vectors.
    """
    scaled = vectors - vectors.mean(axis=0)
    gram = scaled @ scaled.T  # (n, n)
    fold = rng.permutation(len(vectors)) % FOLDS
    smoother = np.zeros_like(gram)
    for number in range(FOLDS):
        held_out, seen = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        within = gram[np.ix_(seen, seen)]
        penalty = float(np.trace(within)) / len(seen)
        solved = np.linalg.solve(
            within + penalty * np.eye(len(seen), dtype=np.float32), gram[np.ix_(seen, held_out)]
        )
        smoother[np.ix_(held_out, seen)] = solved.T
    return np.asarray(smoother, np.float32)

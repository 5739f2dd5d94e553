"""What can be told from noise in a Gram matrix: post-processing, which costs no privacy.

The eigenvalues of symmetric noise with the deviation ``s / sqrt(2)`` off the diagonal fill the
interval up to the edge ``s sqrt(2 n)`` (Wigner's semicircle). A direction of the data whose
eigenvalue is below the edge cannot be told from noise. One above it is found, with an eigenvalue
that noise has raised, and is shrunk (Gavish and Donoho, IEEE Transactions on Information Theory
2017).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from isthmus.privacy.statistics import Float64Array, Statistics

THRESHOLD: Final = 2.0
TRACY_WIDOM: Final = 3.3


def noise_edge(statistics: Statistics) -> float:
    """Return the largest eigenvalue that noise alone would give the Gram matrix."""
    return statistics.gram_noise * float(np.sqrt(2 * len(statistics.items)))


def stands_out(statistics: Statistics) -> bool:
    """Return whether any direction of the Gram matrix can be told from noise."""
    largest = float(np.linalg.eigvalsh(statistics.gram).max(initial=0.0))
    return largest > _clear_of_noise(statistics)


def denoised_gram(statistics: Statistics) -> Float64Array:
    """Return the Gram matrix without what cannot be told from noise, symmetric.

    It is the sum of two parts. In the first, of what many items share, an eigenvalue v clear of the
    edge e becomes ``sqrt(v^2 - e^2)``, which is the shrinkage that is optimal in the Frobenius
    norm; the others become 0. The second, of single pairs such as a film and its sequel, is what
    the first leaves of each entry, soft-thresholded at `THRESHOLD` deviations of the noise.
    """
    values, vectors = np.linalg.eigh(statistics.gram)
    edge = noise_edge(statistics)
    kept = values > _clear_of_noise(statistics)
    shrunk = np.sqrt(values[kept] ** 2 - edge**2)
    common = (vectors[:, kept] * shrunk) @ vectors[:, kept].T
    rest = statistics.gram - common
    rest[np.diag_indices_from(rest)] = 0
    threshold = THRESHOLD * statistics.gram_noise / np.sqrt(2)
    pairs = np.sign(rest) * np.maximum(np.abs(rest) - threshold, 0)
    return np.asarray(common + pairs)


def _clear_of_noise(statistics: Statistics) -> float:
    """Return what the largest eigenvalue of noise exceeds once in a thousand times.

    It varies about the edge e by ``e n^(-2/3) / 2`` times a variable of the Tracy-Widom
    distribution, which exceeds 3.3 that often.
    """
    margin: float = TRACY_WIDOM / 2 * float(max(len(statistics.items), 1)) ** (-2 / 3)
    return noise_edge(statistics) * (1 + margin)


def popularity_above_noise(statistics: Statistics) -> Float64Array:
    """Return the popularity, 0 where it is below what the noise of unused items reaches.

    The largest of n normal numbers is about ``sqrt(2 log n)`` deviations above the mean.
    """
    popularity = statistics.popularity
    reached = statistics.popularity_noise * np.sqrt(2 * np.log(max(len(popularity), 2)))
    return np.asarray(np.where(popularity > reached, popularity, 0.0))

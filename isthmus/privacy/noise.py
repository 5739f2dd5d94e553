"""Gaussian noise whose random numbers come from the operating system.

Noise of a seeded generator could be computed again and subtracted, so no seed is taken. The
numbers are normal in double precision: an attacker who sees all their digits may learn something
from the last of them (Mironov, CCS 2012), which is why releases are rounded to single precision.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

BITS: Final = 53  # of a uniform number in double precision


def gaussian(*shape: int) -> Float64Array:
    """Return independent standard normal numbers.

    Examples
    --------
    >>> bool(abs(gaussian(100, 100).std() - 1) < 0.1)
    True
    """
    from scipy.special import ndtri

    n = int(np.prod(shape))
    words = np.frombuffer(secrets.token_bytes(8 * n), np.uint64) >> np.uint64(64 - BITS)
    return np.asarray(ndtri((words + 0.5) * 2.0**-BITS)).reshape(shape)


def symmetric_gaussian(n: int) -> Float64Array:
    """Return a symmetric matrix of normal numbers, shape (n, n).

    The deviation is 1 on the diagonal and ``1 / sqrt(2)`` off it. A symmetric matrix has the
    Frobenius norm of the vector of its diagonal and of the upper triangle times ``sqrt(2)``; the
    noise is standard normal in that vector. So a deviation of ``sigma`` times the largest change in
    the Frobenius norm is a Gaussian mechanism with the noise multiplier sigma.
    """
    upper = np.triu(gaussian(n, n), 1) / np.sqrt(2)
    noise = np.asarray(upper + upper.T)
    noise[np.diag_indices(n)] = gaussian(n)
    return noise

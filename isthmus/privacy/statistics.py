"""Sums over users with noise: what a private training learns from, and all that it learns from.

Neighbouring data sets differ by one user with all rows, in all domains. Each user's row of liked
items is bounded to `MAX_ROWS` entries and to the length 1, and enters two sums:

popularity
    The sum of the rows x. One user changes it by ``|x| <= 1``.
Gram matrix
    The sum of ``z z'``, where z is the part of the row that falls on the modelled items, each
    divided by the fourth root of its popularity with noise, again of the length 1. One user changes
    it by ``|z z'|_F = |z|^2 <= 1`` in the Frobenius norm: the sum over i and j of
    ``(z_i z_j)^2`` is ``(z'z)^2``. The matrix is joint over all domains, so the cross-domain block
    is in it and costs nothing more.

Both get Gaussian noise once. The modelled items are the most popular ones by the popularity with
noise, so choosing them is post-processing, and so is everything that is computed afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from isthmus.errors import InvalidInput
from isthmus.privacy.accountant import Mechanism, noise_multiplier
from isthmus.privacy.contributions import bounded_rows, unit_rows
from isthmus.privacy.noise import gaussian, symmetric_gaussian

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

MAX_ROWS: Final = 300
MAX_MODELLED: Final = 800
POPULARITY: Final = "popularity"
GRAM: Final = "Gram matrix"
SCALE_POWER: Final = -0.25
POPULARITY_SHARE: Final = 0.05  # of the inverse noise variance; the Gram matrix has the rest


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums over users, with noise.

    Attributes
    ----------
    popularity : numpy.ndarray
        float64, shape (n_items,): each user counts as ``1 / sqrt(n)`` for each of n liked items.
    items : numpy.ndarray
        int64, shape (n_modelled,), ascending: the modelled items.
    scales : numpy.ndarray
        float64, shape (n_modelled,): what the rows of the Gram matrix are multiplied by. It lets
        the less popular items have more of the length of a row.
    gram : numpy.ndarray
        float64, shape (n_modelled, n_modelled), symmetric: the sum of ``z z'`` over the users.
    popularity_noise, gram_noise : float
        Deviations of the noise: that of the Gram matrix on the diagonal, which is ``sqrt(2)`` of
        that off it.
    """

    popularity: Float64Array
    items: Columns
    scales: Float64Array
    gram: Float64Array
    popularity_noise: float
    gram_noise: float


def mechanisms_for(epsilon: float, delta: float) -> list[Mechanism]:
    """Return the mechanisms that the statistics are released by, which use up a budget exactly."""
    together = noise_multiplier(epsilon, delta)
    shares = {POPULARITY: POPULARITY_SHARE, GRAM: 1 - POPULARITY_SHARE}
    return [
        Mechanism(name=name, noise_multiplier=float(together / np.sqrt(share)))
        for name, share in shares.items()
    ]


def release_statistics(
    liked: csr_array,
    users: Sequence[str],
    mechanisms: Sequence[Mechanism],
    *,
    seed: int = 0,
    modelled: int = MAX_MODELLED,
) -> Statistics:
    """Return the sums over users with the noise of the mechanisms.

    Parameters
    ----------
    liked : scipy.sparse.csr_array
        Ones, shape (n_users, n_items).
    users : sequence of str
        Ids of the users, who differ.
    mechanisms : sequence of Mechanism
        See `mechanisms_for`.
    seed : int
        Of the choice of rows; the noise has none.
    modelled : int
        Items of the Gram matrix, at most.
    """
    noise = {one.name: one.noise_multiplier for one in mechanisms}
    bounded = bounded_rows(liked, users, MAX_ROWS, seed)
    popularity = exact_popularity(bounded) + noise[POPULARITY] * gaussian(liked.shape[1])
    items = np.sort(np.argsort(-popularity, kind="stable")[:modelled])
    scales = np.maximum(popularity[items], 1.0) ** SCALE_POWER
    gram = exact_gram(bounded, items, scales) + noise[GRAM] * symmetric_gaussian(len(items))
    return Statistics(
        popularity=_rounded(popularity),
        items=items,
        scales=scales,
        gram=_rounded(gram),
        popularity_noise=noise[POPULARITY],
        gram_noise=noise[GRAM],
    )


def exact_popularity(bounded: csr_array) -> Float64Array:
    """Return the sum of the rows at length 1, without noise, shape (n_items,).

    Raises
    ------
    InvalidInput
        If a user has more rows than the bound.
    """
    _require_bounded(bounded)
    return np.asarray(unit_rows(bounded).sum(axis=0), np.float64).ravel()


def exact_gram(bounded: csr_array, items: Columns, scales: Float64Array) -> Float64Array:
    """Return the Gram matrix of the scaled rows at length 1 over some items, without noise.

    Raises
    ------
    InvalidInput
        If a user has more rows than the bound.
    """
    _require_bounded(bounded)
    part = bounded[:, items]
    part.data = part.data * scales[part.indices]
    rows = unit_rows(part)
    return np.asarray((rows.T @ rows).todense(), np.float64)


def _require_bounded(matrix: csr_array) -> None:
    """Refuse a matrix on which the noise would promise less than it says."""
    longest = int(np.diff(matrix.indptr).max(initial=0))
    if longest > MAX_ROWS:
        raise InvalidInput(
            f"a user has {longest:,} rows, and {MAX_ROWS} count in a private training; bound them "
            "first"
        )


def _rounded(values: Float64Array) -> Float64Array:
    return values.astype(np.float32).astype(np.float64)

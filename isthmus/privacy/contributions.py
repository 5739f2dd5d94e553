"""Bounds of what one user contributes to a sum: the number of rows, and their norm."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Codes = npt.NDArray[np.uint64]

# Odd constants of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
INCREMENT: Final = np.uint64(0x9E3779B97F4A7C15)
FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def bounded_rows(matrix: csr_array, users: Sequence[str], rows: int, seed: int = 0) -> csr_array:
    """Return a matrix of which each user has at most some entries, over all domains together.

    Of a user with more, a random sample is kept: the entries whose hashes, of the seed, the user
    and the item, are smallest. So what is kept of a user depends on this user alone. With one
    sequence of random numbers for all, a user less would change what is kept of the others, and
    a sum would change by more than one contribution.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array
        Shape (n_users, n_items).
    users : sequence of str
        The ids of the users.
    rows : int
        Entries kept of a user, at most.
    seed : int
        Of the hashes.
    """
    from scipy.sparse import csr_array

    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= rows:
        return matrix
    owners = np.repeat(np.arange(len(lengths)), lengths)
    codes = np.array([_code(f"{seed}/{user}") for user in users], np.uint64)
    hashes = _mixed(codes[owners] ^ _mixed(matrix.indices.astype(np.uint64)))
    order = np.lexsort((hashes, owners))
    kept = np.sort(order[np.arange(len(owners)) - matrix.indptr[owners] < rows])
    places = (owners[kept], matrix.indices[kept])
    return csr_array((matrix.data[kept], places), shape=matrix.shape)


def unit_rows(matrix: csr_array) -> csr_array:
    """Return a matrix whose rows have the length 1, or 0 where they are empty.

    A longer row is clipped to 1. A shorter one is raised to it: the noise is that of the longest
    row that is allowed, so a shorter row would only be harder to find in it.
    """
    from scipy.sparse import csr_array

    squares = matrix.copy()
    squares.data = squares.data.astype(np.float64) ** 2
    norms = np.sqrt(np.asarray(squares.sum(axis=1)).ravel())
    scaled = matrix.data / np.repeat(np.maximum(norms, 1e-12), np.diff(matrix.indptr))
    return csr_array((scaled, matrix.indices, matrix.indptr), shape=matrix.shape)


def _code(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(codes: Codes) -> Codes:
    """Return the splitmix64 hashes of numbers."""
    mixed = codes + INCREMENT
    for factor, shift in zip(FACTORS, (30, 27), strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)

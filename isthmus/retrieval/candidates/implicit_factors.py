"""Factors of implicit feedback: factorization by ALS, and users solved from item factors."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import concatenate_ranges, lengths_of
from isthmus.retrieval.candidates.user_histories import UserHistories

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_NUMBERS = 4_000_000  # of the systems that are solved at once


def limited_factors(factors: int, liked: csr_array) -> int:
    """Return a number of factors that is at most half the smaller side of a matrix, and 2 or more.

    A number below 2 that is asked for stays as it is.
    """
    return min(factors, max(2, min(liked.shape) // 2))


def factorize(
    liked: csr_array,
    factors: int,
    regularization: float,
    alpha: float,
    iterations: int,
    seed: int,
    start: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Factorize a matrix of likes (Hu, Koren and Volinsky, ICDM 2008), by implicit.

    Parameters
    ----------
    liked : scipy.sparse.csr_array
        Ones, float32, shape (n_users, n_items).
    factors : int
        Number of latent factors.
    regularization : float
        L2 penalty of the factors.
    alpha : float
        Confidence of a like, where every other item has confidence 1.
    iterations : int
        Alternations.
    seed : int
        Of the initial factors.
    start : tuple of numpy.ndarray, optional
        Factors of users and items to start from, such as those for another penalty.

    Returns
    -------
    users, items : numpy.ndarray
        float32, shapes (n_users, factors) and (n_items, factors); rows without likes are zero.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=iterations,
        num_threads=1,  # several threads add up in another order each time
        random_state=seed,
    )
    if start is not None:
        model.user_factors, model.item_factors = (factors.copy() for factors in start)
    model.fit(csr_matrix(liked), show_progress=False)
    users = np.asarray(model.user_factors, np.float32)
    items = np.asarray(model.item_factors, np.float32)
    users[np.diff(liked.indptr) == 0] = 0
    items[np.bincount(liked.indices, minlength=liked.shape[1]) == 0] = 0
    return users, items


class FoldIn:
    """Item factors V that the factors of users are solved from.

    Parameters
    ----------
    items : numpy.ndarray
        V, float32, shape (n_items, factors).
    regularization : float
        L2 penalty of the factors of a user.
    among : numpy.ndarray, optional
        bool, shape (n_items,): the items of V, where the array holds others too.
    """

    def __init__(self, items: FloatArray, regularization: float, among: Mask | None = None) -> None:
        self.items = items
        counted = items.astype(np.float64) if among is None else items[among].astype(np.float64)
        gram = counted.T @ counted
        gram[np.diag_indices_from(gram)] += regularization
        self._gram, self._inverse = gram, np.linalg.inv(gram)

    def solve(self, users: UserHistories, alpha: float, added: float = 1.0) -> FloatArray:
        """Return the factors of users, float32, shape (n_users, factors).

        With A = V'V + regularization I over all items, the factors Y of the history (one row an
        entry) and its confidences ``c = added + alpha * weight``, they solve
        ``(A + Y' diag(c - 1) Y) x = Y'c``. Without a history they are zero.
        """
        liked = users.liked
        confidence = added + alpha * liked.weights.astype(np.float64)
        out = np.zeros((len(liked), self.items.shape[1]), np.float32)
        self._solve(liked, confidence - 1, confidence, out)
        return out

    def update(self, prior: FloatArray, users: UserHistories, alpha: float) -> FloatArray:
        """Return factors that were predicted without a history, corrected by it.

        The loss is ``(u - m)' A (u - m) + sum(c (1 - y u)^2)`` over the factors y of the history,
        with A and the confidences ``c = 1 + alpha * weight`` as in `solve`: the prediction m
        stands for what is not known, and the history says where it errs. So
        ``u = m + (A + Y' diag(c) Y)^-1 Y' (c (1 - Y m))``.

        Parameters
        ----------
        prior : numpy.ndarray
            m, float32, shape (n_users, factors).
        users : UserHistories
            The histories.
        alpha : float
            Confidence of a like of weight 1, less one.
        """
        liked = users.liked
        confidence = 1 + alpha * liked.weights.astype(np.float64)
        predicted = np.einsum("ij,ij->i", self.items[liked.columns], prior[liked.owners])
        out = prior.astype(np.float32, copy=True)
        self._solve(liked, confidence, confidence * (1 - predicted), out)
        return out

    def _solve(
        self,
        users: UserHistories,
        weights: npt.NDArray[np.float64],
        right: npt.NDArray[np.float64],
        out: FloatArray,
    ) -> None:
        """Add ``(A + Y' diag(weights) Y)^-1 Y' right`` to the rows of the users.

        By the push-through identity it is ``A^-1 Y' (I + diag(weights) K)^-1 right`` with
        ``K = Y A^-1 Y'``: a system with as many unknowns as the history has entries, which is
        solved where it is the smaller one. Histories of one length are solved together.
        """
        if len(users) == 1:  # nothing to group
            if len(users.columns):
                out += self._solve_systems(users.columns[None], weights[None], right[None])
            return
        factors = self.items.shape[1]
        lengths = lengths_of(users.starts)
        order = np.argsort(lengths, kind="stable")
        bounds = np.flatnonzero(np.diff(lengths[order], prepend=-1, append=-1)).tolist()
        for first, last in pairwise(bounds):
            n = int(lengths[order[first]])
            step = max(1, MAX_NUMBERS // max(1, n * max(n, factors)))
            for start in range(first, last if n else first, step):
                rows = order[start : min(start + step, last)]
                entries = concatenate_ranges(users.starts[rows], lengths[rows])
                shape = (len(rows), n)
                out[rows] += self._solve_systems(
                    users.columns[entries].reshape(shape),
                    weights[entries].reshape(shape),
                    right[entries].reshape(shape),
                )

    def _solve_systems(
        self, columns: Columns, weights: npt.NDArray[np.float64], right: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Solve for users with histories of one length, shape (n_users, length)."""
        y = self.items[columns].astype(np.float64)  # (n_users, length, factors)
        if y.shape[1] > y.shape[2]:
            systems = self._gram + y.transpose(0, 2, 1) @ (weights[:, :, None] * y)
            projected = np.einsum("ulf,ul->uf", y, right)
            return np.asarray(np.linalg.solve(systems, projected[:, :, None])[:, :, 0])
        rows = y @ self._inverse
        systems = weights[:, :, None] * (rows @ y.transpose(0, 2, 1))
        diagonal = np.arange(y.shape[1])
        systems[:, diagonal, diagonal] += 1
        solved = np.linalg.solve(systems, right[:, :, None])
        return np.asarray((solved.transpose(0, 2, 1) @ rows)[:, 0])

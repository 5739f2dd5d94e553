"""EASE: a linear model of items by items in closed form (Steck, WWW 2019).

``B = I - P / diag(P)`` with ``P = (X'X + l I)^-1``. By the matrix inversion lemma
``l P = I - X' (X X' + l I)^-1 X``, so the smaller side is inverted, users or items, and the result
is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from isthmus.evaluation.baselines.baseline import Baseline, Places
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ITEMS_AT_ONCE = 2_048


@dataclass
class EASE(Baseline):
    """Rank by the linear model.

    Attributes
    ----------
    l2 : float
        The ridge l.
    largest : int
        Largest side that is inverted (its square is held, in float32). Where there are more users
        and more items than this, only the most popular items are modelled, so many, and the
        others score 0.
    """

    name: ClassVar[str] = "EASE"
    l2: float = 300.0
    largest: int = 12_000

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del vectors
        self._modelled = self._choose(matrix)
        known = matrix[:, self._modelled]
        self._by_users = known.shape[0] < known.shape[1]
        self._known = known
        gram = (known @ known.T if self._by_users else known.T @ known).toarray()
        gram[np.diag_indices_from(gram)] += self.l2
        self._inverse = _inverse(gram)
        self._diagonal = self._diagonal_of_p()

    def _choose(self, matrix: csr_array) -> Places:
        """Give the items that are modelled: those that anybody uses, or the most popular."""
        users = np.asarray(matrix.sum(axis=0))
        used = np.flatnonzero(users)
        if min(matrix.shape[0], len(used)) <= self.largest:
            return used
        order = self._shuffle(self._item_ids.to_pylist())
        best = order[np.argsort(-users[order], kind="stable")[: self.largest]]
        return np.sort(best)

    def _diagonal_of_p(self) -> FloatArray:
        """Give the diagonal of l P, shape (n_modelled,)."""
        if not self._by_users:
            return np.asarray(np.diag(self._inverse) * self.l2, np.float32)
        out = np.ones(self._known.shape[1], np.float32)
        for start in range(0, len(out), ITEMS_AT_ONCE):
            users = self._known[:, start : start + ITEMS_AT_ONCE].T.tocsr()
            out[start : start + ITEMS_AT_ONCE] -= users.multiply(users @ self._inverse).sum(axis=1)
        return out

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del users
        own = histories[:, self._modelled]
        if self._by_users:
            projected = ((own @ self._known.T) @ self._inverse) @ self._known - own
        else:
            projected = -self.l2 * (own @ self._inverse)
        modelled = np.asarray(projected / self._diagonal + own, np.float32)
        scores = np.zeros(histories.shape, np.float32)
        scores[:, self._modelled] = modelled
        return scores[:, columns]


def _inverse(matrix: FloatArray) -> FloatArray:
    """Invert a symmetric positive definite matrix by Cholesky's factors: half of what LU takes."""
    from scipy.linalg import cho_factor
    from scipy.linalg.lapack import spotri

    factor, _ = cho_factor(np.asfortranarray(matrix), lower=True, overwrite_a=True)
    lower = np.tril(spotri(factor, lower=True, overwrite_c=True)[0])
    diagonal = np.diag(lower).copy()
    inverse = lower + lower.T
    inverse[np.diag_indices_from(inverse)] = diagonal
    return np.asarray(inverse, np.float32)

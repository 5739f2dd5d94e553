"""EASE (Steck, WWW 2019) in closed form, by the smaller side of the matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg.lapack import spotrf, spotri

from isthmus.evaluation.task import TestUser
from recommenders.method import Data, Floats, Method, Score, Settings, combinations

ITEMS_AT_ONCE = 1_024


class Ease(Method):
    """B = I - P / diag(P) with P = (X'X + l2 I)^-1, over the items of all domains."""

    def grid(self) -> list[Settings]:
        """Return ridge penalties."""
        return combinations(l2=[30.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0])

    def fit(self, data: Data, settings: Settings) -> Score:
        """Invert the Gram matrix of users or items; B is never formed."""
        l2 = settings["l2"]
        used = np.flatnonzero(np.asarray(data.matrix.sum(axis=0)).ravel() > 0)
        x = data.matrix[:, used].tocsr()
        by_users = x.shape[0] < x.shape[1]
        inverse = _inverse((x @ x.T if by_users else x.T @ x).toarray(), l2)
        diagonal = np.ones(len(used), np.float32)  # of l2 P
        if by_users:  # l2 P = I - X'(XX' + l2 I)^-1 X
            for start in range(0, len(used), ITEMS_AT_ONCE):
                part = x[:, start : start + ITEMS_AT_ONCE].T.tocsr()
                diagonal[start : start + ITEMS_AT_ONCE] -= np.asarray(
                    part.multiply(part @ inverse).sum(axis=1)
                ).ravel()
        else:
            diagonal = l2 * np.diag(inverse)
        place = np.full(len(data.items), -1)
        place[used] = np.arange(len(used))
        columns = place[data.candidates]
        self.model = x, inverse, diagonal

        def score(users: Sequence[TestUser]) -> Floats:
            histories = data.histories(users)[:, used]
            dense = histories.toarray()
            product = (
                dense - ((histories @ x.T) @ inverse) @ x
                if by_users
                else l2 * (histories @ inverse)
            )
            scores = dense - product / diagonal  # x B = x - x P / diag(P)
            return np.where(columns >= 0, scores[:, columns], 0)

        return score


def _inverse(gram: Floats, l2: float) -> Floats:
    """Return the inverse of a Gram matrix plus a ridge, by its Cholesky factor."""
    matrix = np.asarray(gram, np.float32)
    matrix[np.diag_indices_from(matrix)] += np.float32(l2)
    factor, failed = spotrf(matrix, lower=True, overwrite_a=True)
    if failed:
        raise ValueError(f"the Gram matrix with a ridge of {l2:g} is not positive definite")
    lower, _ = spotri(factor, lower=True, overwrite_c=True)
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).T

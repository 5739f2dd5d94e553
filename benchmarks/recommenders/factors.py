"""Factorisation by implicit: ALS of all domains, and EMCDR with a linear map between domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from isthmus.evaluation.task import TestUser
from recommenders.method import Data, Floats, Method, Score, Settings, combinations

GRID = {"factors": [32, 64, 128], "l2": [3.0, 30.0, 100.0, 300.0], "alpha": [1.0, 10.0]}


class Als(Method):
    """Implicit ALS (Hu et al., ICDM 2008) over all domains; users are folded in."""

    packages: ClassVar[tuple[str, ...]] = ("implicit",)

    def grid(self) -> list[Settings]:
        """Return factors, penalties and confidences."""
        return combinations(**GRID)

    def fit(self, data: Data, settings: Settings) -> Score:
        """Factorise the matrix."""
        model = als(data.matrix, settings)
        items = np.asarray(model.item_factors, np.float32)[data.candidates]
        self.model = model
        return lambda users: fold_in(model, data.histories(users)) @ items.T


class Emcdr(Method):
    """EMCDR (Man et al., IJCAI 2017) with a ridge map from source factors to target factors.

    ALS of the target alone and ALS of everything else alone; the map is fitted to the users of
    both. A user who is known in the target is folded in there; there is nothing to map then.
    """

    packages: ClassVar[tuple[str, ...]] = ("implicit",)
    kinds: ClassVar[tuple[str, ...]] = ("cold user",)

    def grid(self) -> list[Settings]:
        """Return settings of both factorisations, and penalties of the map."""
        return combinations(
            factors=[32, 64], l2=[30.0, 100.0, 300.0], alpha=[1.0, 10.0], ridge=[1.0, 10.0, 100.0]
        )

    def fit(self, data: Data, settings: Settings) -> Score:
        """Factorise both sides, and fit the map to the users of both."""
        target, source = data.in_target, ~data.in_target
        sides = [data.matrix[:, side].tocsr() for side in (source, target)]
        used = [np.asarray(side.sum(axis=1)).ravel() > 0 for side in sides]
        models = [
            _cached_als(self, side[rows], settings) for side, rows in zip(sides, used, strict=True)
        ]
        shared = used[0] & used[1]
        if shared.sum() < 2:
            raise ValueError("fewer than two users are in both domains; there is nothing to map by")
        x, y = (fold_in(model, side[shared]) for model, side in zip(models, sides, strict=True))
        weights, offset = _ridge(x, y, settings["ridge"])
        column = np.cumsum(target) - 1  # of a target item within the target
        items = np.asarray(models[1].item_factors, np.float32)[column[data.candidates]]
        self.model = models, weights, offset

        def score(users: Sequence[TestUser]) -> Floats:
            histories = data.histories(users)
            known = np.asarray(histories[:, target].sum(axis=1)).ravel() > 0
            factors = fold_in(models[0], histories[:, source].tocsr()) @ weights + offset
            factors[known] = fold_in(models[1], histories[known][:, target].tocsr())
            return np.asarray(factors @ items.T, np.float32)

        return score


def als(matrix: csr_matrix, settings: Settings, seed: int = 0) -> Any:
    """Return a fitted ALS of implicit, on one thread."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=settings["factors"],
        regularization=settings["l2"],
        alpha=settings["alpha"],
        iterations=15,
        num_threads=1,
        random_state=seed,
    )
    model.fit(matrix, show_progress=False)
    return model


def fold_in(model: Any, histories: csr_matrix) -> Floats:
    """Return the factors of users by their histories, shape (n_users, factors)."""
    if not histories.shape[0]:
        return np.zeros((0, model.factors), np.float32)
    return np.asarray(model.recalculate_user(np.arange(histories.shape[0]), histories), np.float32)


def _cached_als(method: Emcdr, matrix: csr_matrix, settings: Settings) -> Any:
    """Return ALS of one side; settings that differ only in the map share it."""
    cache: dict[Any, Any] = method.__dict__.setdefault("cache", {})
    chosen = {name: settings[name] for name in ("factors", "l2", "alpha")}
    key = (matrix.shape, matrix.nnz, *chosen.values())
    if key not in cache:
        while len(cache) > 1:
            cache.pop(next(iter(cache)))
        cache[key] = als(matrix, chosen)
    return cache[key]


def _ridge(
    x: Floats, y: Floats, l2: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return weights and offset of the ridge regression from standardised x to centred y."""
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = (x - mean) / scale
    gram = z.T @ z + l2 * np.eye(z.shape[1])
    weights = np.linalg.solve(gram, z.T @ (y - y.mean(axis=0))) / scale[:, None]
    return weights, y.mean(axis=0) - mean @ weights

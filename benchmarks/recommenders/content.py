"""Content vectors: nearest neighbours of the history, and a ridge from content to ALS factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from isthmus.evaluation.task import TestUser
from recommenders.factors import als, fold_in
from recommenders.method import Data, Floats, Method, Score, Settings, combinations


class _ByContent(Method):
    needs: ClassVar[str] = "vectors"

    def vectors(self, data: Data) -> Floats:
        """Return the unit vectors of all items, zeros where one has none, (n_items, dim)."""
        known = self.resources["vectors"]
        row_of = {item: row for row, item in enumerate(known["item_ids"].tolist())}
        out = np.zeros((len(data.items), known["vectors"].shape[1]), np.float32)
        pairs = [(c, row_of[item]) for c, item in enumerate(data.items) if item in row_of]
        columns, rows = np.array(pairs, np.int64).reshape(-1, 2).T
        out[columns] = known["vectors"][rows]
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


class Content(_ByContent):
    """Nearest neighbours of the mean of the history, or the sum of the k nearest of its items."""

    def grid(self) -> list[Settings]:
        """Return how the history is pooled: all of it, or the nearest k items of it."""
        return combinations(pooling=["mean", 1, 3, 10])

    def fit(self, data: Data, settings: Settings) -> Score:
        """Look up the vectors."""
        vectors, pooling = self.vectors(data), settings["pooling"]
        candidates = vectors[data.candidates]
        self.model = vectors

        def score(users: Sequence[TestUser]) -> Floats:
            histories = data.histories(users)
            if pooling == "mean":
                return np.asarray(histories @ vectors @ candidates.T, np.float32)
            out = np.zeros((len(users), len(candidates)), np.float32)
            for row in range(len(users)):
                items = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
                if len(items):
                    near = vectors[items] @ candidates.T
                    k = min(pooling, len(items))
                    out[row] = np.partition(near, len(items) - k, axis=0)[-k:].sum(axis=0)
            return out

        return score


class ContentToAls(_ByContent):
    """A ridge from content to the item factors of ALS, so that new items have factors."""

    packages: ClassVar[tuple[str, ...]] = ("implicit",)
    kinds: ClassVar[tuple[str, ...]] = ("cold item",)

    def grid(self) -> list[Settings]:
        """Return settings of ALS, and penalties of the map."""
        return combinations(
            factors=[64], l2=[30.0, 100.0], alpha=[1.0, 10.0], ridge=[0.1, 1.0, 10.0]
        )

    def fit(self, data: Data, settings: Settings) -> Score:
        """Factorise, and fit the map to the items that are used."""
        model = als(data.matrix, settings)
        used = np.asarray(data.matrix.sum(axis=0)).ravel() > 0
        vectors, factors = self.vectors(data), np.asarray(model.item_factors, np.float32)
        x = vectors[used]
        gram = x.T @ x + settings["ridge"] * np.eye(x.shape[1], dtype=np.float32)
        weights = np.linalg.solve(gram, x.T @ factors[used])
        items = np.where(used[:, None], factors, vectors @ weights)[data.candidates]
        self.model = model, weights
        return lambda users: fold_in(model, data.histories(users)) @ items.T

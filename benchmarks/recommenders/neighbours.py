"""Popularity, item-KNN by implicit, and user-KNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix, diags

from isthmus.evaluation.task import TestUser
from recommenders.method import Data, Floats, Method, Score, Settings, combinations


class Popularity(Method):
    """The number of users of an item."""

    def fit(self, data: Data, settings: Settings) -> Score:
        """Count."""
        del settings
        counts = np.asarray(data.matrix.sum(axis=0)).ravel()[data.candidates].astype(np.float32)
        self.model = counts
        return lambda users: np.tile(counts, (len(users), 1))


class ItemKNN(Method):
    """Item neighbours by implicit: cosine, TF-IDF or BM25 weighted."""

    packages: ClassVar[tuple[str, ...]] = ("implicit", "scipy")

    def grid(self) -> list[Settings]:
        """Return kinds and numbers of neighbours."""
        return combinations(
            kind=["CosineRecommender", "TFIDFRecommender", "BM25Recommender"],
            k=[20, 50, 100, 300, 1_000, 3_000],
        )

    def fit(self, data: Data, settings: Settings) -> Score:
        """Compute the neighbours of each item; scores are sums of similarities."""
        from implicit import nearest_neighbours

        model: Any = getattr(nearest_neighbours, settings["kind"])(K=settings["k"], num_threads=1)
        model.fit(data.matrix, show_progress=False)
        similarity = csr_matrix(model.similarity)[:, data.candidates]
        self.model = similarity
        return lambda users: (data.histories(users) @ similarity).toarray()


class UserKNN(Method):
    """Neighbours by the cosine of histories, weighted by inverse document frequency or not."""

    def grid(self) -> list[Settings]:
        """Return numbers of neighbours, weights, and who may be a neighbour."""
        return combinations(k=[50, 100, 300, 1_000], idf=[False, True], of_target=[True, False])

    def fit(self, data: Data, settings: Settings) -> Score:
        """Keep the users that may be neighbours."""
        matrix = data.matrix
        if settings["of_target"]:
            matrix = matrix[np.asarray(matrix[:, data.in_target].sum(axis=1)).ravel() > 0]
        users_of_item = np.asarray(data.matrix.sum(axis=0)).ravel()
        idf = np.log(max(data.matrix.shape[0], 1) / np.maximum(users_of_item, 1)) + 1
        weights = diags(
            idf.astype(np.float32) if settings["idf"] else np.ones(len(idf), np.float32)
        )
        neighbours = _unit_rows(csr_matrix(matrix @ weights))
        liked = csr_matrix(matrix[:, data.candidates])
        self.model = weights, neighbours, liked

        def score(users: Sequence[TestUser]) -> Floats:
            histories = _unit_rows(csr_matrix(data.histories(users) @ weights))
            similarity = csr_matrix(histories @ neighbours.T)
            return (_largest(similarity, settings["k"]) @ liked).toarray()

        return score


def _unit_rows(matrix: csr_matrix) -> csr_matrix:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(norms, 1e-12)) @ matrix)


def _largest(matrix: csr_matrix, k: int) -> csr_matrix:
    """Return the k largest entries of each row."""
    rows, columns, values = [], [], []
    for row in range(matrix.shape[0]):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        found = matrix.data[part]
        kept = np.argsort(-found, kind="stable")[:k]
        rows.append(np.full(len(kept), row))
        columns.append(matrix.indices[part][kept])
        values.append(found[kept])
    places = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(values), places), matrix.shape)

"""LightFM (Kula, CBRecSys 2015) with the WARP loss and ids alone, by the package lightfm-next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, vstack

from isthmus.evaluation.task import TestUser
from recommenders.method import Data, Floats, Method, Score, Settings, combinations


class LightFm(Method):
    """It has a vector a user, so the visible histories of the users of the task are learned too."""

    packages: ClassVar[tuple[str, ...]] = ("lightfm-next",)

    def grid(self) -> list[Settings]:
        """Return dimensions, passes and penalties."""
        return combinations(dim=[32, 64], epochs=[10, 30], penalty=[0.0, 1e-6])

    def fit(self, data: Data, settings: Settings) -> Score:
        """Learn from the train table and from what the users of the task are known by."""
        from lightfm import LightFM

        users = [user.user_id for user in data.task.users]
        row_of = dict(data.row_of)
        for user in users:
            row_of.setdefault(user, len(row_of))
        histories = data.histories(data.task.users)
        more = csr_matrix((len(row_of), len(data.items)), dtype=np.float32)
        rows = np.repeat([row_of[user] for user in users], np.diff(histories.indptr))
        more = csr_matrix((histories.data, (rows, histories.indices)), more.shape)
        empty = csr_matrix((len(row_of) - data.matrix.shape[0], len(data.items)), dtype=np.float32)
        matrix = (vstack([data.matrix, empty]) + more).tocsr()
        matrix.data[:] = 1
        model = LightFM(
            no_components=settings["dim"],
            loss="warp",
            user_alpha=settings["penalty"],
            item_alpha=settings["penalty"],
            random_state=0,
        )
        model.fit(coo_matrix(matrix), epochs=settings["epochs"], num_threads=1)
        self.model = model.get_params(), model.item_embeddings, model.user_embeddings
        items = np.asarray(model.item_embeddings)[data.candidates]
        biases = np.asarray(model.item_biases)[data.candidates]

        def score(asked: Sequence[TestUser]) -> Floats:
            factors = np.asarray(model.user_embeddings)[[row_of[user.user_id] for user in asked]]
            return np.asarray(factors @ items.T + biases, np.float32)

        return score

"""Nearest neighbours by content: the items most like a user's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.baseline import Baseline, Places
from isthmus.evaluation.task import TestUser
from isthmus.numerics.arrays import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass
class Content(Baseline):
    """Rank by the cosine with the history.

    Attributes
    ----------
    pooling : str
        ``"mean"``: with the mean of the history's unit vectors; ``"max"``: the best with any item
        of the history.
    """

    name: ClassVar[str] = "content"
    pooling: Literal["mean", "max"] = "mean"

    def _learn(self, matrix: csr_array, vectors: FloatArray | None) -> None:
        del matrix
        if vectors is None or len(vectors) != len(self._item_ids):
            raise InvalidInput("the content baseline needs one vector an item; give vectors to fit")
        if not np.isfinite(vectors).all():
            raise InvalidInput("a vector is not finite; give zeros to an item without content")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._vectors = np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

    def _score(
        self, histories: csr_array, users: Sequence[TestUser], columns: Places
    ) -> FloatArray:
        del users
        ours = self._vectors[columns]
        if self.pooling == "mean":
            return np.asarray((histories @ self._vectors) @ ours.T, np.float32)
        scores = np.zeros((histories.shape[0], len(columns)), np.float32)
        for row, start, end in zip(scores, histories.indptr, histories.indptr[1:], strict=False):
            known = self._vectors[histories.indices[start:end]]
            if len(known):
                row[:] = (known @ ours.T).max(axis=0)
        return scores

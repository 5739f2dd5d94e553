"""The average of the candidate generators, and the order of one of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray
from isthmus.retrieval.ranker.examples import Examples
from isthmus.retrieval.ranker.features import (
    GENERATOR_RANK,
    POPULARITY,
    RELATIVE_SCORE,
    column_name,
)
from isthmus.retrieval.ranker.models.model import RankerModel

TIE = 1e-3


class Average(RankerModel):
    """The mean of relative scores and discounted ranks over the generators; it learns nothing.

    The relative score is that over the best of the user, the discounted rank ``1 / log2(1 + rank)``
    (0 where a generator did not propose the candidate); see Fox and Shaw, "Combination of multiple
    searches" (TREC 2, 1994). Equal means are ordered by popularity.
    """

    name: ClassVar[str] = "average"

    def fit(self, examples: Examples, start: RankerModel | None = None) -> Self:
        """Return the model as it is."""
        del examples, start
        return self

    def score(self, features: FloatArray, starts: Columns) -> FloatArray:
        """Return the means, see `RankerModel.score`."""
        del starts
        chosen = features[:, self._averaged()].astype(np.float32)
        popularity = features[:, self.columns.index(POPULARITY)].astype(np.float32)
        return np.asarray(chosen.mean(axis=1) + TIE * popularity, np.float32)

    def state(self) -> ArrayState:
        """Return nothing: nothing was learned."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the model as it is."""
        del state
        return self

    def _averaged(self) -> list[int]:
        return evidence_columns(self.columns)


class SingleGenerator(Average):
    """The order of one candidate generator; what it does not propose follows, by popularity."""

    name: ClassVar[str] = "single generator"

    def __init__(self, columns: Sequence[str], generator: str) -> None:
        super().__init__(columns)
        self.generator = generator

    def description(self) -> dict[str, Any]:
        """Return the generator, see `RankerModel.description`."""
        return {"name": self.name, "generator": self.generator}

    def _averaged(self) -> list[int]:
        names = (RELATIVE_SCORE, GENERATOR_RANK)
        return [self.columns.index(column_name(self.generator, name)) for name in names]


def evidence_columns(columns: Sequence[str]) -> list[int]:
    """Return where the relative scores and discounted ranks of the generators are."""
    suffixes = tuple(f": {name}" for name in (RELATIVE_SCORE, GENERATOR_RANK))
    return [at for at, name in enumerate(columns) if name.endswith(suffixes)]

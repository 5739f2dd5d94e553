"""Evidence: how much each block of the item vector has to say of a query.

A query that is near to nothing in particular in a block (a plain white picture, the word "new")
should not be answered by that block. Two numbers tell it, both in standard deviations of what the
query scores by chance: how far its ten best items stand out in the block, and how far these same
items stand out in the query's other blocks, which bear them out or do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.index.lru_cache import Recent
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.search.query import Query, Ranked, search_blocks

NUMBERS: Final = ("standing", "support")
BEST: Final = 10
SAMPLE: Final = 2_000
KEPT: Final = 16
LEAST_STD: Final = 1e-4

Evidence = Mapping[str, FloatArray]
"""For each block of a query its numbers, float32, shape (2,)."""


class Samples:
    """Some items of a space, the same until its next release: what scores are by chance."""

    def __init__(self) -> None:
        self._kept: Recent[FloatArray] = Recent(KEPT)

    def rows(self, view: View) -> Positions:
        """Draw rows that live: of the release, where there is one."""
        living = view.living.rows
        rows = np.flatnonzero(living[: view.release_rows] if view.release_rows else living)
        return np.sort(np.random.default_rng(0).permutation(rows)[:SAMPLE])

    def vectors(self, view: View, block: str) -> FloatArray:
        """Give the vectors of the sample in a block, shape (n, dim)."""
        release = None if view.release is None else view.release.number

        def draw() -> FloatArray:
            part = view.vectors(block, self.rows(view))
            return part.vectors[part.present]

        return self._kept.get((release, block), draw)


def evidence_of(
    view: View, query: Query, samples: Samples, allowed: Selection | None = None
) -> dict[str, FloatArray]:
    """Give the evidence of each block of a query.

    Parameters
    ----------
    view : View
        What is searched.
    query : Query
        What is looked for.
    samples : Samples
        What scores are by chance.
    allowed : Selection, optional
        The rows that may be returned.

    Returns
    -------
    dict of str to numpy.ndarray
        For each block of the query `NUMBERS`, float32, shape (2,); a block that tells nothing,
        since it holds no item, has zeros.
    """
    names = [block.name for block in view.blocks if block.name in query.vectors]
    parts = search_blocks(view, [query], BEST + len(query.exclude), allowed)[0]
    best = {name: _best(part, query) for name, part in zip(names, parts, strict=True)}
    chance = {name: _chance(samples.vectors(view, name), query.vectors[name]) for name in names}

    def stand_out(name: str, rows: Positions) -> float:
        part = view.vectors(name, rows)
        mean, std = chance[name]
        cosines = part.vectors @ query.vectors[name]
        return float((np.where(part.present, cosines - mean, 0.0) / std).sum() / len(rows))

    found = {}
    for name in names:
        numbers = np.zeros(len(NUMBERS), np.float32)
        if len(best[name]):
            others = [stand_out(other, best[name]) for other in names if other != name]
            numbers[:] = stand_out(name, best[name]), np.mean(others) if others else 0.0
        found[name] = numbers
    return found


def _best(part: Ranked, query: Query) -> Positions:
    rows = part[0][part[0] >= 0]
    return rows[~np.isin(rows, query.exclude)][:BEST]


def _chance(sample: FloatArray, vector: FloatArray) -> tuple[float, float]:
    if not len(sample):
        return 0.0, 1.0
    scores = sample @ vector
    return float(scores.mean()), max(float(scores.std()), LEAST_STD)


def stack(evidence: Sequence[Evidence], blocks: Sequence[str]) -> FloatArray:
    """Put the evidence of queries together, shape (n, n_blocks, 2); NaN where one has no block."""
    none = np.full(len(NUMBERS), np.nan, np.float32)
    return np.array([[own.get(name, none) for name in blocks] for own in evidence], np.float32)

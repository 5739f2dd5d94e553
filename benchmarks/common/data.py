"""The data of a comparison on disk: base vectors, held-out queries, attributes; and exact answers.

Worker processes map the files, so the vectors are in memory once however many peers there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIM = 384
SEED = 0
PIECE = 16_384
SAME_SCORE = 1e-5

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Kept:
    """A filter: the rows whose attribute is below a bound."""

    attribute: str
    below: int

    @property
    def sql(self) -> str:
        """The filter as an SQL predicate."""
        return f"{self.attribute} < {self.below}"


@dataclass(frozen=True)
class Data:
    """Base vectors, held-out queries and attributes.

    Attributes
    ----------
    base : numpy.ndarray
        float32, shape (n_rows, dim).
    queries : numpy.ndarray
        float32, shape (n_queries, dim); none of their rows is in the base.
    attributes : dict of str to numpy.ndarray
        ``shuffled`` has nothing to do with the vectors; ``near`` is the rank of a row by its
        cosine with a random row, the pivot. Both are permutations of the row numbers.
    """

    base: Floats
    queries: Floats
    attributes: dict[str, Integers]

    def mask(self, kept: Kept) -> Mask:
        """Mark the rows that a filter keeps."""
        return self.attributes[kept.attribute] < kept.below


def write_data(vectors: Path, folder: Path, rows: int, queries: int) -> None:
    """Divide the vectors of a file into base and queries, at random with a fixed seed.

    Raises
    ------
    SystemExit
        If the file holds too few; `real_vectors.py` makes more.
    """
    held = np.memmap(vectors / "minilm.f32", np.float32, "r")
    held = held[: len(held) // DIM * DIM].reshape(-1, DIM)
    if len(held) < rows + queries:
        raise SystemExit(f"{vectors} holds {len(held):,} vectors, {rows + queries:,} are needed")
    chosen = np.random.default_rng(SEED).permutation(rows + queries)
    np.save(folder / "queries.npy", held[np.sort(chosen[:queries])])
    base = np.lib.format.open_memmap(folder / "base.npy", "w+", np.float32, (rows, DIM))
    kept = np.sort(chosen[queries:])
    for start in range(0, rows, PIECE):
        base[start : start + PIECE] = held[kept[start : start + PIECE]]
    base.flush()
    for name, values in _attributes(base).items():
        np.save(folder / f"{name}.npy", values)


def read_data(folder: Path) -> Data:
    """Map what `write_data` wrote."""
    names = ("shuffled", "near")
    attributes = {name: np.load(folder / f"{name}.npy") for name in names}
    base = np.load(folder / "base.npy", mmap_mode="r")
    return Data(base, np.load(folder / "queries.npy"), attributes)


def pivot(base: Floats) -> Floats:
    """Return the row that ``near`` is measured from."""
    return np.asarray(base[np.random.default_rng(SEED).integers(len(base))])


def _attributes(base: Floats) -> dict[str, Integers]:
    order = np.argsort(-(base @ pivot(base)), kind="stable")
    near = np.empty(len(base), np.int64)
    near[order] = np.arange(len(base))
    shuffled = np.random.default_rng(SEED + 1).permutation(len(base)).astype(np.int64)
    return {"shuffled": shuffled, "near": near}


def worst_wanted(base: Floats, queries: Floats, k: int, mask: Mask | None = None) -> Floats:
    """Return the score of the k-th best row for each query, searched exactly.

    Where a filter leaves fewer than k rows it is the score of the last one.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(base), PIECE):
        piece = np.asarray(base[start : start + PIECE])
        if mask is not None:
            piece = piece[mask[start : start + PIECE]]
        scores = np.concatenate([best, queries @ piece.T], axis=1)
        best = -np.partition(-scores, k - 1, axis=1)[:, :k]
    return np.where(np.isfinite(best), best, np.inf).min(axis=1)


def recall(
    base: Floats, queries: Floats, found: Integers, worst: Floats, mask: Mask | None = None
) -> float:
    """Return the share of the exact best that was found.

    A row that ties with the last wanted one is a right answer too (some titles occur twice); a
    row that is returned twice, or that the filter does not keep, counts for nothing.
    """
    queries, worst = queries[: len(found)], worst[: len(found)]
    wanted = found.shape[1] if mask is None else min(found.shape[1], int(mask.sum()))
    found = np.sort(found, axis=1)
    there = found >= 0
    there[:, 1:] &= found[:, 1:] != found[:, :-1]
    if mask is not None:
        there &= mask[np.maximum(found, 0)]
    scores = np.einsum("qkd,qd->qk", base[np.maximum(found, 0)], queries)
    return float((there & (scores >= worst[:, None] - SAME_SCORE)).sum() / (wanted * len(found)))

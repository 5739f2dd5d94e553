"""Benchmark data on disk (base vectors, held-out queries, attributes) and exact ground truth.

Worker processes memory-map the files, so all peers share one copy of the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIM = 384
SEED = 0
CHUNK_ROWS = 16_384
SCORE_TOLERANCE = 1e-5

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AttributeFilter:
    """A filter that matches the rows whose attribute is below a bound."""

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
        ``shuffled`` is independent of the vectors; ``near`` is the rank of a row by its cosine
        with a random row, the pivot. Both are permutations of the row numbers, int64, (n_rows,).
    """

    base: Floats
    queries: Floats
    attributes: dict[str, Integers]

    def mask(self, row_filter: AttributeFilter) -> Mask:
        """Return whether each row matches a filter, shape (n_rows,)."""
        return self.attributes[row_filter.attribute] < row_filter.below


def write_data(vectors: Path, folder: Path, rows: int, queries: int) -> None:
    """Split the vectors of a file into base and queries, at random with a fixed seed.

    Raises
    ------
    SystemExit
        If the file holds too few vectors; `real_vectors.py` makes more.
    """
    stored = np.memmap(vectors / "minilm.f32", np.float32, "r")
    stored = stored[: len(stored) // DIM * DIM].reshape(-1, DIM)
    if len(stored) < rows + queries:
        raise SystemExit(f"{vectors} holds {len(stored):,} vectors, {rows + queries:,} are needed")
    order = np.random.default_rng(SEED).permutation(rows + queries)
    np.save(folder / "queries.npy", stored[np.sort(order[:queries])])
    base = np.lib.format.open_memmap(folder / "base.npy", "w+", np.float32, (rows, DIM))
    base_rows = np.sort(order[queries:])
    for start in range(0, rows, CHUNK_ROWS):
        base[start : start + CHUNK_ROWS] = stored[base_rows[start : start + CHUNK_ROWS]]
    base.flush()
    for name, values in _attributes(base).items():
        np.save(folder / f"{name}.npy", values)


def read_data(folder: Path) -> Data:
    """Return the data that `write_data` wrote, memory-mapped."""
    names = ("shuffled", "near")
    attributes = {name: np.load(folder / f"{name}.npy") for name in names}
    base = np.load(folder / "base.npy", mmap_mode="r")
    return Data(base, np.load(folder / "queries.npy"), attributes)


def pivot(base: Floats) -> Floats:
    """Return the vector that the attribute ``near`` is measured from."""
    return np.asarray(base[np.random.default_rng(SEED).integers(len(base))])


def _attributes(base: Floats) -> dict[str, Integers]:
    order = np.argsort(-(base @ pivot(base)), kind="stable")
    near = np.empty(len(base), np.int64)
    near[order] = np.arange(len(base))
    shuffled = np.random.default_rng(SEED + 1).permutation(len(base)).astype(np.int64)
    return {"shuffled": shuffled, "near": near}


def kth_best_scores(base: Floats, queries: Floats, k: int, mask: Mask | None = None) -> Floats:
    """Return the score of the k-th best row for each query by exact search, shape (n_queries,).

    Where fewer than k rows match a filter, it is the score of the last of them.
    """
    top_scores = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(base), CHUNK_ROWS):
        chunk = np.asarray(base[start : start + CHUNK_ROWS])
        if mask is not None:
            chunk = chunk[mask[start : start + CHUNK_ROWS]]
        scores = np.concatenate([top_scores, queries @ chunk.T], axis=1)
        top_scores = -np.partition(-scores, k - 1, axis=1)[:, :k]
    return np.where(np.isfinite(top_scores), top_scores, np.inf).min(axis=1)


def recall(
    base: Floats, queries: Floats, retrieved: Integers, kth_scores: Floats, mask: Mask | None = None
) -> float:
    """Return recall@k of the retrieved rows, shape (n_queries, k), against exact search.

    A row that ties with the k-th best is a hit too (some titles occur twice). A row that is
    returned twice counts once, and a row that does not match the filter is no hit.
    """
    queries, kth_scores = queries[: len(retrieved)], kth_scores[: len(retrieved)]
    n_relevant = retrieved.shape[1] if mask is None else min(retrieved.shape[1], int(mask.sum()))
    retrieved = np.sort(retrieved, axis=1)
    hits = retrieved >= 0
    hits[:, 1:] &= retrieved[:, 1:] != retrieved[:, :-1]
    if mask is not None:
        hits &= mask[np.maximum(retrieved, 0)]
    scores = np.einsum("qkd,qd->qk", base[np.maximum(retrieved, 0)], queries)
    return float(
        (hits & (scores >= kth_scores[:, None] - SCORE_TOLERANCE)).sum()
        / (n_relevant * len(retrieved))
    )

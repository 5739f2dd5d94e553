"""The files of a release: what they are called, and what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.numerics.arrays import FloatArray

ROWS = "rows.arrow"


def vectors_file(block: str) -> str:
    """Name the file of a block's vectors: raw little-endian float32, row after row."""
    return f"{block}.vectors.f32"


def rows_file(block: str) -> str:
    """Name the file of the row of each of a block's vectors: raw little-endian int64."""
    return f"{block}.rows.i64"


def index_file(block: str) -> str:
    """Name the file of a block's FAISS index."""
    return f"{block}.index.faiss"


def open_vectors(folder: Path, block: str, dim: int) -> FloatArray:
    """Map a block's vectors, shape (n_vectors, dim)."""
    path = folder / vectors_file(block)
    if path.stat().st_size == 0:
        return np.empty((0, dim), np.float32)
    return np.asarray(np.memmap(path, "<f4", "r")).reshape(-1, dim)


def open_rows(folder: Path, block: str) -> Positions:
    """Read the row of each of a block's vectors, shape (n_vectors,)."""
    return np.fromfile(folder / rows_file(block), "<i8")

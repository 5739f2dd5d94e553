"""The files of a release: what they are called, and what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isthmus.index.ann.exact import Positions
from isthmus.numerics.arrays import FloatArray

ROWS = "rows.arrow"


def vectors_file(vector_name: str) -> str:
    """Name the file of a block's vectors: raw little-endian float32, row after row."""
    return f"{vector_name}.vectors.f32"


def rows_file(vector_name: str) -> str:
    """Name the file of the row of each of a block's vectors: raw little-endian int64."""
    return f"{vector_name}.rows.i64"


def index_file(vector_name: str) -> str:
    """Name the file of a block's FAISS index."""
    return f"{vector_name}.index.faiss"


def open_vectors(folder: Path, vector_name: str, dim: int) -> FloatArray:
    """Map a block's vectors, shape (n_vectors, dim)."""
    path = folder / vectors_file(vector_name)
    if path.stat().st_size == 0:
        return np.empty((0, dim), np.float32)
    return np.asarray(np.memmap(path, "<f4", "r")).reshape(-1, dim)


def open_rows(folder: Path, vector_name: str) -> Positions:
    """Read the row of each of a block's vectors, shape (n_vectors,)."""
    return np.fromfile(folder / rows_file(vector_name), "<i8")

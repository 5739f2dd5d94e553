"""Sparse rows of tables."""

from __future__ import annotations

from isthmus.numerics.sparse_rows import SparseRows, sparse_rows


def rows_of(matrix) -> SparseRows:
    """Take the rows of a SciPy matrix."""
    bounds = list(zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True))
    columns = matrix.indices.astype("int64")
    return sparse_rows([(columns[a:b], matrix.data[a:b]) for a, b in bounds])

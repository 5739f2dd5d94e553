"""Sparse matrices and ragged arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import ArrayState, Columns, FloatArray, Mask

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix


def binarize(matrix: csr_array | csr_matrix) -> csr_array:
    """Return a sparse matrix with every stored entry set to 1, float32."""
    from scipy.sparse import csr_array

    ones = np.ones(len(matrix.indices), np.float32)
    return csr_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape)


def to_csr(matrix: Any) -> csr_array:
    """Return a sparse matrix in CSR format, columns ascending, with 32-bit indices."""
    from scipy.sparse import csr_array

    out = csr_array(matrix)
    out.sort_indices()
    return csr_array(with_int32_indices(out.data, out.indices, out.indptr), shape=out.shape)


def with_int32_indices(
    data: npt.NDArray[Any], columns: npt.NDArray[Any], starts: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the arrays of a CSR matrix with 32-bit indices, which halves the memory read.

    `data` and `columns` have shape (n_entries,), `starts` (n_rows + 1,). Matrices of more entries
    than 32 bits can number are returned as they are.
    """
    if len(data) > np.iinfo(np.int32).max:
        return data, columns, starts
    return data, columns.astype(np.int32, copy=False), starts.astype(np.int32, copy=False)


def scale(
    matrix: csr_array, rows: npt.ArrayLike | None = None, columns: npt.ArrayLike | None = None
) -> csr_array:
    """Return a sparse matrix with rows and columns multiplied by factors, float32."""
    from scipy.sparse import csr_array

    data = matrix.data.astype(np.float32, copy=True)
    if rows is not None:
        data *= np.repeat(np.asarray(rows, np.float32), np.diff(matrix.indptr))
    if columns is not None:
        data *= np.asarray(columns, np.float32)[matrix.indices]
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def pad_columns(matrix: csr_array, columns: int) -> csr_array:
    """Return a sparse matrix with empty columns appended, up to a number of columns."""
    from scipy.sparse import csr_array

    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def lengths_of(starts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the length of each row, (n_rows,), from where the rows start, (n_rows + 1,).

    `numpy.diff` takes several times as long for few rows.
    """
    return np.asarray(starts[1:] - starts[:-1])


def starts_of(lengths: npt.NDArray[Any]) -> Columns:
    """Return where rows start, int64, shape (n_rows + 1,), from the length of each, (n_rows,).

    Of a mask it is the number of entries before each place that are true.

    Examples
    --------
    >>> starts_of(np.array([2, 0, 3])).tolist(), starts_of(np.array([True, False])).tolist()
    ([0, 2, 2, 5], [0, 1, 1])
    """
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def row_max(values: FloatArray, starts: Columns) -> FloatArray:
    """Return the maximum of each row, 0 for empty rows, shape (n_rows, ...)."""
    out = np.zeros((len(starts) - 1, *values.shape[1:]), values.dtype)
    filled = lengths_of(starts) > 0  # reduceat has no empty groups
    if filled.any():
        out[filled] = np.maximum.reduceat(values, starts[:-1][filled])
    return out


def row_sum(values: FloatArray, starts: Columns) -> FloatArray:
    """Return the sum of each row, 0 for empty rows, shape (n_rows, ...)."""
    out = np.zeros((len(starts) - 1, *values.shape[1:]), values.dtype)
    filled = lengths_of(starts) > 0
    if filled.any():
        out[filled] = np.add.reduceat(values, starts[:-1][filled])
    return out


def rank_in_rows(rows: Columns, first: Mask, keys: npt.NDArray[np.float64]) -> Columns:
    """Return the rank of each entry in its row by key, entries in `first` before all others.

    Parameters
    ----------
    rows : numpy.ndarray
        int64, shape (n_entries,), ascending: the row of each entry.
    first : numpy.ndarray
        bool, shape (n_entries,).
    keys : numpy.ndarray
        float64, shape (n_entries,).
    """
    order = np.lexsort((keys, ~first, rows))
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return ranks


def pack_ragged(parts: Sequence[npt.NDArray[np.int64]]) -> tuple[Columns, Columns]:
    """Return the offsets of arrays in their concatenation, shape (n_parts + 1,), and the latter."""
    starts = starts_of(np.array([len(part) for part in parts], np.int64))
    return starts, np.concatenate([np.empty(0, np.int64), *parts])


def concatenate_ranges(starts: Columns, lengths: Columns) -> Columns:
    """Return the numbers of several ranges, one range after the other.

    Examples
    --------
    >>> concatenate_ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + lengths, lengths)


def unique_sorted(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the distinct values, ascending; several times faster than `numpy.unique`.

    Examples
    --------
    >>> unique_sorted(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def isin_sorted(values: Columns, ascending: Columns) -> Mask:
    """Return whether each value is in an ascending array; faster than `numpy.isin` for few.

    Examples
    --------
    >>> isin_sorted(np.array([3, 1, 2]), np.array([2, 3])).tolist()
    [True, False, True]
    """
    if not len(ascending):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[at] == values)


def sparse_to_arrays(prefix: str, matrix: csr_array) -> ArrayState:
    """Return a sparse matrix as named arrays, to be stored."""
    return {
        f"{prefix}.data": matrix.data,
        f"{prefix}.indices": matrix.indices.astype(np.int32),
        f"{prefix}.indptr": matrix.indptr.astype(np.int64),
        f"{prefix}.shape": np.array(matrix.shape, np.int64),
    }


def sparse_from_arrays(prefix: str, state: Mapping[str, npt.NDArray[Any]]) -> csr_array:
    """Return the sparse matrix of the arrays that `sparse_to_arrays` returned."""
    from scipy.sparse import csr_array

    data, columns, starts = (state[f"{prefix}.{name}"] for name in ("data", "indices", "indptr"))
    shape = tuple(state[f"{prefix}.shape"].tolist())
    return csr_array(with_int32_indices(data, columns, starts), shape=shape)

"""Sparse rows, one for each user, and their products with sparse matrices.

When one user is served, setting up a matrix of SciPy costs more than multiplying it. These are
plain arrays.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.numerics.arrays import Columns, FloatArray, Mask
from isthmus.numerics.sparse import (
    concatenate_ranges,
    lengths_of,
    pack_ragged,
    starts_of,
    unique_sorted,
)
from isthmus.numerics.top_k import top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DENSE_SHARE = 1 / 16  # entries over columns from which a row is summed up densely

MAX_ENTRIES = 100_000  # entries gathered from a matrix at once; they should stay in the cache
FEW_ENTRIES = 20_000  # up to here they are gathered without the overhead of SciPy

_thread_local = threading.local()


class SparseRows(NamedTuple):
    """Rows of a sparse matrix.

    Attributes
    ----------
    starts : numpy.ndarray
        int64, shape (n_rows + 1,): the entries of row *i* are ``starts[i]`` to ``starts[i + 1]``.
    columns : numpy.ndarray
        int64, shape (n_entries,).
    values : numpy.ndarray
        float32, shape (n_entries,).
    """

    starts: Columns
    columns: Columns
    values: FloatArray

    @property
    def owners(self) -> Columns:
        """The row of each entry, shape (n_entries,)."""
        return np.repeat(np.arange(len(self.starts) - 1), lengths_of(self.starts))

    def row(self, row: int) -> tuple[Columns, FloatArray]:
        """Return columns and values of a row, both of shape (n_entries_of_row,)."""
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        return self.columns[start:end], self.values[start:end]

    def iter_rows(self) -> Iterator[tuple[Columns, FloatArray]]:
        """Yield columns and values of each row, both of shape (n_entries_of_row,)."""
        bounds = self.starts.tolist()
        for start, end in pairwise(bounds):
            yield self.columns[start:end], self.values[start:end]

    def filter(self, mask: Mask) -> SparseRows:
        """Return the entries where a mask of shape (n_entries,) is true; rows stay."""
        if mask.all():
            return self
        starts = starts_of(mask)[self.starts]
        return SparseRows(starts, self.columns[mask], self.values[mask])

    def top_k(self, n: int) -> SparseRows:
        """Return the n largest entries of each row; ties keep the first."""
        rows = []
        for columns, values in self.iter_rows():
            top = np.sort(top_k(values, n))
            rows.append((columns[top], values[top]))
        return sparse_rows(rows)

    def concatenate_rows(self, other: SparseRows) -> SparseRows:
        """Return the entries of both; a column may then occur twice in a row."""
        pairs = zip(self.iter_rows(), other.iter_rows(), strict=True)
        return sparse_rows(
            [
                (np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]]))
                for one, two in pairs
            ]
        )

    def dot(self, matrix: csr_array) -> SparseRows:
        """Return the product with a sparse float32 matrix.

        Returns
        -------
        SparseRows
            Columns ascend in each row, without duplicates; no value is zero.
        """
        lengths = matrix.indptr[self.columns + 1] - matrix.indptr[self.columns]
        if len(self.starts) == 2:
            gathered = _gathered(matrix, self.columns, lengths)
            return sparse_rows([_product(*gathered, lengths, self.values, matrix.shape[1])])
        ends = starts_of(lengths)[self.starts]
        products: list[tuple[Columns, FloatArray]] = []
        for first, last in _ranges(ends):
            entries = slice(int(self.starts[first]), int(self.starts[last]))
            columns, values = _gathered(matrix, self.columns[entries], lengths[entries])
            bounds = (ends[first : last + 1] - ends[first]).tolist()
            rows = pairwise(self.starts[first : last + 1].tolist())
            products += [
                _product(
                    columns[start:end],
                    values[start:end],
                    lengths[row[0] : row[1]],
                    self.values[row[0] : row[1]],
                    matrix.shape[1],
                )
                for (start, end), row in zip(pairwise(bounds), rows, strict=True)
            ]
        return sparse_rows(products)

    def dot_dense(self, matrix: FloatArray) -> FloatArray:
        """Return the product with a dense matrix, float32, shape (n_rows, n_columns)."""
        from scipy.sparse import csr_array

        if len(self.starts) == 2:
            products = self.values[:, None] * matrix[self.columns]  # (n_entries, n_columns)
            return np.asarray(products.sum(axis=0, keepdims=True), np.float32)
        arrays = (self.values, self.columns, self.starts)
        left = csr_array(arrays, shape=(len(self.starts) - 1, len(matrix)))
        return np.asarray(left @ matrix, np.float32)

    def lookup(self, rows: Columns, columns: Columns, width: int) -> FloatArray:
        """Return entries, 0 where none is stored, float32, shape (n_pairs,).

        Parameters
        ----------
        rows : numpy.ndarray
            int64, shape (n_pairs,), ascending.
        columns : numpy.ndarray
            int64, shape (n_pairs,).
        width : int
            Number of columns.
        """
        out = np.zeros(len(rows), np.float32)
        dense = _zeros(width, np.float32)
        bounds = np.searchsorted(rows, np.arange(len(self.starts))).tolist()
        for row, (stored, values) in enumerate(self.iter_rows()):
            pairs = slice(bounds[row], bounds[row + 1])
            try:
                dense[stored] = values
                out[pairs] = dense[columns[pairs]]
            finally:
                dense[stored] = 0
        return out


def sparse_rows(rows: list[tuple[Columns, FloatArray]]) -> SparseRows:
    """Return the rows of which columns and values are given, each of shape (n_entries_of_row,)."""
    if len(rows) == 1:
        columns, values = rows[0]
        starts = np.array([0, len(columns)])
        return SparseRows(starts, columns, values.astype(np.float32, copy=False))
    starts, columns = pack_ragged([row for row, _ in rows])
    values = np.concatenate([np.empty(0, np.float32), *(row for _, row in rows)])
    return SparseRows(starts, columns, values.astype(np.float32, copy=False))


def take_rows(matrix: csr_array, rows: Columns) -> SparseRows:
    """Return some rows of a sparse float32 matrix, shape (n_rows,)."""
    lengths = matrix.indptr[rows + 1] - matrix.indptr[rows]
    columns, values = _gathered(matrix, rows, lengths)
    return SparseRows(starts_of(lengths), columns.astype(np.int64), values)


def row_products(left: SparseRows, right: csr_array, rows: Columns) -> FloatArray:
    """Return the dot products of all rows of one matrix with some rows of another one.

    SciPy would go through all columns of the matrices to transpose a few rows.

    Parameters
    ----------
    left : SparseRows
        Few rows, shape (n_left, width).
    right : scipy.sparse.csr_array
        float32, shape (n_right, width), columns ascending.
    rows : numpy.ndarray
        int64, shape (n_rows,): rows of `right`.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_left, n_rows).
    """
    starts = right.indptr[rows].astype(np.int64)
    lengths = right.indptr[rows + 1] - starts
    entries = concatenate_ranges(starts, lengths)
    order = np.argsort(left.columns, kind="stable")  # the entries of `left` by column
    is_new = np.ones(len(order), bool)
    is_new[1:] = np.diff(left.columns[order]) != 0
    first = np.flatnonzero(is_new)
    counts = np.diff(first, append=len(order))
    columns = left.columns[order[first]]  # those that count
    place = _zeros(right.shape[1], np.int32)
    try:
        place[columns] = np.arange(1, len(columns) + 1)
        at = place[right.indices[entries]]
    finally:
        place[columns] = 0
    counted = np.flatnonzero(at)
    group = at[counted] - 1
    pairs = order[concatenate_ranges(first[group], counts[group])]  # entries of `left`
    products = left.values[pairs] * np.repeat(right.data[entries[counted]], counts[group])
    row = np.repeat(np.repeat(np.arange(len(rows)), lengths)[counted], counts[group])
    owners = left.owners
    sums = np.zeros((len(left.starts) - 1) * len(rows), np.float32)
    # One after the other, as SciPy adds them up; other sums of NumPy round otherwise.
    np.add.at(sums, owners[pairs] * len(rows) + row, products)
    return sums.reshape(len(left.starts) - 1, len(rows))


def _ranges(ends: Columns) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows with `MAX_ENTRIES` entries together at most, or of one row."""
    first, rows = 0, len(ends) - 1
    if ends[-1] <= MAX_ENTRIES:
        yield first, rows
        return
    while first < rows:
        last = int(np.searchsorted(ends, ends[first] + MAX_ENTRIES, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last


def _gathered(
    matrix: csr_array, rows: Columns, lengths: Columns
) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Return columns and values of some rows of a matrix, one row after the other."""
    if lengths.sum() > FEW_ENTRIES:
        selected = matrix[rows]
        return selected.indices, selected.data
    entries = concatenate_ranges(matrix.indptr[rows].astype(np.int64), lengths)
    return matrix.indices[entries], matrix.data[entries]


def _product(
    columns: npt.NDArray[np.int32],
    values: FloatArray,
    lengths: Columns,
    weights: FloatArray,
    width: int,
) -> tuple[Columns, FloatArray]:
    """Return the weighted sum of some rows of a matrix, as `sum_by_column` does.

    Parameters
    ----------
    columns, values : numpy.ndarray
        The entries of these rows, one row after the other; shape (n_entries,).
    lengths : numpy.ndarray
        How many entries each row has, shape (n_rows,).
    weights : numpy.ndarray
        float32, shape (n_rows,).
    width : int
        Number of columns.
    """
    if len(columns) <= FEW_ENTRIES:
        return sum_by_column(columns, values * np.repeat(weights, lengths), width)
    from scipy.sparse import csc_array

    # The rows as columns of another matrix, whose product with a vector is one loop.
    entries = values.astype(np.float64), columns, starts_of(lengths)
    sums = csc_array(entries, shape=(width, len(lengths))) @ weights.astype(np.float64)
    distinct = np.flatnonzero(sums != 0)
    return distinct, sums[distinct].astype(np.float32)


def sum_by_column(
    columns: npt.NDArray[np.int32], values: FloatArray, width: int
) -> tuple[Columns, FloatArray]:
    """Return the distinct columns, ascending, and the sum of the values of each."""
    if len(columns) >= DENSE_SHARE * width:
        sums = np.bincount(columns, values, width)
        distinct = np.flatnonzero(sums != 0)
        return distinct, sums[distinct].astype(np.float32)
    sums = _zeros(width, np.float64)
    try:
        np.add.at(sums, columns, values.astype(np.float64))
        distinct = unique_sorted(columns)
        totals = sums[distinct]
    finally:
        sums[columns] = 0
    nonzero = totals != 0
    if not nonzero.all():
        distinct, totals = distinct[nonzero], totals[nonzero]
    return distinct.astype(np.int64, copy=False), totals.astype(np.float32)


def _zeros(width: int, kind: type[np.number[Any]]) -> npt.NDArray[Any]:
    """Return a row of zeros that belongs to the thread. Callers set what they write back to zero.

    Allocating one costs as much as what is done with it.
    """
    row: npt.NDArray[Any] | None = getattr(_thread_local, kind.__name__, None)
    if row is None or len(row) < width:
        row = np.zeros(width, kind)
        setattr(_thread_local, kind.__name__, row)
    return row[:width]

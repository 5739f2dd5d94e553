"""Vectors that come with the items: columns of an input read, checked and brought to unit norm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.convert import Misfits, Values, plain, shown, unwrap
from isthmus.data.sources import Chunk, Chunks, Source
from isthmus.data.types import is_list, is_text
from isthmus.errors import InvalidInput, InvalidMapping, command_in
from isthmus.numerics.arrays import FloatArray, Mask

# A vector whose norm is that near to 1 is stored as it is, so that one that was exported comes
# back bit by bit.
UNIT_TOLERANCE: Final = 1e-6

# Before the name of a column that a matrix, given beside a table, has in it.
GIVEN_COLUMN: Final = "_given_"

Doubles = npt.NDArray[np.float64]


def described(column: str) -> str:
    """Return what a message calls a column of vectors: a matrix has no name but its vector's.

    Examples
    --------
    >>> described("plot"), described(f"{GIVEN_COLUMN}cover")
    ("column 'plot'", "vector 'cover'")
    """
    if column.startswith(GIVEN_COLUMN):
        return f"vector {column.removeprefix(GIVEN_COLUMN)!r}"
    return f"column {column!r}"


def first_vectors(space: Path | None) -> str:
    """Return how a space that was made without encoders and without vectors gets vectors."""
    command = command_in(space, "upsert FILES --vector COLUMN")
    return f"its first items bring the vectors, with: {command}"


@dataclass(frozen=True, eq=False)
class VectorColumn:
    """The vectors of a column.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32, shape (n, dim), rows of unit norm; zero where absent or invalid.
    present : numpy.ndarray
        bool, shape (n,): rows that have a vector.
    misfits : list of (int, str)
        Rows whose value is no such vector, and why.
    """

    vectors: FloatArray
    present: Mask
    misfits: Misfits

    def as_column(self) -> pa.ListArray:
        """Return the vectors as a column of lists, null where a row has none, shape (n,)."""
        dim = self.vectors.shape[1]
        ends = np.cumsum(self.present, dtype=np.int64) * dim
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        flat = pa.array(self.vectors[self.present].ravel())
        return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~self.present))


def read_vectors(values: Values, dim: int) -> VectorColumn:
    """Return the vectors of a column at unit norm, and the values that are none.

    Parameters
    ----------
    values : pyarrow.Array or list
        Lists of numbers (of fixed size or not, of any float or integer type), NumPy arrays, or
        texts such as ``[0.1, 0.2]``, shape (n,).
    dim : int
        Length that a vector must have.

    Examples
    --------
    >>> read = read_vectors([[3.0, 4.0], None, [1.0], [0.0, 0.0]], 2)
    >>> read.vectors[0].tolist(), read.present.tolist()
    ([0.6000000238418579, 0.800000011920929], [True, False, False, False])
    >>> read.misfits
    [(2, 'holds 1 numbers, and not 2'), (3, 'holds zeros alone, which have no direction')]
    """
    numbers, present, misfits = _numbers(values, dim)
    wrong = {row for row, _ in misfits}
    with np.errstate(over="ignore", invalid="ignore"):
        single = numbers.astype(np.float32)
    finite = np.asarray(np.isfinite(single).all(axis=1), bool)
    for row in np.flatnonzero(present & ~finite).tolist():
        at = int(np.flatnonzero(~np.isfinite(single[row]))[0])
        misfits.append((row, f"holds {_not_finite(numbers[row, at])} at position {at}"))
    safe = np.where(finite[:, None], numbers, 0.0)
    # Scaled by the largest number, so that the squares of tiny ones do not vanish.
    largest = np.abs(safe).max(axis=1, initial=0.0, keepdims=True)
    scaled = safe / np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))[:, None]  # (n, 1)
    is_zero = present & finite & (largest[:, 0] == 0)
    misfits += [
        (row, "holds zeros alone, which have no direction")
        for row in np.flatnonzero(is_zero).tolist()
        if row not in wrong
    ]
    unit = (scaled / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    is_unit = np.abs(norms * largest - 1.0) <= UNIT_TOLERANCE
    valid = present & finite & ~is_zero
    vectors = np.where(valid[:, None], np.where(is_unit, single, unit), np.float32(0))
    return VectorColumn(vectors, valid, sorted(misfits))


def vector_length(sources: Sequence[tuple[Source, str]]) -> int:
    """Return the length of the first vector of a column, from the type where that says it.

    Parameters
    ----------
    sources : sequence of (Source, str)
        The sources, and the name of the column in each.

    Raises
    ------
    InvalidInput
        If no row has a vector.
    """
    for source, name in sources:
        type_ = source.types.get(name)
        while isinstance(type_, pa.BaseExtensionType):
            type_ = type_.storage_type
        if type_ is not None and pa.types.is_fixed_size_list(type_):
            return int(type_.list_size)
    for source, name in sources:
        for chunk in source.read():
            for value in _as_objects(chunk.columns[name]):
                parsed = _parse(value)
                if isinstance(parsed, np.ndarray) and len(parsed):
                    return len(parsed)
    source, name = sources[0]
    raise InvalidInput(
        f"{source.name}: {described(name)} holds no vector, so their length is not known; give "
        "one, or the length when the space is created (--vectors NAME=DIM)"
    )


def require_vectors(source: Source, name: str) -> None:
    """Raise unless a column has a type that vectors can have.

    Raises
    ------
    InvalidMapping
        The message names the column.
    """
    type_ = source.types.get(name, pa.string())
    while isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    if pa.types.is_null(type_) or is_text(type_):
        return
    if not is_list(type_) or not _is_number(type_.value_type):
        raise InvalidMapping(
            f"{source.name}: column {name!r} is {type_}; a vector is a list of numbers"
        )


def with_arrays(source: Source, arrays: Mapping[str, Any]) -> Source:
    """Return a source with matrices as further columns, a row of each for each row of it.

    Parameters
    ----------
    source : Source
        Rows without columns of these names.
    arrays : mapping of str to numpy.ndarray
        By name of the new column, numbers of shape (n_rows, dim).

    Raises
    ------
    InvalidInput
        If one is no matrix, or has another number of rows.
    """
    matrices = {name: _matrix(name, array) for name, array in arrays.items()}

    def chunks() -> Chunks:
        start = 0
        for chunk in source.chunks():
            end = start + len(chunk)
            more = {name: _rows_of(name, m, start, end) for name, m in matrices.items()}
            yield Chunk({**chunk.columns, **more}, chunk.rows, chunk.absent)
            start = end
        for name, matrix in matrices.items():
            if len(matrix) != start:
                raise InvalidInput(_row_counts(name, len(matrix), start))

    types = {n: pa.list_(pa.from_numpy_dtype(m.dtype), m.shape[1]) for n, m in matrices.items()}
    return replace(
        source,
        columns=(*source.columns, *matrices),
        chunks=chunks,
        types={**source.types, **types},
    )


def _matrix(name: str, array: Any) -> npt.NDArray[Any]:
    matrix = np.asarray(array)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise InvalidInput(
            f"{described(name)} is an array of {matrix.dtype} and shape {matrix.shape}; "
            "give the name of a column, or numbers of shape (n_items, dim)"
        )
    return matrix


def _rows_of(name: str, matrix: npt.NDArray[Any], start: int, end: int) -> pa.Array:
    if end > len(matrix):
        raise InvalidInput(_row_counts(name, len(matrix), end))
    flat = pa.array(np.ascontiguousarray(matrix[start:end]).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _row_counts(name: str, vectors: int, items: int) -> str:
    return (
        f"{described(name)} is an array of {vectors} rows, and the items are {items} or more; "
        "give a row for each item"
    )


def _numbers(values: Values, dim: int) -> tuple[Doubles, Mask, Misfits]:
    """Return numbers of shape (n, dim), which rows have them, and what is wrong with others."""
    if not isinstance(values, list):
        fast = _numbers_of_arrow(plain(values), dim)
        if fast is not None:
            return fast
    objects = _as_objects(values)
    numbers, present = np.zeros((len(objects), dim)), np.zeros(len(objects), bool)
    misfits: Misfits = []
    for row, value in enumerate(objects):
        parsed = _parse(value)
        if isinstance(parsed, str):
            misfits.append((row, parsed))
        elif parsed is not None and len(parsed) != dim:
            misfits.append((row, f"holds {len(parsed)} numbers, and not {dim}"))
        elif parsed is not None:
            numbers[row], present[row] = parsed, True
    return numbers, present, misfits


def _numbers_of_arrow(column: pa.Array, dim: int) -> tuple[Doubles, Mask, Misfits] | None:
    """Return what `_numbers` does for a column of lists, without Python objects."""
    if not is_list(column.type) or not _is_number(column.type.value_type):
        return None
    lengths = pc.list_value_length(column)
    lengths = np.asarray(lengths.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    present = lengths == dim
    misfits: Misfits = [
        (row, f"holds {lengths[row]} numbers, and not {dim}")
        for row in np.flatnonzero((lengths >= 0) & ~present).tolist()
    ]
    flat = column.filter(pa.array(present)).flatten()
    numbers = np.zeros((len(column), dim))
    doubles = flat.cast(pa.float64(), safe=False).fill_null(float("nan"))
    numbers[present] = doubles.to_numpy(zero_copy_only=False).reshape(-1, dim)
    return numbers, present, misfits


def _as_objects(values: Values) -> list[Any]:
    return values if isinstance(values, list) else plain(values).to_pylist()


def _parse(value: Any) -> Doubles | str | None:
    """Return the numbers of a value, shape (n,); None for none; a text where it is no vector."""
    if not isinstance(value, np.ndarray):
        value = unwrap(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return f"holds {shown(value)}, which is no list of numbers"
    if not isinstance(value, list | tuple | np.ndarray):
        return f"holds {shown(value)}, which is no list of numbers"
    if not isinstance(value, np.ndarray):
        value = [float("nan") if number is None else number for number in value]
        if any(isinstance(number, bool | str | bytes) for number in value):
            return "holds a list of other things than numbers"
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return "holds a list of other things than numbers"
    return numbers if numbers.ndim == 1 else "holds lists of lists, and not of numbers"


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type_) or pa.types.is_integer(type_))


def _not_finite(number: float) -> str:
    return "NaN" if np.isnan(number) else "infinity, or a number too large for 32 bits,"

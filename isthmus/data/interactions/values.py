"""Numbers as they come, in one type, with the rows that hold none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Problems = list[tuple[int, str]]


def read_numbers(column: pa.Array, name: str) -> tuple[pa.Array, Problems]:
    """Read numbers, booleans or texts as finite float32.

    Parameters
    ----------
    column : pyarrow.Array
        Shape (n,), of integers, floats, decimals, booleans or text.
    name : str
        What messages call it.

    Returns
    -------
    pyarrow.Array, list of (int, str)
        float32 without nulls, shape (n,), and what is wrong with some rows; these hold zero.

    Examples
    --------
    >>> numbers, problems = read_numbers(pa.array(["4.5", "four", None]), "rating")
    >>> numbers.to_pylist()
    [4.5, 0.0, 0.0]
    >>> problems
    [(1, "column 'rating' holds 'four', which is no finite number"), (2, "no number in 'rating'")]
    """
    with np.errstate(over="ignore"):
        numbers = _floats(column).astype(np.float32)
    finite = np.isfinite(numbers)
    problems = [(row, _complaint(column[row], name)) for row in np.flatnonzero(~finite).tolist()]
    return pa.array(np.where(finite, numbers, np.float32(0))), problems


def _floats(column: pa.Array) -> npt.NDArray[np.float64]:
    """Give float64, NaN where there is no number."""
    if pa.types.is_string(column.type):
        return np.array([_float(text) for text in column.to_pylist()], np.float64)
    wide = pc.cast(column, pa.float64(), safe=False)
    return np.asarray(wide.fill_null(float("nan")).to_numpy(zero_copy_only=False), np.float64)


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _complaint(value: pa.Scalar, name: str) -> str:
    if not value.is_valid or value.as_py() == "":
        return f"no number in {name!r}"
    return f"column {name!r} holds {value.as_py()!r}, which is no finite number"

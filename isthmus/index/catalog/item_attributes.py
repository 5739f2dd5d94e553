"""Numbers among the attributes of items: prices, sizes, years, dates, what is true or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from isthmus.index.catalog.snapshot import RowIds, Snapshot
from isthmus.schema import TEXT

Numbers = npt.NDArray[np.float64]


def number_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Name the attributes that are numbers, moments (dates and times) or truth values."""
    return tuple(field.name for field in snapshot.attributes if _is_number(field.type))


def numbers(snapshot: Snapshot, row_ids: RowIds, names: Sequence[str]) -> Numbers:
    """Give attributes of rows as numbers, moments as microseconds, what is true as 1.

    Parameters
    ----------
    snapshot : Snapshot
        Where they are.
    row_ids : numpy.ndarray
        uint64, shape (n_rows,).
    names : sequence of str
        Attributes.

    Returns
    -------
    numpy.ndarray
        float64, shape (n_rows, n_names): not a number where an item has none, and in the whole
        column where an attribute is unknown or no number.
    """
    out = np.full((len(row_ids), len(names)), np.nan)
    known = number_names(snapshot)
    there = [name for name in names if name in known]
    if there and len(row_ids):
        table = snapshot.fetch(row_ids, there)
        for name in there:
            out[:, names.index(name)] = _plain(table.column(name))
    return out


def _is_number(kind: pa.DataType) -> bool:
    plain = pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind)
    return bool(plain or pat.is_boolean(kind) or _is_moment(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pat.is_date(kind) or pat.is_timestamp(kind))


def _plain(column: pa.ChunkedArray) -> Numbers:
    if _is_moment(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    elif pat.is_boolean(column.type):
        column = column.cast(pa.int8())
    own = column.cast(pa.float64(), safe=False).combine_chunks()
    return np.asarray(own.to_numpy(zero_copy_only=False), np.float64)


def written(snapshot: Snapshot, row_ids: RowIds) -> list[str]:
    """Give all that is written of rows, shape (n_rows,); nothing of a row that is gone."""
    told = [TEXT, *(field.name for field in snapshot.attributes if _is_text(field.type))]
    columns = (column.to_pylist() for column in snapshot.fetch(row_ids, told).columns)
    return [" ".join(map(_joined, filter(None, row))) for row in zip(*columns, strict=True)]


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is text, or a list of texts."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    own = kind.value_type if listed else kind
    return bool(pa.types.is_string(own) or pa.types.is_large_string(own))


def _joined(value: str | list[str | None]) -> str:
    return value if isinstance(value, str) else " ".join(filter(None, value))

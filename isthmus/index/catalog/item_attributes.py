"""Attributes of items as features: all text of an item, and its numeric attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from isthmus.index.catalog.snapshot import RowIds, Snapshot
from isthmus.schema import TEXT

Numbers = npt.NDArray[np.float64]


def item_texts(snapshot: Snapshot, row_ids: RowIds) -> list[str]:
    """Return all text of items, shape (n_rows,): the text column and the textual attributes.

    The text of a deleted row is empty.
    """
    columns = [TEXT, *(field.name for field in snapshot.attributes if _is_textual(field.type))]
    values = (column.to_pylist() for column in snapshot.fetch(row_ids, columns).columns)
    return [" ".join(map(_join, filter(None, row))) for row in zip(*values, strict=True)]


def numeric_attribute_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names of the attributes that are numbers, dates, times or booleans."""
    return tuple(field.name for field in snapshot.attributes if _is_numeric(field.type))


def numeric_attributes(snapshot: Snapshot, row_ids: RowIds, names: Sequence[str]) -> Numbers:
    """Return attributes of items as numbers: times as microseconds, true as 1.

    Parameters
    ----------
    snapshot : Snapshot
        The catalog.
    row_ids : numpy.ndarray
        uint64, shape (n_rows,).
    names : sequence of str
        Attributes.

    Returns
    -------
    numpy.ndarray
        float64, shape (n_rows, n_names): NaN where an item has no value, and in the whole column
        of an attribute that is unknown or not numeric.
    """
    out = np.full((len(row_ids), len(names)), np.nan)
    numeric = numeric_attribute_names(snapshot)
    present = [name for name in names if name in numeric]
    if present and len(row_ids):
        table = snapshot.fetch(row_ids, present)
        for name in present:
            out[:, names.index(name)] = _to_floats(table.column(name))
    return out


def _is_textual(type_: pa.DataType) -> bool:
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_)
    value_type = type_.value_type if is_list else type_
    return bool(pa.types.is_string(value_type) or pa.types.is_large_string(value_type))


def _join(value: str | list[str | None]) -> str:
    return value if isinstance(value, str) else " ".join(filter(None, value))


def _is_numeric(type_: pa.DataType) -> bool:
    is_number = pat.is_integer(type_) or pat.is_floating(type_) or pat.is_decimal(type_)
    return bool(is_number or pat.is_boolean(type_) or _is_time(type_))


def _is_time(type_: pa.DataType) -> bool:
    return bool(pat.is_date(type_) or pat.is_timestamp(type_))


def _to_floats(column: pa.ChunkedArray) -> Numbers:
    if _is_time(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    elif pat.is_boolean(column.type):
        column = column.cast(pa.int8())
    floats = column.cast(pa.float64(), safe=False).combine_chunks()
    return np.asarray(floats.to_numpy(zero_copy_only=False), np.float64)

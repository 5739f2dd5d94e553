"""Attributes of items as features: all text of an item, and its numeric attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from isthmus.errors import InvalidInput, listed
from isthmus.index.catalog.attributes import Attributes
from isthmus.index.catalog.snapshot import RowIds, Snapshot
from isthmus.schema import TEXT

Numbers = npt.NDArray[np.float64]


def item_texts(snapshot: Snapshot, row_ids: RowIds) -> list[str]:
    """Return all text of items, shape (n_rows,): the text column and the textual attributes.

    The text of a deleted row is empty.
    """
    attributes = snapshot.attributes.schema
    columns = [TEXT, *(field.name for field in attributes if _is_textual(field.type))]
    values = (column.to_pylist() for column in snapshot.fetch(row_ids, columns).columns)
    return [" ".join(map(_join, filter(None, row))) for row in zip(*values, strict=True)]


def numeric_attribute_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names of the attributes that are numbers, dates, times or booleans somewhere."""
    attributes = snapshot.attributes
    return tuple(name for name in attributes.names if _numeric_columns(attributes, name))


def _numeric_columns(attributes: Attributes, name: str) -> list[str]:
    columns = attributes.columns_of(name)
    return [column for column in columns if _is_numeric(attributes.schema.field(column).type)]


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
    columns = {name: _numeric_columns(snapshot.attributes, name) for name in names}
    read = list(dict.fromkeys(column for found in columns.values() for column in found))
    if read and len(row_ids):
        table = snapshot.fetch(row_ids, read)
        for at, name in enumerate(names):
            for column in columns[name]:  # an item has a value in one of them
                values = _to_floats(table.column(column))
                out[:, at] = np.where(np.isnan(values), out[:, at], values)
    return out


def attribute_values(snapshot: Snapshot, row_ids: RowIds, name: str) -> list[Any]:
    """Return the values of an attribute, of whatever type it has in the domain of each item.

    Raises
    ------
    InvalidInput
        If no domain has such an attribute; the message lists those there are.
    """
    attributes = snapshot.attributes
    columns = attributes.columns_of(name)
    if not columns:
        raise InvalidInput(
            f"no attribute {name!r} in this space; its attributes are: "
            f"{listed(attributes.names, name) or 'none'}"
        )
    values = [column.to_pylist() for column in snapshot.fetch(row_ids, columns).columns]
    rows = zip(*values, strict=True)
    return [next((value for value in row if value is not None), None) for row in rows]


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

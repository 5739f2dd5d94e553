"""Types of columns: one spelling for each kind of value, and what a column may be."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Give the plain type of an attribute: one spelling for each kind of value.

    Examples
    --------
    >>> plain_type(pa.dictionary(pa.int32(), pa.large_string()))
    DataType(string)
    >>> plain_type(pa.large_list(pa.int64()))
    ListType(list<item: int64>)
    """
    if pa.types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if pa.types.is_large_string(type_) or type_ == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(type_) or type_ == pa.binary_view():
        return pa.binary()
    if pa.types.is_large_list(type_) or pa.types.is_list(type_):
        return pa.list_(plain_type(type_.value_type))
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", type_.tz)
    return pa.date32() if pa.types.is_date(type_) else type_


def is_untyped(type_: pa.DataType) -> bool:
    """Tell whether a column holds no value, or only lists without one."""
    return bool(pa.types.is_null(type_) or type_ == pa.list_(pa.null()))


def can_be_stored(type_: pa.DataType) -> bool:
    """Tell whether an attribute may have a type."""
    if pa.types.is_map(type_) or pa.types.is_union(type_) or pa.types.is_interval(type_):
        return False
    nested = range(type_.num_fields)
    return all(can_be_stored(type_.field(i).type) for i in nested)


def is_text(type_: pa.DataType) -> bool:
    """Tell whether a column is text, or holds nothing."""
    return bool(plain_type(type_) == pa.string() or pa.types.is_null(type_))


def is_bytes(type_: pa.DataType) -> bool:
    """Tell whether a column holds bytes, in whatever spelling."""
    return bool(plain_type(type_) == pa.binary() or pa.types.is_fixed_size_binary(type_))


def is_file_struct(type_: pa.DataType) -> bool:
    """Tell whether a column is the ``{bytes, path}`` of Hugging Face data sets."""
    return bool(pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0)


def cast(column: Any, type_: pa.DataType) -> Any:
    """Cast without loss, but for what a time has below the microsecond."""
    return pc.cast(column, options=pc.CastOptions(type_, allow_time_truncate=True))


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Spell the values of a column."""
    return column.cast(pa.string())


def is_blank(text: Any) -> Any:
    """Mark the texts that are absent, or hold nothing but spaces."""
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True)

"""Types of attributes: how a type of Arrow is stored, and the type that holds two others.

An attribute has one type for each kind of value, whatever encoding the input had: dictionaries
(categories), run-end encoding, views and large types are encodings, and are stored plain.
"""

from __future__ import annotations

import pyarrow as pa

from isthmus.data.times import zone_of

UTC_TIME = pa.timestamp("us", "UTC")
MAX_DECIMAL_DIGITS = 38
PERIOD = "pandas.period"
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def storage_type(type_: pa.DataType) -> pa.DataType | None:
    """Return the type that an attribute is stored as; None where it cannot be stored.

    Fields of a struct that hold only nulls have no type yet, and are left out.

    Examples
    --------
    >>> storage_type(pa.dictionary(pa.int32(), pa.large_string()))
    DataType(string)
    >>> storage_type(pa.large_list(pa.int64()))
    ListType(list<item: int64>)
    >>> storage_type(pa.map_(pa.string(), pa.int64())) is None
    True
    """
    if isinstance(type_, pa.BaseExtensionType):
        is_period = type_.extension_name == PERIOD  # January 2020 is stored as 600
        return None if is_period else storage_type(type_.storage_type)
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return storage_type(type_.value_type)
    if is_list(type_):
        inner = storage_type(type_.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(type_):
        return _storage_struct(type_)
    return _storage_scalar(type_)


def _storage_struct(type_: pa.StructType) -> pa.DataType | None:
    stored = [(field.name, storage_type(field.type)) for field in type_]
    names = [name for name, _ in stored]
    if any(inner is None for _, inner in stored) or len(set(names)) < len(names) or "" in names:
        return None
    fields = [pa.field(name, inner) for name, inner in stored if not is_untyped(inner)]
    return pa.struct(fields) if fields else pa.null()


def _storage_scalar(type_: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_large_string(type_) or type_ == pa.string_view():
        return pa.string()
    if types.is_large_binary(type_) or type_ == pa.binary_view():
        return pa.binary()
    if types.is_fixed_size_binary(type_) and not types.is_decimal(type_):
        return pa.binary()
    if types.is_timestamp(type_):
        return _storage_time(type_.tz)
    if types.is_date(type_):
        return pa.date32()
    if types.is_time(type_):
        return pa.time64("us")
    if types.is_duration(type_):
        return pa.duration("us")
    if types.is_decimal(type_):
        if type_.scale < 0:  # 1200 as 12 hundreds, which neither Lance nor Parquet has
            return _decimal(type_.precision - type_.scale, 0)
        return _decimal(type_.precision, type_.scale) or (type_ if type_.bit_width > 128 else None)
    if types.is_float16(type_):
        return pa.float32()
    plain = (
        types.is_null(type_)
        or types.is_boolean(type_)
        or types.is_integer(type_)
        or types.is_floating(type_)
        or types.is_string(type_)
        or types.is_binary(type_)
    )
    return type_ if plain else None


def _storage_time(zone: str | None) -> pa.DataType | None:
    if zone is None:
        return pa.timestamp("us")
    known = zone_of(zone)
    return None if known is None else pa.timestamp("us", known)


def is_list(type_: pa.DataType) -> bool:
    """Return whether values are lists, of any encoding."""
    types = pa.types
    return bool(
        types.is_list(type_)
        or types.is_large_list(type_)
        or types.is_fixed_size_list(type_)
        or types.is_list_view(type_)
        or types.is_large_list_view(type_)
    )


def is_untyped(type_: pa.DataType | None) -> bool:
    """Return whether a column holds only nulls, or only empty lists and nulls."""
    if type_ is None:
        return False
    return bool(pa.types.is_null(type_) or (is_list(type_) and is_untyped(type_.value_type)))


def is_text(type_: pa.DataType) -> bool:
    """Return whether a column is text of any encoding, or null."""
    stored = storage_type(type_)
    return bool(stored == pa.string() or stored == pa.null())


def is_bytes(type_: pa.DataType) -> bool:
    """Return whether a column holds bytes of any encoding."""
    return bool(storage_type(type_) == pa.binary())


def is_file_struct(type_: pa.DataType) -> bool:
    """Return whether a column is the ``{bytes, path}`` of Hugging Face data sets."""
    return bool(pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0)


def merge_types(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of two stored types exactly; None if there is none.

    Whole numbers and fractions meet as fractions, and dates and times as times. Text meets no
    number, and a time without a zone none with one.

    Examples
    --------
    >>> merge_types(pa.int64(), pa.float64())
    DataType(double)
    >>> merge_types(pa.struct([("w", pa.int64())]), pa.struct([("h", pa.int64())]))
    StructType(struct<w: int64, h: int64>)
    >>> merge_types(pa.int64(), pa.string()) is None
    True
    """
    if left == right or is_untyped(right):
        return left
    if is_untyped(left):
        return right
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        return _merge_structs(left, right)
    if is_list(left) and is_list(right):
        inner = merge_types(left.value_type, right.value_type)
        return None if inner is None else pa.list_(inner)
    if _is_number(left) and _is_number(right):
        return _merge_numbers(left, right)
    return _merge_times(left, right)


def _merge_structs(left: pa.StructType, right: pa.StructType) -> pa.DataType | None:
    fields = {field.name: field.type for field in left}
    for field in right:
        merged = merge_types(fields.get(field.name, pa.null()), field.type)
        if merged is None:
            return None
        fields[field.name] = merged
    return pa.struct(list(fields.items()))


def _is_number(type_: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_))


def _merge_numbers(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_decimal(left) or types.is_decimal(right):
        if types.is_floating(left) or types.is_floating(right):
            return pa.float64()
        digits = [_decimal_digits(type_) for type_ in (left, right)]
        scale = max(s for _, s in digits)
        return _decimal(max(whole for whole, _ in digits) + scale, scale)
    if types.is_floating(left) and types.is_floating(right):
        return pa.float64()
    if types.is_floating(left) or types.is_floating(right):
        return pa.float64()
    if types.is_signed_integer(left) == types.is_signed_integer(right):
        return left if left.bit_width >= right.bit_width else right
    signed, unsigned = (left, right) if types.is_signed_integer(left) else (right, left)
    if unsigned.bit_width == 64:
        return None
    return _SIGNED[max(signed.bit_width, 2 * unsigned.bit_width)]


def _decimal_digits(type_: pa.DataType) -> tuple[int, int]:
    """Return how many digits a type has before and behind the point."""
    if pa.types.is_decimal(type_):
        return type_.precision - type_.scale, type_.scale
    return {8: 3, 16: 5, 32: 10, 64: 20}[type_.bit_width], 0


def _decimal(precision: int, scale: int) -> pa.DataType | None:
    return pa.decimal128(precision, scale) if precision <= MAX_DECIMAL_DIGITS else None


def _merge_times(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_date(left) and types.is_timestamp(right):
        return right
    if types.is_timestamp(left) and types.is_date(right):
        return left
    if types.is_timestamp(left) and types.is_timestamp(right) and left.tz and right.tz:
        return left  # the same moments; a column has one zone
    return None


def widen(declared: pa.DataType, given: pa.DataType) -> pa.DataType | None:
    """Return the type that an attribute takes for values of another; None where it must not.

    A date stays a date: that times come in is more likely a mistake than the wish to keep them.

    Examples
    --------
    >>> widen(pa.int64(), pa.float64()), widen(pa.date32(), pa.timestamp("us"))
    (DataType(double), None)
    """
    if pa.types.is_date(declared) and pa.types.is_timestamp(given):
        return None
    return merge_types(declared, given)


def type_name(type_: pa.DataType) -> str:
    """Return the name of a type for people, which `parse_type` reads.

    Examples
    --------
    >>> type_name(pa.float64()), type_name(UTC_TIME), type_name(pa.list_(pa.string()))
    ('double', 'timestamp[UTC]', 'list<string>')
    """
    types = pa.types
    if types.is_timestamp(type_):
        return f"timestamp[{type_.tz}]" if type_.tz else "timestamp"
    if is_list(type_):
        return f"list<{type_name(type_.value_type)}>"
    if types.is_struct(type_):
        inner = ", ".join(f"{field.name}: {type_name(field.type)}" for field in type_)
        return f"struct<{inner}>"
    if types.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    names = {
        pa.date32(): "date",
        pa.time64("us"): "time",
        pa.duration("us"): "duration",
    }
    return names.get(type_, str(type_))


def parse_type(name: str) -> pa.DataType | None:
    """Return the type of a name that a user gives to a cast; None where it is unknown.

    Examples
    --------
    >>> parse_type("text"), parse_type("timestamp[UTC]"), parse_type("decimal(10, 2)")
    (DataType(string), TimestampType(timestamp[us, tz=UTC]), Decimal128Type(decimal128(10, 2)))
    """
    text = "".join(name.lower().split())
    if text in _NAMED:
        return _NAMED[text]
    if text.startswith("timestamp[") and text.endswith("]"):
        return _storage_time("".join(name.split())[len("timestamp[") : -1])
    if text.startswith("list<") and text.endswith(">"):
        inner = parse_type(text[5:-1])
        return None if inner is None else pa.list_(inner)
    if text.startswith("decimal(") and text.endswith(")"):
        precision, _, scale = text[8:-1].partition(",")
        if precision.isdecimal() and scale.isdecimal() and 0 < int(precision) <= MAX_DECIMAL_DIGITS:
            return pa.decimal128(int(precision), int(scale))
    return None


_NAMED = {
    "text": pa.string(),
    "string": pa.string(),
    "int": pa.int64(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
    "bytes": pa.binary(),
    "binary": pa.binary(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    **{f"{u}int{n}": getattr(pa, f"{u}int{n}")() for n in (8, 16, 32, 64) for u in ("", "u")},
}
CAST_TYPES = (
    "text, int64, double, bool, date, timestamp, timestamp[UTC], decimal(10, 2), list<text>"
)

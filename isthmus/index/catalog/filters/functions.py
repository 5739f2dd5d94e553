"""The functions and types that a filter can name, with the kinds of their arguments.

A signature is ``arguments -> result``. Kinds are text, number, time, truth, list, struct and other.
``any`` takes every kind, ``same`` the kind of the first ``same`` argument, ``element`` the kind of
the elements of the first list. ``?`` marks an argument that may be left out, ``*`` one that may be
left out or repeated, and ``'…'`` one that must be a literal text: a pattern, which the engine would
compile for every row, or the name of a unit or type.

Functions are left out whose result is chance (``random``, ``uuid``) or can be larger than the
memory (``repeat``, ``lpad``, ``range``, ``replace``), and one that fails in the engine for lists
that begin with an empty one (``array_any_value``).
"""

from __future__ import annotations

SIGNATURES = {
    "text": {
        "text -> number": "ascii bit_length char_length character_length length octet_length",
        "text -> text": "initcap lower reverse upper",
        "text text? -> text": "btrim ltrim rtrim",
        "number -> text": "chr",
        "text text* -> text": "concat",
        "text text text* -> text": "concat_ws",
        "text text -> truth": "contains contains_tokens ends_with starts_with",
        "text text -> number": "find_in_set instr strpos",
        "text number -> text": "left right",
        "text '…' number? -> number": "regexp_count regexp_instr",
        "text '…' '…'? -> truth": "regexp_like",
        "text '…' '…'? -> list": "regexp_match",
        "text text number -> text": "split_part",
        "text text text -> text": "translate",
    },
    "lists": {
        "list -> element": "array_max array_min flatten list_max",
        "list element -> truth": "array_contains array_has list_contains list_has",
        "list list -> truth": "array_has_all array_has_any arrays_overlap list_has_all "
        "list_has_any",
        "list -> list": "array_distinct list_distinct",
        "list number -> element": "array_element array_extract list_element list_extract",
        "list -> truth": "array_empty empty list_empty",
        "list text -> text": "array_join array_to_string list_join list_to_string",
        "list number? -> number": "array_length list_length",
        "list -> number": "cardinality",
        "list element number? -> number": "array_position list_position",
        "list number number number? -> list": "array_slice list_slice",
        "same same* -> list": "make_array make_list",
    },
    "numbers": {
        "number -> number": "abs acos asin atan cbrt cos degrees exp ln log10 log2 radians signum "
        "sin sqrt tan",
        "number number -> number": "atan2 gcd lcm nanvl pow power",
        "same same* -> same": "greatest least",
        "number -> truth": "isnan iszero",
        "number number? -> number": "log round trunc",
        "-> number": "pi",
    },
    "nulls": {
        "same same* -> same": "coalesce",
        "same same -> same": "ifnull nullif nvl",
        "any same same -> same": "nvl2",
    },
    "dates": {
        "-> time": "current_date current_timestamp now today",
        "-> other": "current_time",
        "time '…' -> text": "date_format to_char",
        "'…' time -> number": "date_part datepart",
        "'…' time -> time": "date_trunc datetrunc",
        "number -> time": "from_unixtime",
        "number number number -> time": "make_date",
        "any '…'* -> time": "to_date to_timestamp to_timestamp_micros to_timestamp_millis "
        "to_timestamp_seconds",
        "any '…'* -> number": "to_unixtime",
    },
    "other": {
        "any '…' -> any": "arrow_cast",
        "any -> text": "arrow_typeof",
        "struct '…' -> any": "get_field",
    },
}
"""Signatures of the functions by group; a signature has the names of its functions."""

FUNCTIONS = {
    name: signature
    for group in SIGNATURES.values()
    for signature, names in group.items()
    for name in names.split()
}
NULL_FUNCTIONS = frozenset(" ".join(SIGNATURES["nulls"].values()).split())
"""Functions whose plan the engine doubles with each level of nesting."""
CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "now", "today"})
NOW_WITHOUT_BRACKETS = frozenset({"current_date", "current_time", "current_timestamp"})
CONVERTING = frozenset({"arrow_cast", *SIGNATURES["dates"]["any '…'* -> time"].split()}) | {
    *("chr", "from_unixtime", "make_date", "to_unixtime")
}
"""Functions that fail for some values."""
GROWING = frozenset(
    {"concat", "concat_ws", "array_join", "array_to_string", "list_join", "list_to_string"}
    | {"make_array", "make_list"}
)
"""Functions whose result can be longer than each of their arguments."""

CAST_TYPES = {
    "bigint": ("bigint", "number"),
    "bigint unsigned": ("bigint unsigned", "number"),
    "bool": ("boolean", "truth"),
    "boolean": ("boolean", "truth"),
    "char": ("string", "text"),
    "date": ("date", "time"),
    "double": ("double", "number"),
    "float": ("float", "number"),
    "int": ("int", "number"),
    "int unsigned": ("int unsigned", "number"),
    "integer": ("int", "number"),
    "integer unsigned": ("int unsigned", "number"),
    "real": ("float", "number"),
    "smallint": ("smallint", "number"),
    "smallint unsigned": ("smallint unsigned", "number"),
    "string": ("string", "text"),
    "text": ("string", "text"),
    "timestamp": ("timestamp", "time"),
    "tinyint": ("tinyint", "number"),
    "tinyint unsigned": ("tinyint unsigned", "number"),
    "varchar": ("string", "text"),
}
"""What stands behind AS in a cast: what the engine calls it, and its kind."""

ARROW_TYPES = {
    **{f"{sign}Int{bits}": "number" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **dict.fromkeys(["Float32", "Float64"], "number"),
    **dict.fromkeys(["Utf8", "LargeUtf8"], "text"),
    **dict.fromkeys(["Date32", "Date64"], "time"),
    **{
        f"Timestamp({unit}, {zone})": "time"
        for unit in ("Second", "Millisecond", "Microsecond", "Nanosecond")
        for zone in ("None", 'Some("UTC")')
    },
    "Boolean": "truth",
}
"""What `arrow_cast` can name, and its kind."""

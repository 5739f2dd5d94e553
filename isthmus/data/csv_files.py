"""CSV files: each column has the narrowest type that fits all of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.source import Batches, Source

_TIMES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
_TYPES = (pa.int64(), pa.float64(), pa.bool_(), *_TIMES)
_LEADING_ZERO = r"^-?0\d"


def open_csv(path: Path, verbatim: Sequence[str]) -> Source:
    """Open a CSV, or a TSV; some columns are kept as text, as they are spelt."""
    import pyarrow.csv as pacsv

    parse = pacsv.ParseOptions(
        delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
    )

    def read_as(types: Mapping[str, pa.DataType]) -> Batches:
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
        with pacsv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
            yield from reader

    with pacsv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    text = dict.fromkeys(names, pa.string())
    types = _narrowest_types(read_as(text), names, verbatim)
    schema = pa.schema([(name, types[name]) for name in names])
    return Source(str(path), schema, lambda: read_as(types), path.parent)


def _narrowest_types(
    batches: Batches, names: Sequence[str], verbatim: Sequence[str]
) -> dict[str, pa.DataType]:
    """Give each column the first type that every one of its values fits, else text."""
    possible = {name: [] if name in verbatim else list(_TYPES) for name in names}
    for batch in batches:
        for name in names:
            column = batch.column(name)
            possible[name] = [type_ for type_ in possible[name] if _casts(column, type_)]
    return {name: types[0] if types else pa.string() for name, types in possible.items()}


def _casts(column: pa.Array, type_: pa.DataType) -> bool:
    number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    if number and pc.any(pc.match_substring_regex(column, _LEADING_ZERO)).as_py():
        return False
    try:
        column.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True

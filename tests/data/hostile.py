"""Hostile tables: any types, nulls, encodings and orders of columns and batches, by seven routes.

A table is a list of rows with a value or null in every column. `write` brings it to a reader by
one of the routes; `same` says whether a value that came out is the value that went in, as far as
the route can carry it: a CSV knows texts alone, and JSON neither dates nor times.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

ROUTES = ("csv", "jsonl", "parquet", "arrow", "pandas", "polars", "dicts")
OF_OBJECTS = ("jsonl", "pandas", "dicts")  # can hold several types in one column
SPELLINGS = ["0123", "1e5", "NA", "true", "null", "nan", "-0", "007", "+5", "1.10", "", " a ", '"']
SPELLINGS += [
    "a,b",
    "a;b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    'say "x"',
    "2020-13-01",
    "2020-01-31",
    "é",
    "😀",
]
ZONES = [UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-5, minutes=-30))]

texts = st.sampled_from(SPELLINGS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6
)
times = st.datetimes(datetime(1600, 1, 1), datetime(9000, 1, 1))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-100, 100),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "fraction": st.floats(allow_nan=False, allow_infinity=False),
    "truth": st.booleans(),
    "text": texts,
    "date": st.dates(date(1600, 1, 1), date(9000, 1, 1)),
    "time": times,
    "zoned": st.builds(lambda t, zone: t.replace(tzinfo=zone), times, st.sampled_from(ZONES)),
    "decimal": st.decimals(-10_000, 10_000, places=2),
    "bytes": st.binary(min_size=1, max_size=4),
    "list": st.lists(st.integers(-9, 9) | st.none(), max_size=3),
    "texts": st.lists(texts, max_size=3),
    "struct": st.fixed_dictionaries({"w": st.integers(-9, 9)}, optional={"h": texts}),
}
ARROW_TYPES = {
    "small": [pa.int8(), pa.int32(), pa.int64()],
    "whole": [pa.int64()],
    "fraction": [pa.float64()],
    "truth": [pa.bool_()],
    "text": [pa.string(), pa.large_string(), pa.string_view()],
    "date": [pa.date32(), pa.date64()],
    "time": [pa.timestamp("us")],
    "zoned": [pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Berlin")],
    "decimal": [pa.decimal128(12, 2), pa.decimal256(40, 2), pa.decimal64(12, 2)],
    "bytes": [pa.binary(), pa.large_binary(), pa.binary_view()],
    "list": [pa.list_(pa.int64()), pa.large_list(pa.int16())],
    "texts": [pa.list_(pa.string()), pa.list_view(pa.string())],
    "struct": [pa.struct([("w", pa.int64()), ("h", pa.string())])],
}
NOT_IN_JSON = ("bytes",)
NOT_IN_CSV = ("bytes", "list", "texts", "struct")
NOT_IN_POLARS = ("decimal", "bytes")
NAMES = ["a", "b b", "Ü", "A", "score"]
BAD_IDS = [None, "", "  ", "a\nb", 1.5, True]


@dataclass
class Hostile:
    """A table, and the route by which it comes.

    Attributes
    ----------
    route : str
        One of `ROUTES`.
    rows : list of dict
        The values.
    kinds : dict of str to str
        The kind of each attribute; ``mixed`` where values are of several.
    types : dict of str to pyarrow.DataType
        The types of the columns on routes that have some.
    columns : list of str
        The columns in order.
    batch : int
        Rows per batch, on routes that have batches.
    """

    route: str
    rows: list[dict[str, Any]]
    kinds: dict[str, str]
    types: dict[str, pa.DataType]
    columns: list[str]
    batch: int


@st.composite
def hostile_tables(draw: st.DrawFn, *, faults: bool) -> Hostile:
    """Draw a table; with faults, some ids and values are no good."""
    route = draw(st.sampled_from(ROUTES))
    n_rows = draw(st.integers(1, 8))
    refused = {"csv": NOT_IN_CSV, "jsonl": NOT_IN_JSON, "polars": NOT_IN_POLARS}.get(route, ())
    usable = [kind for kind in VALUES if kind not in refused]
    names = draw(
        st.lists(st.sampled_from(["a", "b b", "Ü", "A", "score"]), unique=True, max_size=4)
    )
    kinds = {name: draw(st.sampled_from(usable)) for name in names}
    if faults and route in OF_OBJECTS and names:
        kinds[names[0]] = "mixed"
    prefixes = st.sampled_from([text for text in SPELLINGS if text.isprintable()])
    ids: list[Any] = [f"{draw(prefixes)}#{n}" for n in range(n_rows)]
    if draw(st.booleans()):
        ids = [n * 7 for n in range(n_rows)]
    elif faults:
        bad = BAD_IDS if route in OF_OBJECTS else BAD_IDS[:4]
        ids[-1] = draw(st.sampled_from([*bad, ids[0]]))
    rows = [
        {
            "item_id": ids[n],
            "domain": draw(st.sampled_from(["d", "e"])),
            "text": draw(st.sampled_from(["x", " x ", "007", "1984", "x\ny"])),
            **{name: draw(st.none() | _values(kind, usable)) for name, kind in kinds.items()},
        }
        for n in range(n_rows)
    ]
    types = {
        name: draw(st.sampled_from([t for t in ARROW_TYPES[kind] if route != "polars" or _fits(t)]))
        for name, kind in kinds.items()
        if kind != "mixed"
    }
    types["item_id"] = pa.int64() if all(type(i) is int for i in ids) else pa.string()
    columns = draw(st.permutations(["item_id", "domain", "text", *names]))
    return Hostile(route, rows, kinds, types, list(columns), draw(st.integers(1, 4)))


def _fits(type_: pa.DataType) -> bool:
    """Whether polars has a type of this kind."""
    return type_ != pa.date64() and not pa.types.is_list_view(type_)


def _values(kind: str, usable: list[str]) -> st.SearchStrategy[Any]:
    if kind != "mixed":
        return VALUES[kind]
    return st.one_of(VALUES["small"], VALUES["text"], VALUES["truth"], st.just(float("nan")))


def write(table: Hostile, folder: Any) -> Any:
    """Return the table as an input of its route."""
    rows = [{name: row[name] for name in table.columns} for row in table.rows]
    if table.route == "dicts":
        return rows
    if table.route == "jsonl":
        lines = [json.dumps(row, default=_to_json, ensure_ascii=False) for row in rows]
        (folder / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return folder / "t.jsonl"
    if table.route == "csv":
        return _write_csv(table, rows, folder / "t.csv")
    if table.route == "pandas":
        return pd.DataFrame(rows, columns=table.columns, dtype=object)
    arrow = _to_arrow(table, rows)
    if table.route == "polars":
        return pl.from_arrow(arrow)
    if table.route == "parquet":
        pq.write_table(_plain(arrow), folder / "t.parquet", row_group_size=table.batch)
        return folder / "t.parquet"
    return arrow


def _write_csv(table: Hostile, rows: list[dict[str, Any]], path: Any) -> Any:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows([_to_csv(value) for value in row.values()] for row in rows)
    return path


def _to_csv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


def _to_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)


def _to_arrow(table: Hostile, rows: list[dict[str, Any]]) -> pa.Table:
    arrays = {}
    for name in table.columns:
        type_ = table.types.get(name, pa.string())
        values = [row[name] for row in rows]
        if type_ in (pa.string_view(), pa.binary_view()) or pa.types.is_list_view(type_):
            arrays[name] = pa.array(values, type_)
        elif name in table.kinds and table.kinds[name] == "text" and table.batch % 2:
            arrays[name] = pa.array(values, type_).dictionary_encode()
        elif name in table.kinds and table.kinds[name] == "small" and table.batch == 4:
            ends = pa.array(range(1, len(values) + 1), pa.int32())
            encoded = pa.RunEndEncodedArray.from_arrays(ends, pa.array(values, type_))
            arrays[name] = encoded if table.route == "arrow" else pa.array(values, type_)
        else:
            arrays[name] = pa.array(values, type_)
    whole = pa.table(arrays)
    parts = [whole.slice(at, table.batch) for at in range(0, len(whole), table.batch)]
    return pa.concat_tables(parts)


def _plain(arrow: pa.Table) -> pa.Table:
    """Return a table without the types that Parquet cannot hold."""
    for at, field in enumerate(arrow.schema):
        type_ = field.type
        if pa.types.is_list_view(type_):
            values = arrow.column(at).to_pylist()
            arrow = arrow.set_column(at, field.name, pa.array(values, pa.list_(type_.value_type)))
    return arrow


def same(given: Any, got: Any, route: str, *, mixed: bool = False) -> bool:
    """Return whether a value came out as it went in; in a mixed column a text may be a number."""
    is_missing = isinstance(given, float) and given != given and route == "pandas"
    if given is None or is_missing or (given == "" and route == "csv"):
        return got is None
    if got is None and isinstance(given, list | dict):  # no value in it says what type it is
        values = given.values() if isinstance(given, dict) else given
        return all(value is None for value in values)
    if (route == "csv" or mixed) and isinstance(given, str):
        return _reads_as(given, got)
    if isinstance(given, dict):
        there = {name: value for name, value in (got or {}).items() if value is not None}
        return all(same(given.get(n), there.get(n), route) for n in {*given, *there})
    if isinstance(given, list):
        return (
            isinstance(got, list)
            and len(given) == len(got)
            and all(same(a, b, route) for a, b in zip(given, got, strict=True))
        )
    if route == "jsonl" and isinstance(given, date | Decimal):
        return got == _to_json(given)
    if isinstance(given, datetime) and isinstance(got, datetime):
        return _moment(got) == _moment(given)
    if isinstance(given, bool) != isinstance(got, bool):
        return False
    return bool(got == given) if not isinstance(given, Decimal) else Decimal(str(got)) == given


def _moment(time: datetime) -> datetime:
    """Return a time in UTC: Python calls no two times of different zones equal in a fold."""
    return time if time.tzinfo is None else time.astimezone(UTC)


def _reads_as(text: str, got: Any) -> bool:
    """Return whether a value is what a text of a CSV is spelled as."""
    if isinstance(got, str):
        return got == text
    if isinstance(got, bool):
        return text.lower() == str(got).lower()
    if isinstance(got, datetime):
        parsed = datetime.fromisoformat(text)
        return _moment(parsed) == _moment(got)
    if isinstance(got, date):
        return date.fromisoformat(text) == got
    return got is not None and float(text) == float(got)

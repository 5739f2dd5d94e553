"""A column converted at once is what each of its values is converted to."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.data.convert import Misfit, convert, fit, to_objects
from isthmus.data.types import storage_type

MANY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
NUMBERS = [
    "-0", "0", "-0.0", "007", "+5", "1.10", ".5", "5.", "1e5", "1e+5", "12E-3", "-7", "--7", "1_0",
    "9007199254740993", "-9223372036854775808", "9223372036854775808", "18446744073709551615",
    "100000000000000000000", "0.1", "0.123456789", "16777217", "1e+999", "nan", "inf", "1\n", " 1",
    "٣", "",
]  # fmt: skip
OTHERS = ["true", "False", "2020-01-31", "2020-13-01", "2020-01-31T10:00:00+02:00", "word"]
zone = st.sampled_from(["UTC", "Europe/Berlin", "+02:00"])
wholes = st.integers(-200, 200) | st.sampled_from([2**24 + 1, 2**53 + 1, 2**62, -(2**63)])
floats = st.floats(width=32) | st.floats() | st.sampled_from([1.0, -0.0, 0.1, 2.0**53])
texts = st.sampled_from(NUMBERS + OTHERS) | st.from_regex(r"-?[0-9.]{1,21}", fullmatch=True)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int64(): wholes,
    pa.uint64(): st.sampled_from([0, 7, 2**53 + 1, 2**63, 2**64 - 1]),
    pa.float16(): st.floats(width=16),
    pa.float32(): st.floats(width=32),
    pa.float64(): floats,
    pa.string(): texts,
    pa.large_string(): texts,
    pa.dictionary(pa.int8(), pa.string()): texts,
    pa.date32(): st.dates(date(1600, 1, 1)),
    pa.date64(): st.dates(date(1600, 1, 1)),
    pa.timestamp("s"): moments,
    pa.timestamp("us"): moments,
    pa.timestamp("ns"): st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    pa.timestamp("us", "UTC"): moments.map(lambda moment: moment.replace(tzinfo=UTC)),
    pa.timestamp("us", "+02:00"): moments.map(lambda moment: moment.replace(tzinfo=UTC)),
    pa.time32("s"): st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    pa.duration("us"): st.timedeltas(timedelta(-9), timedelta(9)),
    pa.decimal128(12, 2): st.decimals(-10_000, 10_000, places=2),
    pa.decimal128(38, 4): st.decimals(-(10**33), 10**33, places=4),
    pa.binary(): st.binary(max_size=3),
    pa.list_(pa.float64()): st.lists(floats | st.none(), max_size=3),
    pa.list_(pa.int64()): st.lists(wholes, max_size=3),
    pa.list_(pa.timestamp("us")): st.lists(moments, max_size=2),
    pa.struct([("w", pa.float64()), ("h", pa.string())]): st.fixed_dictionaries(
        {"w": floats, "h": texts}
    ),
}
TARGETS = [
    pa.bool_(), pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float32(),
    pa.float64(), pa.string(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"),
    pa.timestamp("us", "Europe/Berlin"), pa.time64("us"), pa.duration("us"), pa.decimal128(12, 2),
    pa.decimal128(38, 4), pa.binary(), pa.list_(pa.float64()), pa.list_(pa.int64()),
    pa.list_(pa.timestamp("us")), pa.struct([("w", pa.float64()), ("h", pa.string())]),
]  # fmt: skip


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.Array | list[Any], pa.DataType]:
    """Draw a column, of Arrow or of Python's objects, and a type for it, often the nearest."""
    given_type = draw(st.sampled_from(list(VALUES)))
    values = draw(st.lists(st.none() | VALUES[given_type], min_size=1, max_size=4))
    nearest = [type_ for type_ in TARGETS if type_ == storage_type(given_type)]
    target = draw(st.sampled_from(nearest) if nearest and draw(st.booleans()) else
                  st.sampled_from(TARGETS))  # fmt: skip
    return (values if draw(st.booleans()) else pa.array(values, given_type)), target


def each_alone(values: pa.Array | list[Any], target: pa.DataType, *, spell: bool) -> Any:
    converted, misfits = [], []
    for row, value in enumerate(to_objects(values)):
        try:
            converted.append(fit(value, target, spell=spell))
        except Misfit as misfit:
            converted.append(None)
            misfits.append((row, str(misfit)))
    return pa.array(converted, target), misfits


@MANY
@given(column=columns(), spell=st.booleans())
def test_a_column_is_converted_as_each_of_its_values(column, spell):
    values, target = column
    array, misfits = convert(values, target, spell=spell)
    expected, problems = each_alone(values, target, spell=spell)
    assert misfits == problems
    assert array.type == target
    assert repr(array.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize(
    ("text", "type_", "expected"),
    [
        ("-0", pa.int64(), None),
        ("-0", pa.float64(), -0.0),
        ("007", pa.int64(), None),
        ("007", pa.float64(), None),
        ("007", pa.decimal128(12, 2), None),
        ("9007199254740992", pa.float64(), 9007199254740992.0),
        ("9007199254740993", pa.float64(), None),
        ("0.123456789", pa.float32(), None),
        ("1e+999", pa.decimal128(12, 2), None),
    ],
)
def test_a_text_is_a_number_by_one_rule_in_any_company(text, type_, expected):
    alone = fit_or_none(text, type_)
    columns = [[text], [text, "1"], [text, "no number"], pa.array([text]), pa.array(["1", text])]
    found = {repr(convert(column, type_)[0].to_pylist()[at]) for column, at in
             zip(columns, [0, 0, 0, 0, 1], strict=True)}  # fmt: skip
    assert found == {repr(alone)} == {repr(expected)}


def fit_or_none(value, type_):
    try:
        return fit(value, type_)
    except Misfit:
        return None


def test_a_decimal_of_negative_scale_is_stored_as_the_whole_number_it_is():
    assert storage_type(pa.decimal128(5, -2)) == pa.decimal128(7, 0)
    assert storage_type(pa.decimal128(38, -2)) is None

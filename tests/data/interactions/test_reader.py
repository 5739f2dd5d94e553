"""Every kind of input gives the same interactions; problems are reported by row."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import lance
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from isthmus.data.interactions.reader import InteractionReader
from isthmus.data.request import InteractionColumns, TableOptions
from isthmus.errors import InvalidInput, InvalidInteractions, InvalidMapping
from isthmus.schema import INTERACTIONS

MOMENT = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)  # 1e9 seconds after 1970
ROWS = [
    {"user_id": "007", "item_id": "f1", "rating": 4.5, "timestamp": 1_000_000_000},
    {"user_id": "b", "item_id": "0x", "rating": 0.0, "timestamp": 1_000_000_001},
]
EXPECTED = [
    {
        "user_id": "007",
        "item_id": "f1",
        "event": "interaction",
        "value": 4.5,
        "weight": 1.0,
        "time": MOMENT,
    },
    {
        "user_id": "b",
        "item_id": "0x",
        "event": "interaction",
        "value": 0.0,
        "weight": 1.0,
        "time": MOMENT.replace(second=41),
    },
]
TABLE = pa.Table.from_pylist(ROWS)
WRITERS = {
    "i.parquet": lambda path: pq.write_table(TABLE, path),
    "i.csv": lambda path: pacsv.write_csv(TABLE, path),
    "i.tsv": lambda path: pacsv.write_csv(TABLE, path, pacsv.WriteOptions(delimiter="\t")),
    "i.jsonl": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "i.json": lambda path: path.write_text(json.dumps(ROWS)),
    "i.arrow": lambda path: feather.write_feather(TABLE, path, compression="uncompressed"),
    "i.lance": lambda path: lance.write_dataset(TABLE, str(path)),
}
FRAMES = {
    "table": TABLE,
    "batch": TABLE.to_batches()[0],
    "reader": pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches()),
    "pandas": pd.DataFrame(ROWS),
    "polars": pl.DataFrame(ROWS),
    "dicts": ROWS,
    "generator": (row for row in ROWS),
}


def read(source, rows=1000, time_unit=None, **columns):
    options = TableOptions(time_unit=time_unit)
    reader = InteractionReader(source, InteractionColumns(**columns), options)
    reader.check()
    reader.raise_if_invalid()
    tables = list(reader.batches(rows))
    assert all(table.schema == INTERACTIONS for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def one(**row):
    """Read one row of a user and an item, with columns of their default names."""
    (found,) = read([{"user_id": "u", "item_id": "i", **row}])
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_every_kind_give_the_same_interactions(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert read(tmp_path / name) == EXPECTED


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_every_kind_give_the_same_interactions(name):
    assert read(FRAMES[name]) == EXPECTED


def test_a_glob_a_folder_and_a_list_join_files(tmp_path):
    for name, row in zip(("a.parquet", "b.parquet"), ROWS, strict=True):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    for source in (
        str(tmp_path / "*.parquet"),
        tmp_path,
        [tmp_path / "a.parquet", tmp_path / "b.parquet"],
    ):
        assert read(source) == EXPECTED


def test_defaults_are_one_event_of_value_and_weight_one_without_a_time():
    assert one() == {
        "user_id": "u",
        "item_id": "i",
        "event": "interaction",
        "value": 1.0,
        "weight": 1.0,
        "time": None,
    }


def test_value_goes_before_rating_and_time_before_timestamp():
    found = one(value=2, rating=3, time=MOMENT, timestamp=0, weight=0.5, event="view")
    assert (found["value"], found["time"], found["weight"]) == (2.0, MOMENT, 0.5)
    assert found["event"] == "view"


def test_columns_may_have_any_name_and_ids_may_be_templates():
    rows = [{"customer": 7, "movie": 12, "stars": 3, "when": "2001-09-09", "share": 2, "what": "w"}]
    mapping = {"user": "shop-{customer}", "item": "film-{movie}", "value": "stars"}
    (found,) = read(rows, **mapping, time="when", weight="share", event_column="what")
    assert list(found.values()) == [
        "shop-7",
        "film-12",
        "w",
        3.0,
        2.0,
        datetime(2001, 9, 9, tzinfo=UTC),
    ]


def test_a_template_may_join_several_columns():
    rows = [{"user_id": "u", "shop": "a", "number": n} for n in (1, 2)]
    assert [row["item_id"] for row in read(rows, item="{shop}-{number}")] == ["a-1", "a-2"]


def test_one_event_may_be_given_for_all():
    (found,) = read([{"user_id": "u", "item_id": "i", "event": "view"}], event="purchase")
    assert found["event"] == "purchase"


def test_ids_may_be_numbers_or_categories():
    frame = pd.DataFrame({"user_id": pd.Categorical(["a", "b"]), "item_id": [1, 2]})
    assert [(row["user_id"], row["item_id"]) for row in read(frame)] == [("a", "1"), ("b", "2")]


def test_a_csv_keeps_ids_as_they_are_spelled(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text("user_id,item_id,rating\n1.0,2e3,4\n01,0,5\n")
    found = [(row["user_id"], row["item_id"], row["value"]) for row in read(path)]
    assert found == [("1.0", "2e3", 4.0), ("01", "0", 5.0)]


@pytest.mark.parametrize("value", [3, 3.0, Decimal("3"), "3", " 3.0 "])
def test_a_value_may_be_any_number(value):
    assert one(value=value)["value"] == 3.0


def test_a_value_may_be_a_yes_or_no_and_negative():
    assert one(value=True)["value"] == 1.0
    assert one(value=-2)["value"] == -2.0


@pytest.mark.parametrize(
    "time",
    [
        1_000_000_000,
        1_000_000_000.0,
        1_000_000_000_000,
        1_000_000_000_000_000,
        1_000_000_000_000_000_000,
        Decimal(1_000_000_000),
        "1000000000",
        "2001-09-09T01:46:40Z",
        "2001-09-09T03:46:40+02:00",
        "2001-09-09 01:46:40",
        " 2001-09-09T01:46:40.000 ",
        MOMENT,
        MOMENT.replace(tzinfo=None),
    ],
)
def test_a_time_may_be_written_in_many_ways(time):
    assert one(time=time)["time"] == MOMENT


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_timestamps_of_every_unit_and_zone_are_understood(unit, zone):
    column = pa.array([MOMENT], pa.timestamp(unit, zone))
    (found,) = read(pa.table({"user_id": ["u"], "item_id": ["i"], "time": column}))
    assert found["time"] == MOMENT


def test_times_are_truncated_to_microseconds():
    column = pa.array([1_000_000_000_123_456_789], pa.timestamp("ns"))
    (found,) = read(pa.table({"user_id": ["u"], "item_id": ["i"], "time": column}))
    assert found["time"] == MOMENT.replace(microsecond=123_456)


def test_fractions_of_a_second_and_times_before_1970_are_kept():
    assert one(time=1_000_000_000.25)["time"] == MOMENT.replace(microsecond=250_000)
    (found,) = read([{"user_id": "u", "item_id": "i", "time": -86_400}], time_unit="s")
    assert found["time"] == datetime(1969, 12, 31, tzinfo=UTC)


def test_a_date_is_its_midnight():
    assert one(time=date(2001, 9, 9))["time"] == datetime(2001, 9, 9, tzinfo=UTC)


def test_the_unit_changes_at_the_sizes_that_are_documented():
    assert one(time=4_102_444_799)["time"].year == 2099
    assert one(time=315_532_800_000)["time"] == datetime(1980, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "number",
    [0, 1, 1999, 20200131, 202001312359, 20200131235959, 99_999_999_999, -1, 1e30, 20200131.0],
)
def test_a_number_that_may_be_anything_needs_a_unit(number):
    for given in (number, str(number), Decimal(number)):
        with pytest.raises(InvalidInteractions, match=r"no time without a unit; .* --time-unit"):
            one(time=given)


@pytest.mark.parametrize(
    ("unit", "number", "time"),
    [
        ("s", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("s", "253402300799", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("ms", 253_402_300_799_000, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("us", 1_000_000, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("ns", 1_999, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("yyyymmdd", 20200131, datetime(2020, 1, 31, tzinfo=UTC)),
        ("yyyymmdd", "20200131", datetime(2020, 1, 31, tzinfo=UTC)),
        ("yyyymmdd", 20200131.0, datetime(2020, 1, 31, tzinfo=UTC)),
    ],
)
def test_a_unit_says_what_numbers_count(unit, number, time):
    (found,) = read([{"user_id": "u", "item_id": "i", "time": number}], time_unit=unit)
    assert found["time"] == time


@pytest.mark.parametrize(
    ("unit", "number"), [("yyyymmdd", 20201301), ("yyyymmdd", 20.5), ("s", 10**18), ("ms", 2**62)]
)
def test_numbers_that_are_no_time_in_their_unit_are_refused(unit, number):
    with pytest.raises(InvalidInteractions, match="which is no time"):
        read([{"user_id": "u", "item_id": "i", "time": number}], time_unit=unit)


def test_texts_of_mixed_spelling_are_read_one_by_one():
    times = ["2001-09-09", "2001-09-09T01:46:40Z", "1000000000", "", None]
    rows = [{"user_id": "u", "item_id": str(n), "time": time} for n, time in enumerate(times)]
    found = [row["time"] for row in read(rows)]
    assert found == [datetime(2001, 9, 9, tzinfo=UTC), MOMENT, MOMENT, None, None]


BAD = {
    "no user": ({"user_id": None}, "no user id in 'user_id'"),
    "blank user": ({"user_id": " "}, "no user id in 'user_id'"),
    "no item": ({"item_id": None}, "no item id in 'item_id'"),
    "no event": ({"event": None}, "no kind of event in 'event'"),
    "value nan": ({"rating": float("nan")}, "column 'rating' holds nan, which is no finite number"),
    "value infinite": (
        {"rating": float("-inf")},
        "column 'rating' holds -inf, which is no finite number",
    ),
    "value too large": (
        {"rating": 1e300},
        "column 'rating' holds 1e+300, which is over the largest number, 3.4e+38",
    ),
    "weight negative": ({"weight": -0.5}, "column 'weight' is -0.5; no weight is negative"),
    "weight nan": (
        {"weight": float("nan")},
        "column 'weight' holds nan, which is no finite number",
    ),
    "time nan": ({"time": float("nan")}, "column 'time' holds nan, which is no time"),
    "time too late": (
        {"time": 1e30},
        "column 'time' holds 1e+30, which is no time without a unit; a number needs a unit: "
        "--time-unit s, ms, us, ns or yyyymmdd",
    ),
    "user fraction": (
        {"user_id": 1.5},
        "column 'user_id' is 1.5 (float); an id is text or a whole number",
    ),
    "item truth": (
        {"item_id": True},
        "column 'item_id' is True (bool); an id is text or a whole number",
    ),
    "value list": ({"rating": [1, 2]}, "column 'rating' holds [1, 2], which is no finite number"),
    "value text": ({"rating": "x"}, "column 'rating' holds 'x', which is no finite number"),
    "time truth": ({"time": True}, "column 'time' holds True, which is no time"),
}
GOOD = {"user_id": "u", "item_id": "i", "rating": 1.0, "weight": 1.0, "time": 1e9, "event": "e"}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_by_number(name):
    change, what = BAD[name]
    with pytest.raises(InvalidInteractions) as caught:
        read([GOOD, {**GOOD, **change}])
    assert caught.value.problems == ((1, what),)
    assert str(caught.value) == (
        f"1 invalid row(s) in input: row 1: {what}. Nothing was added. Correct the rows, or pass "
        "skip_invalid=True (--skip-invalid) to add the others."
    )


def test_texts_that_are_no_number_or_time_are_refused_by_number(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text(
        "user_id,item_id,rating,time\nu,a,4,1000000000\nu,b,four,1000000000\nu,c,5,soon\n"
    )
    with pytest.raises(InvalidInteractions) as caught:
        read(path)
    assert caught.value.problems == (
        (1, "column 'rating' holds 'four', which is no finite number"),
        (2, "column 'time' holds 'soon', which is no time"),
    )


def test_timestamps_that_python_cannot_hold_are_refused_by_number():
    late = pa.array([0, 10**18], pa.timestamp("us"))
    later = pa.array([0, 10**14], pa.timestamp("s"))
    for column, shown in (
        (late, "1000000000000000000 timestamp[us]"),
        (later, "100000000000000 timestamp[s]"),
    ):
        table = pa.table({"user_id": ["u", "v"], "item_id": ["i", "i"], "time": column})
        with pytest.raises(InvalidInteractions) as caught:
            read(table)
        assert caught.value.problems == ((1, f"column 'time' holds {shown}, which is no time"),)


def test_the_first_problem_of_a_row_is_reported_with_its_number_over_all_files(tmp_path):
    pq.write_table(pa.Table.from_pylist([GOOD]), tmp_path / "a.parquet")
    bad = {**GOOD, "user_id": None, "rating": float("inf")}
    schema = pa.Table.from_pylist([GOOD]).schema
    pq.write_table(pa.Table.from_pylist([GOOD, bad], schema), tmp_path / "b.parquet")
    with pytest.raises(
        InvalidInteractions, match=r"in 2 files: .*b\.parquet row 1: no user id in 'user_id'\."
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"user": "who"},
            "input has no column 'who'; its columns are: user_id, item_id, rating, timestamp",
        ),
        ({"item": "film-{movie}"}, "input has no column 'movie'"),
        ({"value": "stars"}, "input has no column 'stars'"),
        ({"event_column": "what"}, "input has no column 'what'"),
        (
            {"user": "rating"},
            "column 'rating' is double; an id of a user or an item is text or an integer",
        ),
        ({"event_column": "rating"}, "a kind of event is text or an integer"),
        ({"event": " "}, "the kind of event is empty"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(mapping, message):
    with pytest.raises(InvalidMapping, match=message):
        read(TABLE, **mapping)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("value", [1, 2], r"column 'value' is list<.*>; a value or a weight is a number"),
        ("value", MOMENT, "a value or a weight is a number"),
        ("time", True, "column 'time' is bool; a time is a timestamp, a date, ISO 8601 text, or"),
    ],
)
def test_a_column_of_a_type_that_cannot_be_is_refused(name, value, message):
    with pytest.raises(InvalidMapping, match=message):
        read(pa.table({"user_id": ["u"], "item_id": ["i"], name: [value]}))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "i.parquet").write_bytes(b"nonsense")
    with pytest.raises(InvalidInput, match=r"cannot read .*i\.parquet"):
        read(tmp_path / "i.parquet")


def test_an_empty_input_is_valid():
    assert read([]) == []
    assert read(TABLE.slice(0, 0)) == []


def test_batches_have_the_requested_size_and_leave_out_invalid_and_repeated_rows():
    users = ["a", None, "b", "c", "b", "d"]
    rows = [{"user_id": user, "item_id": "i", "value": None} for user in users]
    reader = InteractionReader(rows)
    assert reader.check() == 6
    assert reader.problems == {1: "no user id in 'user_id'"}
    assert reader.repeated.tolist() == [4]
    batches = [table.column("user_id").to_pylist() for table in reader.batches(3)]
    assert batches == [["a", "b", "c"], ["d"]]

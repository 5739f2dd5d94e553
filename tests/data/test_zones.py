"""Time zones: an attribute comes back in the zone or with the offset that it came in with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import Space
from isthmus.errors import InvalidInput, InvalidMapping
from tests.toy import PointEncoder

TWO = timezone(timedelta(hours=2))
MOMENT = datetime(2026, 1, 31, 12, 30, tzinfo=TWO)
ROW = {"item_id": "a", "domain": "films", "text": "1 0"}


@pytest.fixture
def space(tmp_path):
    return Space.create(tmp_path / "s", PointEncoder(2))


def stored(space, attribute="at"):
    (row,) = [r for r in space.attributes("films") if r["attribute"] == attribute]
    return space.get("a")["attributes"][attribute].isoformat(), row["type"]


def as_csv(folder, moment):
    (folder / "a.csv").write_text(f"item_id,domain,text,at\na,films,1 0,{moment.isoformat()}\n")
    return folder / "a.csv"


def as_parquet(folder, moment):
    column = pa.array([moment], pa.timestamp("ns", "+02:00"))
    pq.write_table(pa.table({**{n: [v] for n, v in ROW.items()}, "at": column}), folder / "a.pq")
    (folder / "a.pq").rename(folder / "a.parquet")
    return folder / "a.parquet"


ROUTES = {
    "csv": as_csv,
    "parquet": as_parquet,
    "dict": lambda _, moment: [{**ROW, "at": moment}],
    "arrow": lambda _, moment: pa.Table.from_pylist([{**ROW, "at": moment}]),
    "pandas": lambda _, moment: pd.DataFrame([{**ROW, "at": pd.Timestamp(moment)}]),
    "pandas objects": lambda _, moment: pd.DataFrame([{**ROW, "at": moment}]).astype(object),
}


@pytest.mark.parametrize("route", ROUTES)
def test_an_offset_comes_back(space, tmp_path, route):
    space.upsert(ROUTES[route](tmp_path, MOMENT))
    assert stored(space) == ("2026-01-31T12:30:00+02:00", "timestamp[+02:00]")
    assert space.count(where="at = timestamp '2026-01-31 10:30:00Z'") == 1
    assert space.count(where="at > timestamp '2026-01-31 12:29:00+02:00'") == 1


def test_a_zone_by_name_comes_back(space):
    moment = datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    zoned = pl.DataFrame({**{n: [v] for n, v in ROW.items()}, "at": [moment]})
    for given in ([{**ROW, "at": moment}], zoned):
        space.upsert(given)
        assert stored(space) == ("2026-07-01T09:00:00+02:00", "timestamp[Europe/Berlin]")


def test_json_keeps_the_text_and_a_cast_keeps_the_offset(space, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({**ROW, "at": MOMENT.isoformat()}) + "\n")
    space.upsert(tmp_path / "a.jsonl")
    assert space.get("a")["attributes"]["at"] == "2026-01-31T12:30:00+02:00"
    space.cast_attribute("films", "at", "timestamp[+0200]")
    assert stored(space) == ("2026-01-31T12:30:00+02:00", "timestamp[+02:00]")
    with pytest.raises(InvalidInput, match=r"there is no type 'timestamp\[Mars/Base\]'"):
        space.cast_attribute("films", "at", "timestamp[Mars/Base]")


def test_several_offsets_are_kept_as_moments_in_utc_and_that_is_said(space, tmp_path):
    (tmp_path / "a.csv").write_text(
        "item_id,domain,text,at\na,films,1 0,2026-01-31T12:30+02:00\n"
        "b,films,1 1,2026-07-01T00:00Z\n"
        "c,films,1 2,2026-07-01T00:00:00-0530\n"
    )
    (note,) = space.upsert(tmp_path / "a.csv").notes
    assert "has times in +02:00, -05:30; they are kept as the same moments in UTC" in note
    assert stored(space) == ("2026-01-31T10:30:00+00:00", "timestamp[UTC]")
    late = space.get("c")["attributes"]["at"]
    assert late == datetime(2026, 7, 1, 5, 30, tzinfo=UTC)


def test_a_declared_zone_stays(space):
    space.upsert([{**ROW, "at": MOMENT}])
    (note,) = space.upsert([{**ROW, "at": MOMENT.astimezone(UTC)}]).notes
    assert note.endswith(
        "has times in UTC; they are kept as the same moments in +02:00, the one zone of the column"
    )
    assert stored(space) == ("2026-01-31T12:30:00+02:00", "timestamp[+02:00]")


def test_an_unknown_zone_is_refused_before_anything_is_stored(space):
    column = pa.array([MOMENT], pa.timestamp("us", "Mars/Base"))
    with pytest.raises(InvalidMapping, match=r"tz=Mars/Base.*leave it out"):
        space.upsert(pa.table({**{n: [v] for n, v in ROW.items()}, "at": column}))
    assert space.status()["items"] == 0


def test_periods_of_pandas_are_refused_and_not_stored_as_their_numbers(space):
    frame = pd.DataFrame([ROW]).assign(at=pd.period_range("2020-01", periods=1, freq="M"))
    with pytest.raises(InvalidMapping, match=r"'at' is .*; make it text"):
        space.upsert(frame)
    assert space.status()["items"] == 0

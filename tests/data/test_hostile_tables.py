"""Whatever is put in by any route comes out equal, or its row is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings

from isthmus import Space
from isthmus.data import csv_files, csv_plain, sources
from isthmus.data.item_reader import ItemReader
from tests.data.hostile import Hostile, hostile_tables, same, write
from tests.data.placing import by_domain, of_domain
from tests.toy import text_encoder

MANY = settings(max_examples=120, suppress_health_check=list(HealthCheck))
SOME = settings(MANY, max_examples=15)
NIGHTLY = settings(MANY, max_examples=10_000)


def read(table: Hostile) -> tuple[dict[int, dict], dict[int, str]]:
    """Return the items that come out by their row, and the rows that are named."""
    with tempfile.TemporaryDirectory() as folder, small_chunks(table.batch):
        reader = ItemReader(write(table, Path(folder)))
        reader.check()
        batches = reader.batches(3, by_domain(reader))
        items = [of_domain(item) for batch in batches for item in batch.to_pylist()]
        kept = [row for row in range(len(table.rows)) if row not in reader.problems]
        return dict(zip(kept, items, strict=True)), reader.problems


@contextmanager
def small_chunks(rows: int) -> Iterator[None]:
    """Read so few rows at a time."""
    with ExitStack() as patches:
        for module in (sources, csv_files, csv_plain):
            patches.enter_context(mock.patch.object(module, "BATCH_ROWS", rows))
        yield


def check_items(table: Hostile, items: dict[int, dict], problems: dict[int, str]) -> None:
    event(f"route {table.route}, {'some' if problems else 'no'} problems")
    assert sorted([*items, *problems]) == list(range(len(table.rows)))
    for row, item in items.items():
        given = table.rows[row]
        assert item["item_id"] == str(given["item_id"])
        assert (item["domain"], item["text"]) == (given["domain"], given["text"])
        for name, kind in table.kinds.items():
            mixed = kind == "mixed"
            assert same(given[name], item.get(name), table.route, mixed=mixed), (name, given, item)


def check_whole(table: Hostile) -> None:
    items, problems = read(table)
    assert problems == {}
    check_items(table, items, problems)


def check_faulty(table: Hostile) -> None:
    items, problems = read(table)
    check_items(table, items, problems)
    for problem in problems.values():
        assert "item id" in problem or "item_id" in problem or "column" in problem


def check_space(table: Hostile) -> None:
    """The same through a space, added twice: nothing changes the second time."""
    with tempfile.TemporaryDirectory() as folder, small_chunks(table.batch):
        space = Space.create(Path(folder) / "s", text_encoder(dim=8))
        report = space.upsert(write(table, Path(folder)), skip_invalid=True)
        assert report.added + report.invalid == len(table.rows) == report.rows_read
        assert len(report.problems) == report.invalid
        again = space.upsert(write(table, Path(folder)), skip_invalid=True)
        assert (again.unchanged, again.invalid) == (report.added, report.invalid)
        stored = space.get(list(space.ids()))
    assert len(stored) == report.added
    for item in stored:
        rows = [row for row in table.rows if str(row["item_id"]) == item["item_id"]]
        assert any(has_attributes(table, row, item["attributes"]) for row in rows), (rows, item)


def has_attributes(table: Hostile, row: dict, attributes: dict) -> bool:
    return all(
        same(row[name], attributes.get(name), table.route, mixed=kind == "mixed")
        for name, kind in table.kinds.items()
    )


@MANY
@given(table=hostile_tables(faults=False))
def test_a_whole_table_comes_out_as_it_went_in(table):
    check_whole(table)


@MANY
@given(table=hostile_tables(faults=True))
def test_of_a_table_with_faults_every_row_comes_out_or_is_named(table):
    check_faulty(table)


@SOME
@given(table=hostile_tables(faults=False))
def test_a_whole_table_comes_out_of_a_space(table):
    check_space(table)


@pytest.mark.nightly
@NIGHTLY
@given(table=hostile_tables(faults=False))
def test_many_whole_tables_come_out_as_they_went_in(table):
    check_whole(table)


@pytest.mark.nightly
@NIGHTLY
@given(table=hostile_tables(faults=True))
def test_of_many_tables_with_faults_every_row_comes_out_or_is_named(table):
    check_faulty(table)


@pytest.mark.nightly
@settings(MANY, max_examples=1_000)
@given(table=hostile_tables(faults=True))
def test_many_tables_come_out_of_a_space(table):
    check_space(table)


def test_the_strategy_reaches_every_route_and_type():
    """A canary: the tables of one kind of each route hold what they say."""
    row = {"item_id": "1", "domain": "d", "text": "x", "a": 5}
    table = Hostile("arrow", [row], {"a": "small"}, {"a": pa.int8()}, list(row), 4)
    items, problems = read(table)
    assert (items[0]["a"], problems) == (5, {})


def test_a_mixed_column_is_refused_by_row_however_often_it_comes(tmp_path):
    rows = [
        {"item_id": "a", "domain": "d", "text": "x", "code": "0123"},
        {"item_id": "b", "domain": "d", "text": "x", "code": 0},
        {"item_id": "c", "domain": "d", "text": "x", "code": "7"},
    ]
    space = Space.create(tmp_path / "s", text_encoder(dim=8))
    for _ in range(2):
        report = space.upsert(rows, skip_invalid=True)
        assert (report.invalid, [problem.split(":")[0] for problem in report.problems]) == (
            1,
            ["row 1"],
        )
    assert sorted(space.ids()) == ["a", "c"]
    # A column of whole numbers alone is their decimal text, where the attribute is text.
    space.upsert([{"item_id": "b", "domain": "d", "text": "x", "code": 0}])
    assert space.get("b")["attributes"] == {"code": "0"}

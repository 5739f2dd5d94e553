"""Numbers of a CSV with a decimal comma: read as numbers where that is said, and noted else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInteractions, InvalidItems
from tests.toy import text_encoder

NOTE = (
    "is text, since numbers such as '1,5' have a comma; give --decimal , if it is a decimal comma"
)
HINT = "give --decimal , if the comma is decimal"


@pytest.fixture
def space(tmp_path):
    return Space.create(tmp_path / "s", text_encoder())


def write(folder, *lines):
    path = Path(folder) / "prices.csv"
    path.write_text("item_id;domain;title;price\n" + "".join(f"{line}\n" for line in lines))
    return path


def german(number):
    """Return a number as it is written where a comma is decimal and points group digits."""
    return f"{number:,}".translate(str.maketrans(",.", ".,"))


@settings(max_examples=25)
@given(st.lists(st.decimals(-9_999_999, 9_999_999, places=2), min_size=1, max_size=5))
def test_numbers_with_a_comma_are_those_with_a_point(numbers):
    with tempfile.TemporaryDirectory() as folder:
        space = Space.create(Path(folder) / "s", text_encoder())
        rows = [f"{at};f;1,5;{german(number)}" for at, number in enumerate(numbers)]
        space.upsert(write(folder, *rows), decimal=",")
        stored = space.get([str(at) for at in range(len(numbers))])
        assert [one["attributes"]["price"] for one in stored] == [float(n) for n in numbers]
        assert {one["text"] for one in stored} == {"1,5"}  # a text stays as it is


def test_numbers_with_a_comma_are_text_and_a_note_says_so(space, tmp_path):
    report = space.upsert(write(tmp_path, "1;f;a;1,5", "2;f;b;2"))
    assert report.notes[-1] == f"column 'price' of f {NOTE}"
    assert space.get("1")["attributes"]["price"] == "1,5"
    (tmp_path / "users.csv").write_text("user_id;height\nu;1,5\n")
    assert space.add_users(tmp_path / "users.csv").notes[-1] == f"column 'height' {NOTE}"
    report = space.upsert(write(tmp_path, "1;f;a;red, blue", "2;f;b;1,5"), replace=True)
    assert not [note for note in report.notes if "--decimal" in note]


def test_a_number_that_fits_neither_way_is_refused_as_it_stands(space, tmp_path):
    space.upsert(write(tmp_path, "1;f;a;1.5"))
    with pytest.raises(InvalidItems, match=f"line 2: column 'price' holds '2,5', .*; {HINT}; "):
        space.upsert(write(tmp_path, "2;f;a;2,5"))
    with pytest.raises(InvalidItems, match=r"holds '2\.5', which is no double; correct it"):
        space.upsert(write(tmp_path, "2;f;a;2.5", "3;f;a;1,5"), decimal=",")
    log = tmp_path / "log.csv"
    log.write_text("user_id;item_id;value\nu;1;4,5\n")
    with pytest.raises(InvalidInteractions, match=f"'4,5', which is no finite number; {HINT}"):
        space.add_interactions(log)
    space.add_interactions(log, decimal=",")
    assert space.interactions().column("value").to_pylist() == [4.5]

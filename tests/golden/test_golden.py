"""A space written in an earlier format still opens and answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from isthmus import Space
from tests.toy import item, picture, two_encoders

HERE = Path(__file__).parent


@pytest.fixture(params=["format_1.space"])
def golden(request, tmp_path):
    shutil.copytree(HERE / request.param, tmp_path / "s")
    return Space.open(tmp_path / "s", encoder=two_encoders())


def test_a_golden_space_answers(golden):
    assert golden.count() == 5
    assert golden.current_release == 2
    assert [hit.item_id for hit in golden.search("sea storm ship", k=2)] == ["f1", "b1"]
    assert [hit.item_id for hit in golden.search("desert night", k=1)] == ["new"]
    assert [hit.item_id for hit in golden.search(image=picture("blue", 4), k=1)] == ["b1"]
    assert golden.get("f2")["attributes"] == {"year": 2001, "pages": None, "minutes": None}
    assert golden.count(where="pages < 300") == 1
    assert [row["item_id"] for row in golden.quarantine()] == ["b3"]


def test_a_golden_space_takes_new_items_and_encodes_nothing_it_knows(golden):
    report = golden.upsert(
        [item("again", "jazz club", image=picture("red")), item("x", "new word")]
    )
    assert report.encoded == {"text": 1, "image": 0}
    assert golden.publish().number == 3
    assert golden.rollback() == 2
    assert golden.count() == 7

"""One rule of ids wherever they go in or come out: text verbatim, whole numbers as text."""

from __future__ import annotations

import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isthmus import IsthmusError, User
from isthmus.ids import to_id, to_ids
from tests.toy import item

SAME = [7, np.int32(7), np.uint64(7), pa.scalar(7), "7", pa.scalar("7")]
REFUSED = [7.0, np.float64(7), True, np.True_, None, "", "  ", "a\nb", "a\x00", "\ud800", b"7"]
REFUSED += [Decimal(7), uuid.UUID(int=7), ("7",), {"id": 7}]


@pytest.mark.parametrize("given", SAME, ids=repr)
def test_a_whole_number_is_its_decimal_text(given):
    assert to_id(given) == "7"


@pytest.mark.parametrize("text", [" 007 ", "1e5", "NA", "true", "ünï", "a b", "'; --", "😀"])
def test_text_is_verbatim(text):
    assert to_id(text) == text


@pytest.mark.parametrize("given", REFUSED, ids=repr)
def test_anything_else_is_refused(given):
    with pytest.raises(IsthmusError, match=r"user id .*(text or a whole|no valid Unicode)"):
        to_id(given, "user id")


@pytest.mark.parametrize(
    "given",
    [
        ["1", 2],
        ("1", "2"),
        np.array([1, 2]),
        pa.array([1, 2]),
        pa.chunked_array([["1"], ["2"]]),
        pd.Series([1, 2]),
        iter([1, 2]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_ids_come_in_any_collection(given):
    assert to_ids(given) == ["1", "2"]


def test_a_refused_id_among_several_is_named_by_its_position():
    with pytest.raises(IsthmusError, match=r"item id 1 is 2\.0 \(float\)"):
        to_ids(["1", 2.0], "item id")


@pytest.mark.parametrize("given", SAME, ids=repr)
def test_every_verb_takes_the_same_ids(space, given):
    space.upsert([item("7", "sea"), item("8", "sea ship"), item("9", "snow")])
    space.add_interactions([{"user_id": 7, "item_id": 8}])
    assert space.get(given)["item_id"] == "7"
    assert [hit.item_id for hit in space.similar(given, k=1)] == ["8"]
    assert [hit.item_id for hit in space.search(like=given, k=1)] == ["8"]
    assert [hit.item_id for hit in space.search(like=[given], unlike=[9], k=1)] == ["8"]
    assert space.interactions(given).column("item_id").to_pylist() == ["8"]
    assert space.recommend(User(id=given), k=1)[0].item_id == "7"
    assert User([given, (given, 2.0)], clicks=[given], ratings={given: 3.0}).ratings == {"7": 3.0}
    assert space.forget_user(given) == 1
    assert (space.delete(given), space.count()) == (1, 2)


@pytest.mark.parametrize("given", [7.0, True, "a\nb"])
def test_every_verb_refuses_the_same_ids(space, given):
    space.upsert([item("7", "sea")])
    calls = [
        lambda: space.get(given),
        lambda: space.delete([given]),
        lambda: space.similar(given),
        lambda: space.search(like=given),
        lambda: space.interactions(given),
        lambda: space.forget_user(given),
        lambda: User(id=given),
        lambda: User([given]),
        lambda: User(clicks=[given]),
        lambda: User(ratings={given: 1.0}),
    ]
    for call in calls:
        with pytest.raises(IsthmusError, match="an id is text or a whole number"):
            call()


def test_a_space_opened_by_a_relative_path_stays_where_it_is(tmp_path, monkeypatch):
    from isthmus import Space
    from tests.toy import text_encoder

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    space = Space.create("shop.space", text_encoder())
    space.upsert([item("7", "sea")])
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert space.path == tmp_path / "shop.space"
    space.add_interactions([{"user_id": "u", "item_id": "7"}])
    assert len(space.search("sea")) == len(space.interactions("u")) == 1
    assert not list((tmp_path / "elsewhere").iterdir())

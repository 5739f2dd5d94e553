"""Filters in a space where every item has a vector in each of several named vectors."""

from __future__ import annotations

import pytest

from isthmus import Space, User
from tests.toy import COLOURS, ToyEncoder, item, picture

ITEMS = 300  # more than the few that a filter may leave out of a search of everything
SHELF = "shelf = 'a'"


@pytest.fixture(params=[64, 8], ids=["one length", "two lengths"])
def full(request, tmp_path):
    encoders = {
        "text": ToyEncoder("text"),
        "image": ToyEncoder("image", dim=request.param, salt="image"),
    }
    space = Space.create(tmp_path / "full.space", encoders)
    colours = list(COLOURS)
    space.upsert(
        [
            item(
                f"f{n}",
                f"word{n % 5}",
                image=picture(colours[n % 6], 8 + n // 6),
                shelf="a" if n < 30 else "b",
            )
            for n in range(ITEMS)
        ]
    )
    space.publish()
    return space


def numbers(hits):
    return {int(hit.item_id[1:]) for hit in hits}


def test_a_filter_serves_each_named_vector_with_its_own_vectors(full):
    blue = list(COLOURS).index("blue")
    for _ in range(2):  # what the first search has gathered is there for the second
        texts = full.search(text="word3", where=SHELF, k=6)
        assert numbers(texts) == {n for n in range(30) if n % 5 == 3}
        images = full.search(image=picture("blue", 100), where=SHELF, k=5)
        assert numbers(images) == {n for n in range(30) if n % 6 == blue}


def test_a_filter_holds_for_interests_of_several_named_vectors(full):
    first = full.recommend(User(["f33"]), where=SHELF, k=1)[0]
    assert numbers([first]) == {3}, "the same word, and the same colour"

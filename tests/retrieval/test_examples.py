"""Queries by example: Rocchio's formula with answers that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput, ItemNotFound
from tests.retrieval.crowd import IDS, MATRIX, ids, unit
from tests.toy import PointEncoder, item, picture


@pytest.fixture
def compass(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(2))
    space.upsert(
        [
            item("east", "1 0"),
            item("north", "0 1"),
            item("west", "-1 0", "books"),
            item("ne", "3 4", "books"),
            item("se", "4 -3"),
        ]
    )
    return space


def scores(hits):
    return {hit.item_id: hit.score for hit in hits}


def test_one_positive_example_equals_similar(compass):
    assert compass.search(like=["east"]) == compass.similar("east")
    assert compass.search(like="east") == compass.search(like=["east", "east"])


def test_positive_examples_are_averaged(compass):
    hits = compass.search(like=["east", "north"])
    assert ids(hits) == ["ne", "se", "west"]  # to (1, 1) / sqrt 2
    assert [h.score for h in hits] == pytest.approx(np.array([1.4, 0.2, -1.0]) / np.sqrt(2))


def test_positive_examples_are_averaged_with_the_text_or_vector(compass):
    expected = {"ne": 1.4, "se": 0.2, "west": -1.0, "east": 1.0}
    for query in ({"text": "1 0"}, {"vector": [1, 0]}):
        found = scores(compass.search(**query, like=["north"]))
        assert found == pytest.approx({k: v / np.sqrt(2) for k, v in expected.items()})


def test_a_negative_example_lowers_similar_items(compass):
    # 2 (1, 0) - (0, 1) = (2, -1)
    expected = {"se": 2.2, "ne": 0.4, "west": -2.0}
    expected = {name: value / np.sqrt(5) for name, value in expected.items()}
    assert scores(compass.search(like=["east"], unlike=["north"])) == pytest.approx(expected)
    assert scores(compass.similar("east", unlike=["north"])) == pytest.approx(expected)
    found = scores(compass.search("1 0", unlike="north"))
    assert found == pytest.approx({**expected, "east": 2 / np.sqrt(5)})


def test_with_negative_examples_alone_the_least_similar_come_first(compass):
    hits = compass.search(unlike=["east"])
    assert ids(hits) == ["west", "north", "ne", "se"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.0, -0.6, -0.8], abs=1e-6)


def test_filters_and_options_hold(compass):
    assert ids(compass.search(like=["east"], domain="books")) == ["ne", "west"]
    assert ids(compass.similar("east", like=["north"], where="item_id != 'se'", k=1)) == ["ne"]
    assert ids(compass.search(like=["east"], k=None, min_score=0.5)) == ["se", "ne"]


def test_examples_that_cancel_out_are_refused(compass):
    with pytest.raises(InvalidInput, match="examples cancel out in named vector text"):
        compass.search(like=["east", "west"])
    with pytest.raises(InvalidInput, match="cancel out"):
        compass.search("-1 0", like=["east"])
    with pytest.raises(InvalidInput, match="cancel out"):
        compass.search(unlike=["east", "west"])


def test_unknown_examples_are_named(compass):
    with pytest.raises(ItemNotFound, match="no item 'south'"):
        compass.search(like=["east", "south"])
    with pytest.raises(ItemNotFound, match="no item 'south'"):
        compass.similar("east", unlike=["south"])
    with pytest.raises(InvalidInput, match="item 'east' is to be like and to be unlike"):
        compass.similar("east", unlike=["east"])
    with pytest.raises(InvalidInput, match="items to be like"):
        compass.search(like=[])
    with pytest.raises(InvalidInput, match="nothing to search for"):
        compass.search(" ", like=["east"])


def test_an_example_without_vectors_is_named(space):
    space.upsert([item("a", "sea"), {"item_id": "b", "domain": "d", "image": "/nowhere.png"}])
    with pytest.raises(ItemNotFound, match="no searchable item 'b'"):
        space.search(like=["a", "b"])


def test_examples_take_part_in_the_named_vectors_they_have(space):
    space.upsert(
        [
            item("sea", "sea"),
            item("red", None, image=picture("red")),
            item("both", "sea", image=picture("red", 9)),
            item("red only", "hill", image=picture("red", 10)),
            item("sea only", "sea", image=picture("blue")),
            item("neither", "hill", image=picture("blue", 9)),
        ]
    )
    assert ids(space.search(like=["sea", "red"], k=1)) == ["both"]
    assert ids(space.search("sea", like=["red"], k=2))[0] == "both"
    assert ids(space.search(image=picture("blue", 7), like=["sea"], k=1)) == ["sea only"]
    # A picture to be unlike says nothing to a query by words alone.
    assert space.search("sea", unlike=["red"]) == [
        hit for hit in space.search("sea") if hit.item_id != "red"
    ]


@settings(max_examples=50)
@given(
    examples=st.lists(st.sampled_from(IDS), min_size=1, max_size=8, unique=True),
    cut=st.integers(0, 8),
    seed=st.integers(0, 30),
)
def test_queries_with_examples_follow_the_formula(crowd, examples, cut, seed):
    like, unlike = examples[:cut], examples[cut:]
    query = unit(np.random.default_rng(seed).standard_normal(MATRIX.shape[1]))
    at = {name: MATRIX[IDS.index(name)].astype(float) for name in examples}
    p = np.mean([query, *(at[name] for name in like)], axis=0)
    combined = p + (p - np.mean([at[name] for name in unlike], axis=0)) if unlike else p
    plain = crowd.search(vector=combined, k=100)
    hits = crowd.search(vector=query, like=like, unlike=unlike, k=100)
    assert not set(examples) & set(ids(hits))
    pictured = any(IDS.index(name) % 2 for name in like)
    if pictured:  # then pictures speak too, and the score is that of several named vectors
        assert len(hits) == len(IDS) - len(examples)
    else:
        expected = {h.item_id: h.score for h in plain if h.item_id not in examples}
        assert scores(hits) == pytest.approx(expected, abs=1e-5)

"""Fusion weights: those of a space, and those that a query brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus import Space
from isthmus.errors import InvalidInput
from tests.toy import COLOURS, item, joint_encoder, picture, two_encoders

WORDS = ["red", "green", "blue", "ship", "tree"]
ITEMS = [
    *(
        item(f"{word}-{colour}", word, image=picture(colour))
        for word in WORDS
        for colour in COLOURS
    ),
    *(item(f"only {word}", word) for word in WORDS),
    *(item(f"only {colour} picture", None, image=picture(colour)) for colour in COLOURS),
]


def scores(hits):
    return {hit.item_id: hit.score for hit in hits}


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("joint") / "s", joint_encoder())
    space.upsert(ITEMS)
    return space


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    space = Space.create(tmp_path_factory.mktemp("apart") / "s", two_encoders())
    space.upsert(ITEMS)
    return space


def test_weights_of_a_query_choose_the_modality(joint):
    mixed = {"red-blue", "blue-red"}
    by_text = scores(joint.search("red", k=None, min_score=-1, weights={"image": 0.1}))
    by_image = scores(joint.search("red", k=None, min_score=-1, weights={"image": 10}))
    assert sorted(mixed, key=by_text.get) == ["blue-red", "red-blue"]
    assert sorted(mixed, key=by_image.get) == ["red-blue", "blue-red"]


@pytest.mark.parametrize("encoders", [joint_encoder, two_encoders])
@pytest.mark.parametrize("weights", [{"image": 3.0}, {"text": 0.25}, {"text": 2, "image": 5}])
def test_a_query_with_weights_is_one_of_a_space_with_these_weights(tmp_path, encoders, weights):
    plain = Space.create(tmp_path / "plain", encoders())
    made = Space.create(tmp_path / "made", encoders(), weights=weights)
    queries = [
        lambda s, **w: s.search("red ship", k=50, **w),
        lambda s, **w: s.search("ship", image=picture("blue", 5), k=50, **w),
        lambda s, **w: s.similar("ship-red", k=50, **w),
        lambda s, **w: s.search(like="tree-red", unlike="ship-blue", k=50, **w),
    ]
    for part in (ITEMS[::2], ITEMS[1::2]):  # once with a delta alone, once beside a release
        for space in (plain, made):
            space.upsert(part)
        for ask in queries:
            expected = scores(ask(made))
            assert scores(ask(plain, weights=weights)) == pytest.approx(expected, abs=1e-5)
        plain.publish()
        made.publish()


def test_weights_apply_to_items_added_after_the_first_query_with_them(tmp_path):
    space = Space.create(tmp_path / "s", joint_encoder())
    space.upsert([item("old", "ship", image=picture("red"))])
    space.publish()
    assert space.search("red", weights={"image": 100})[0].score == pytest.approx(1, abs=1e-3)
    space.upsert([item("new", "tree", image=picture("blue")), item("old", "sea", image=None)])
    found = scores(space.search("blue", weights={"image": 100}))
    assert found["new"] == pytest.approx(1, abs=1e-3)
    assert found["old"] == pytest.approx(space.search("blue")[1].score, abs=1e-5)
    space.delete("new")
    assert list(scores(space.search("blue", weights={"image": 100}))) == ["old"]


def test_nothing_is_encoded_for_other_weights(tmp_path):
    encoder = joint_encoder()
    space = Space.create(tmp_path / "s", encoder)
    space.upsert(ITEMS)
    encoder.encoded.clear()
    vectors = np.eye(encoder.dim, dtype=np.float32)[:2]
    space.search_batch(vectors, weights={"image": 7})
    space.similar("ship-red", weights={"image": 7})
    assert encoder.encoded == []


def test_batches_and_files_take_weights_too(joint, tmp_path):
    import pyarrow.parquet as pq

    vector = joint_encoder().encode(["red"])[0]
    expected = joint.search(vector=vector, k=5, weights={"image": 4})
    found = joint.search_batch(vector[None], k=5, weights={"image": 4})
    assert found.scores[0].tolist() == pytest.approx([hit.score for hit in expected], abs=1e-6)
    rows = [{"query_id": "q", "text": "red"}]
    joint.search_file(rows, tmp_path / "out.parquet", k=5, weights={"image": 4})
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("score").to_pylist() == pytest.approx([h.score for h in expected], abs=1e-6)


@given(weight=st.floats(0, 100), word=st.sampled_from(WORDS))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_item_does_not_depend_on_the_weight_of_what_it_lacks(joint, weight, word):
    before = scores(joint.search(word, k=None, min_score=-1))
    after = scores(joint.search(word, k=None, min_score=-1, weights={"image": weight}))
    for name in before:
        if name.startswith("only"):
            assert after[name] == pytest.approx(before[name], abs=1e-6)


def test_a_weight_of_zero_keeps_items_without_another_modality(joint):
    found = scores(joint.search("red", k=None, min_score=-1, weights={"image": 0}))
    for name in ("red-blue", "red-green"):  # two pictures, of hardly any weight
        assert found[name] == pytest.approx(1, abs=1e-5)
    assert found["only red picture"] == pytest.approx(1, abs=1e-5)
    assert found["blue-red"] == pytest.approx(found["only blue"], abs=1e-5)


def test_weights_weigh_named_vectors_against_each_other(apart):
    query = {"text": "red", "image": picture("blue", 5)}
    found = scores(apart.search(**query, k=50, weights={"image": 1e-6}))
    assert found["red-green"] == pytest.approx(found["red-blue"], abs=1e-4)
    found = scores(apart.search(**query, k=50, weights={"text": 1e-6}))
    assert found["ship-blue"] == pytest.approx(found["red-blue"], abs=1e-4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"smell": 1}, "a weight for 'smell', but this space has encoders for text, image"),
        ({"image": -1}, "the weight of image is -1; give a number from 0"),
        ({"text": float("nan")}, "the weight of text is nan"),
        ({"text": float("inf")}, "the weight of text is inf"),
        ({"text": "much"}, "the weight of text is 'much'; give a number from 0"),
        ({"text": None}, "the weight of text is None"),
    ],
)
def test_bad_weights_are_refused(joint, tmp_path, weights, message):
    with pytest.raises(InvalidInput, match=message):
        joint.search("red", weights=weights)
    with pytest.raises(InvalidInput, match=message):
        Space.create(tmp_path / "s", joint_encoder(), weights=weights)
    assert not (tmp_path / "s").exists()

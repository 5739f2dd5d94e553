"""Search with a second stage: the order is the model's, and pages, filters and ties hold."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import InvalidInput, IsthmusWarning, UnknownEncoder, UnsupportedModality
from tests.encoders import models
from tests.toy import joint_encoder, picture, text_encoder

COLOURS = ("red", "green", "blue", "a", "of")
THINGS = ("shoe", "hat", "shoe hat", "hat of shoe")
TITLES = [f"{colour} {thing} {at}" for at, colour in enumerate(COLOURS) for thing in THINGS]
QUERY = "a red hat"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = models.cross_encoder_folder(tmp_path_factory.mktemp("cross") / "model")
    return f"cross-encoder/{folder}"


@pytest.fixture(scope="module")
def predict(model):
    from sentence_transformers import CrossEncoder

    library = CrossEncoder(model.partition("/")[2], device="cpu", local_files_only=True)
    return lambda texts: library.predict([(QUERY, text) for text in texts])


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "s"
    space = Space.create(path, encoder=text_encoder())
    space.upsert(
        [
            {"item_id": f"i{at:02}", "domain": "ab"[at % 2], "text": title, "price": at}
            for at, title in enumerate(TITLES)
        ]
    )
    return space


def test_the_list_is_the_models_order_of_all_candidates(space, model, predict):
    hits = space.search(QUERY, k=20, rerank=model, attributes=True)
    expected = dict(zip(TITLES, predict(TITLES), strict=True))
    assert sorted(hit.text for hit in hits) == sorted(TITLES)
    assert [hit.text for hit in hits] == sorted(TITLES, key=lambda text: -expected[text])
    np.testing.assert_allclose(
        [hit.score for hit in hits], [expected[hit.text] for hit in hits], atol=1e-5
    )
    assert hits.notes == ()


def test_the_score_by_vectors_stays_beside_the_models(space, model):
    plain = {hit.item_id: hit.score for hit in space.search(QUERY, k=20)}
    for hit in space.search(QUERY, k=20, rerank=model):
        assert hit.similarity == pytest.approx(plain[hit.item_id], abs=1e-6)


@pytest.mark.parametrize("hybrid", [False, True])
def test_only_the_first_candidates_take_part(space, model, hybrid):
    first = {hit.item_id for hit in space.search(QUERY, k=7, hybrid=hybrid)}
    hits = space.search(QUERY, k=7, rerank=model, rerank_depth=7, hybrid=hybrid)
    assert {hit.item_id for hit in hits} == first
    assert [hit.rank for hit in hits] == list(range(1, 8))


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_longer_list_begins_with_the_shorter_one(space, model, hybrid):
    longest = space.search(QUERY, k=15, rerank=model, rerank_depth=15, hybrid=hybrid)
    for k in (1, 4, 10):
        shorter = space.search(QUERY, k=k, rerank=model, rerank_depth=15, hybrid=hybrid)
        assert list(shorter) == list(longest)[:k]


def test_pages_end_with_the_candidates(space, model):
    whole = space.search(QUERY, k=15, rerank=model, rerank_depth=15)
    pages, cursor = [], None
    while True:
        page = space.search(QUERY, k=6, rerank=model, rerank_depth=15, cursor=cursor)
        pages += page
        if (cursor := page.cursor) is None:
            break
    assert pages == list(whole)
    offset = space.search(QUERY, k=5, offset=10, rerank=model, rerank_depth=15)
    assert list(offset) == list(whole)[10:]


def test_equal_items_have_equal_scores(tmp_path, model):
    space = Space.create(tmp_path / "s", encoder=text_encoder())
    space.upsert(
        [
            {"item_id": f"{n}{letter}", "domain": "d", "text": title}
            for n, title in enumerate(TITLES)
            for letter in "ba"
        ]
    )
    hits = space.search(QUERY, k=40, rerank=model)
    for first, second in zip(hits[::2], hits[1::2], strict=True):
        assert first.score == second.score
        assert (first.item_id, second.item_id) == (
            f"{first.item_id[:-1]}a",
            f"{first.item_id[:-1]}b",
        )


def test_a_filter_holds(space, model):
    hits = space.search(QUERY, k=10, rerank=model, domain="a", where="price < 10", attributes=True)
    assert len(hits) == 5
    assert all(hit.domain == "a" and hit.attributes["price"] < 10 for hit in hits)


def test_items_without_text_count_as_empty_texts(tmp_path, model, predict):
    space = Space.create(tmp_path / "s", encoder=joint_encoder())
    space.upsert(
        [
            {"item_id": "picture", "domain": "d", "image": picture("red")},
            {"item_id": "text", "domain": "d", "text": "red hat"},
        ]
    )
    with pytest.warns(IsthmusWarning, match="1 of the first 2 candidates have no text"):
        hits = space.search(QUERY, rerank=model)
    scores = {hit.item_id: hit.score for hit in hits}
    np.testing.assert_allclose(
        [scores["picture"], scores["text"]], predict(["", "red hat"]), atol=1e-5
    )
    assert len(hits.notes) == 1


def test_pictures_alone_are_refused(tmp_path, model):
    space = Space.create(tmp_path / "s", encoder=joint_encoder())
    space.upsert([{"item_id": "picture", "domain": "d", "image": picture("red")}])
    with pytest.raises(UnsupportedModality, match="none of the first 1 candidates has one"):
        space.search(QUERY, rerank=model)


def test_nothing_found_is_an_empty_list(space, model):
    with pytest.warns(IsthmusWarning, match="matches no item"):
        assert space.search(QUERY, rerank=model, where="price > 100") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rerank_depth": 9}, r"the first 9 candidates .* no places up to 10"),
        ({"offset": 41}, r"no places up to 51"),
        ({"diversity": 0.5}, "goes without like"),
        ({"like": "i01"}, "goes without like"),
        ({"min_score": 0.1}, "goes without like"),
        ({"rerank_depth": 0}, "rerank_depth is 0; give 1 or more"),
        ({"rerank": "bm42/x"}, r"'bm42/x' names no model that orders candidates"),
        ({"rerank": "cross-encoder/x?pooling=cls"}, "does not take these options"),
    ],
)
def test_what_cannot_be_is_refused(space, model, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        space.search(QUERY, **{"rerank": model, **arguments})


def test_a_search_without_text_is_refused(space, model):
    with pytest.raises(InvalidInput, match="give a text"):
        space.search(like="i01", rerank=model)


def test_a_folder_that_is_not_there_is_refused(space):
    with pytest.raises(UnknownEncoder, match="nothing is at"):
        space.search(QUERY, rerank="cross-encoder/./nowhere")
